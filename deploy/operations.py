"""What an operator does to a running installation, over HTTP like everybody else, with tokens of the local issuer."""

from datetime import UTC, datetime, timedelta

import httpx

from deploy.client import Api, Refused
from deploy.embedded.installation import SERVICES
from deploy.platform import Access
from shared.calendar import shanghai_day


def admin(at: Access, http: httpx.AsyncClient, service: str = "ingest") -> Api:
    return Api(http, at.urls[service], at.token("admin"))


async def books(at: Access, http: httpx.AsyncClient) -> str:
    """How far the books are, one line."""
    today = shanghai_day(datetime.now(UTC))
    subsidy = Api(http, at.urls["subsidy"], at.token("dashboard"))
    as_of = (await subsidy.get("/v1/summary", **{"from": today, "to": today + timedelta(days=1)}, limit=1))["as_of"]
    return (
        f"记账截至 books reflect everything before {as_of['watermark']}；登记 registry revision {as_of['registry_revision']}；"
        f"待重算 pending reassessments {as_of['pending_reassessments']}"
        + (f"；搁置消息 messages set aside {as_of['set_aside']}: ./tongcun set-aside list" if as_of["set_aside"] else "")
    )


# Consumers


async def consumer_list(at: Access, http: httpx.AsyncClient) -> str:
    lines = []
    for service in ("ingest", "registry"):
        for consumer in (await Api(http, at.urls[service], at.token("auditor")).get("/v1/log/consumers"))["items"]:
            lines.append(f"{service:10} " + "  ".join(f"{name} {value}" for name, value in consumer.items()))
    return "\n".join(lines) or "没有消费者 · no consumer has reported yet"


def _writer(service: str) -> str:
    if service not in SERVICES[:2]:
        raise Refused(f"--service {service}: ingest or registry / 应为 ingest 或 registry")
    return service


async def log_reopen(at: Access, http: httpx.AsyncClient, partition: int, service: str) -> str:
    await admin(at, http, _writer(service)).call("POST", f"/v1/log/{partition}/reopen")
    return f"{service}: 日志分区 {partition} 重新接收 · partition {partition} takes entries again, until a report finds it wrong once more"


async def consumer_remove(at: Access, http: httpx.AsyncClient, name: str, service: str) -> str:
    await admin(at, http, _writer(service)).call("DELETE", f"/v1/log/consumers/{name}")
    return f"{service}: 已移除 removed {name}; 若它仍在运行，一秒后会再出现 one that still runs is there again a second later"


# Messages that could not be read


async def set_aside_list(at: Access, http: httpx.AsyncClient) -> str:
    subsidy = Api(http, at.urls["subsidy"], at.token("auditor"))
    lines = [
        f"{v['partition']}/{v['position']}  {v['zh']} {v['en']} [{v['reason_code']}]  {v['detail']}"
        + ("" if v["read_revision"] is None else f"  已读取 read at revision {v['read_revision']}")
        async for v in subsidy.pages("/v1/set-aside")
    ]
    return "\n".join(lines) or "没有搁置的消息 · nothing is set aside"


async def set_aside_read(at: Access, http: httpx.AsyncClient) -> str:
    asked = (await admin(at, http, "subsidy").call("POST", "/v1/set-aside/read"))["partitions"]
    return f"{asked} 个分区将重新读取 · {asked} partitions will read again what they set aside: then ./tongcun set-aside list"
