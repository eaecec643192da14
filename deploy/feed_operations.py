"""What an operator does with senders: their feeds, a push by hand, how they are doing, what could not be read."""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from deploy.client import Api, Json, NotFound, Refused, problem_line, unreachable
from deploy.embedded.installation import write_whole
from deploy.operations import admin
from deploy.platform import Access
from services.ingest.brands import NATIVE, ONE_BRAND
from services.ingest.brands.base import TOKEN, Feed, RawPush, Unparseable, Wire
from services.ingest.domain.items import Item
from shared.contracts.scan import BRANDS

MAX_FILE_BYTES = 1 << 20
EXPLAINED_WITHIN_S = 10.0
PARTITIONS_AT_MOST = 1024

SAMPLE_TO_SANDBOX_ONLY = (
    "样例只能推送到沙箱数据源；请给出文件 · the sample goes to a sandbox feed only: give a file, or choose one with --feed"
)
SANDBOX = (
    "沙箱数据源：判定与回执都是真的，但不进日志，也不影响补贴 · "
    "a sandbox feed: verdicts and receipts are real, but nothing of it reaches the money"
)


# Feeds


async def feed_create(
    at: Access,
    http: httpx.AsyncClient,
    name: str,
    format_name: str,
    mode: str,
    brands: str | None,
    namespace: str | None,
    own: str | None,
    signature: str | None,
) -> str:
    wanted = brands.split(",") if brands else _all_brands(format_name)
    body = {
        "feed": name,
        "format": format_name,
        "mode": mode,
        "brands": wanted,
        "site_namespace": namespace,
        "secret": own,
        "signature": signature,
    }
    made = await admin(at, http).post("/v1/feeds", body)
    return _shown(at, name, made, f"{made['format']}，{made['mode']}，品牌 brands {', '.join(made['brands'])}")


async def feed_rotate(at: Access, http: httpx.AsyncClient, name: str, overlap_s: int, own: str | None) -> str:
    made = await admin(at, http).post(f"/v1/feeds/{name}/secret", {"overlap_s": overlap_s, "secret": own})
    still = f"旧密钥仍有效 the old secret stays good for {overlap_s} s" if overlap_s else "旧密钥已作废 the old secret is revoked"
    return _shown(at, name, made, still)


def _all_brands(format_name: str) -> list[str]:
    """What the format can tell of; one where its pushes do not say whose parcel it is."""
    known = list(NATIVE[format_name].BRANDS) if format_name in NATIVE else list(BRANDS)
    return known[:1] if format_name in ONE_BRAND else known


def own_secret(file: Path | None) -> str | None:
    """A sender's own secret, from a file: a command line is seen by everybody on the machine. Raises Refused."""
    try:
        return file.read_text(encoding="ascii").strip() if file else None
    except (OSError, UnicodeDecodeError) as e:
        raise Refused(f"{file}: 密钥文件无法读取 · the secret's file cannot be read ({type(e).__name__})") from None


def _shown(at: Access, name: str, made: Json, about: str) -> str:
    """The secret, once; kept in the secrets directory so that `push` can sign with it."""
    lines = [f"{name}: {about}"]
    if made.get("push_url"):
        secret_address = made["secret"] and made["format"] in NATIVE and NATIVE[made["format"]].SCHEMES[0] == TOKEN
        lines.append(f"推送地址 address  {at.urls['ingest']}{made['push_url']}" + (f"/{made['secret']}" if secret_address else ""))
    if made["secret"]:
        keep_secret(at, name, made["secret"])
        lines.append(f"密钥（只显示这一次）secret, shown this once  {made['secret']}")
        lines.append(f"已存 kept for ./tongcun push in {_secret_path(at, name)}")
    else:
        lines.append(f"密钥就是令牌 its secret is a token  ./tongcun token --role brand --claim feed={name}")
    return "\n".join(lines)


def keep_secret(at: Access, name: str, secret: str) -> None:
    """On this machine, so that `push` can sign as the feed's sender."""
    write_whole(_secret_path(at, name), secret, mode=0o600)


def has_secret(at: Access, name: str) -> bool:
    return _secret_path(at, name).exists()


def _secret_path(at: Access, name: str) -> Path:
    return at.installation.secrets / f"feed-{name}"


async def feed_list(at: Access, http: httpx.AsyncClient) -> str:
    feeds = [f async for f in admin(at, http).pages("/v1/feeds")]
    lines = [f"{f['feed']:24} {f['format']:10} {f['mode']:8} {','.join(f['brands'])}" for f in feeds]
    return "\n".join(lines) or "还没有数据源 · no feed yet: ./tongcun feed create NAME --format zto"


async def feed_mode(at: Access, http: httpx.AsyncClient, name: str, mode: str) -> str:
    changed = await admin(at, http).patch(f"/v1/feeds/{name}", {"mode": mode})
    return f"{name}: {changed['mode']}"


# How a feed is doing, and what could not be read


async def feed_health(at: Access, http: httpx.AsyncClient, name: str) -> str:
    h = await Api(http, at.urls["ingest"], at.token("auditor")).get(f"/v1/feeds/{name}/health")
    why = f"（{' '.join(h['reason_codes'])}）" if h["reason_codes"] else ""
    skew = "—" if h["clock_skew_ms"] is None else f"{h['clock_skew_ms'] / 1000:+.1f} s"
    return "\n".join(
        [
            f"{name}: {h['status']}{why}  {h['mode']}",
            f"最近推送 last push {h['last_push_at'] or '—'}；最近扫描 newest scan {h['last_event_at'] or '—'}；时钟 clock {skew}",
            f"近一小时 last hour: 事件 events {h['events_last_hour']}，读不懂 unreadable {h['rejected_last_hour']}，"
            f"拒收推送 refused pushes {h['refused_last_hour']}",
        ]
    )


async def feed_set(at: Access, http: httpx.AsyncClient, name: str, wishes: Json) -> str:
    changed = await admin(at, http).patch(f"/v1/feeds/{name}", wishes)
    return f"{name}: " + "  ".join(f"{key} {changed[key]}" for key in wishes)


async def feed_columns(at: Access, http: httpx.AsyncClient, name: str, file: Path) -> str:
    saved = await admin(at, http).call("PUT", f"/v1/feeds/{name}/columns", json=_payload(file))
    return f"{name}: " + "  ".join(f"{field} ← {heading}" for field, heading in saved["headings"].items())


async def quarantine_list(at: Access, http: httpx.AsyncClient, feed: str | None, status: str) -> str:
    chosen = {"status": status} | ({"feed": feed} if feed else {})
    api = Api(http, at.urls["ingest"], at.token("auditor"))
    lines = []
    async for q in api.pages("/v1/quarantine", **chosen):
        lines.append(f"{q['quarantine_id']:10} {q['feed']:20} {q['code']} {q['pointer']}  {q['received_at']}  {q['status']}")
    return "\n".join(lines) or f"没有 {status} 的隔离事件 · nothing is {status}"


async def quarantine_show(at: Access, http: httpx.AsyncClient, quarantine_id: str) -> str:
    shown = await Api(http, at.urls["ingest"], at.token("auditor")).get(f"/v1/quarantine/{quarantine_id}")
    return json.dumps(shown, ensure_ascii=False, indent=1)


async def quarantine_redrive(at: Access, http: httpx.AsyncClient, wishes: Json) -> str:
    told = await admin(at, http).post("/v1/quarantine/redrive", wishes)
    lines = [f"{i['quarantine_id']:10} {i['verdict']}  {i['event_id'] or ''}{i['code'] or ''} {i['pointer'] or ''}" for i in told["items"]]
    return (
        "\n".join([*lines, "试算，未写入 · a dry run: nothing was written"] if told["dry_run"] else lines)
        or "没有可处理的 · nothing is open"
    )


async def quarantine_dismiss(at: Access, http: httpx.AsyncClient, ids: list[str], reason: str) -> str:
    told = await admin(at, http).post("/v1/quarantine/dismiss", {"quarantine_ids": ids, "reason": reason})
    return f"已关闭 closed: {told['dismissed']}"


async def remap(at: Access, http: httpx.AsyncClient, feed: str, reason: str, dry_run: bool) -> str:
    """Partition by partition until the log's end."""
    api, changes, published = admin(at, http), dict[tuple[str, str, str], int](), 0
    for partition in range(PARTITIONS_AT_MOST):
        position: int | None = 0
        while position is not None:
            body = {"partition": partition, "from_position": position, "reason": reason, "dry_run": dry_run}
            try:
                told = await api.post(f"/v1/feeds/{feed}/remap", body)
            except NotFound:
                if partition == 0:
                    raise
                return _remapped(changes, published, dry_run)
            for c in told["changes"]:
                key = c["raw_action"], c["was"], c["now"]
                changes[key] = changes.get(key, 0) + c["events"]
            published, position = published + told["published"], told["next_position"]
    return _remapped(changes, published, dry_run)


def _remapped(changes: dict[tuple[str, str, str], int], published: int, dry_run: bool) -> str:
    lines = [f"{raw}: {was} → {now}  {n} 件事件 events" for (raw, was, now), n in sorted(changes.items())]
    end = "试算，未写入 · a dry run: nothing was written" if dry_run else f"已重发 sent again: {published}"
    return "\n".join([*(lines or ["编码表没有变化 · the table reads every event as before"]), end])


# A push by hand


async def push(at: Access, http: httpx.AsyncClient, format_name: str, file: Path | None, name: str | None) -> str:
    """Sign, send, and say what the sender is told, what became of each scan, and what the parcel earns.

    Without a file the format's own sample is sent, to a sandbox feed only: the books would keep an invented parcel for good.
    """
    if format_name not in NATIVE:
        raise Refused(f"{format_name}: 没有这种格式 no such format: {', '.join(NATIVE)}")
    payload = _payload(file) if file else NATIVE[format_name].SAMPLE
    feed = choose_feed([f async for f in admin(at, http).pages("/v1/feeds")], format_name, name, sample=file is None)
    secret = feed_secret(at, feed["feed"])
    wire = NATIVE[format_name].sign(payload, secret)
    url = f"{at.urls['ingest']}{wire.path(feed['feed'])}"
    try:
        answer = await _sent(http, url, wire, "zh-CN")
        if "receipt-id" not in answer.headers:  # not even kept, so asking again in the other language changes nothing
            raise Refused(problem_line(answer, await _sent(http, url, wire, "en") if answer.is_client_error else None))
    except httpx.TransportError as error:
        raise unreachable(url, error) from None
    lines = [f"应答 acknowledgement  HTTP {answer.status_code}  {answer.text}", f"回执 receipt  {answer.headers['receipt-id']}"]
    receipt = await _receipt(at, http, answer.headers["receipt-id"])
    if receipt is None:
        return "\n".join([*lines, "没有入库，见应答 · nothing was stored: see the acknowledgement"])
    lines += [_verdict(item) for item in receipt["items"]]
    if feed["mode"] == "sandbox":
        return "\n".join([*lines, SANDBOX])
    for brand, waybill_no in _parcels(format_name, feed, wire, secret):
        try:
            lines += await explained(at, http, brand, waybill_no, receipt["received_at"])
        except Refused as error:  # what was pushed is stored all the same, and its receipt must be shown
            lines += ["", f"{brand} {waybill_no}: 未能取得说明 · no explanation: {error}"]
    return "\n".join(lines)


async def _sent(http: httpx.AsyncClient, url: str, wire: Wire, language: str) -> httpx.Response:
    return await http.post(url, content=wire.body, headers={**wire.headers, "Content-Type": wire.content_type, "Accept-Language": language})


def _payload(file: Path) -> Any:
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise Refused(f"{file}: larger than {MAX_FILE_BYTES} bytes / 文件过大")
        return json.loads(text)
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}; give a JSON file / 请给出 JSON 文件") from None
    except (ValueError, RecursionError) as error:
        raise Refused(f"{file}: 不是 JSON · no JSON ({error})") from None


def choose_feed(feeds: list[Json], format_name: str, name: str | None, *, sample: bool) -> Json:
    """The feed called `name`, else the only one of the format; for the sample, of its sandbox feeds. Raises Refused."""
    found = [f for f in feeds if f["format"] == format_name and name in (None, f["feed"])]
    if not found:
        wanted = name or f"{format_name}-sandbox"
        raise Refused(
            f"没有 {name or ''} {format_name} 数据源 · no such feed of this format: ./tongcun feed create {wanted} --format {format_name}"
        )
    if sample:
        found = [f for f in found if f["mode"] == "sandbox"]
    if not found:
        raise Refused(SAMPLE_TO_SANDBOX_ONLY)
    if len(found) > 1:
        raise Refused(f"请用 --feed 指明 · say which with --feed: {', '.join(f['feed'] for f in found)}")
    return found[0]


def feed_secret(at: Access, name: str) -> bytes:
    try:
        return _secret_path(at, name).read_bytes()
    except OSError:
        raise Refused(f"{name}: 本机没有它的密钥 · its secret is not on this machine: ./tongcun feed rotate {name}") from None


async def _receipt(at: Access, http: httpx.AsyncClient, receipt_id: str) -> Json | None:
    try:
        return await Api(http, at.urls["ingest"], at.token("auditor")).get(f"/v1/receipts/{receipt_id}")
    except NotFound:  # what was refused before it was stored has no receipt to look up
        return None


def _verdict(item: Json) -> str:
    why = f"  {item['code']} {item['pointer'] or ''}" if item["code"] else ""
    return f"判定 verdict  [{item['index']}] {item['verdict']}  {item['event_id'] or ''}{why}"


def _parcels(format_name: str, feed: Json, wire: Wire, secret: bytes) -> list[tuple[str, str]]:
    """(brand, waybill number) of what was sent, as the format itself reads it."""
    sender = Feed(feed["feed"], format_name, tuple(feed["brands"]), feed["site_namespace"], feed["mode"], feed["silence_after_s"])
    try:
        pushed = RawPush(sender, wire.body, wire.content_type, datetime.now(UTC), wire.token, secrets=[secret])
        items = NATIVE[format_name].parse(pushed)
    except Unparseable:
        return []
    return sorted({(item.brand, item.waybill_no.upper()) for item in items if isinstance(item, Item)})


async def explained(at: Access, http: httpx.AsyncClient, brand: str, waybill_no: str, received_at: str) -> list[str]:
    """Once the books have passed the push's moment."""
    subsidy = Api(http, at.urls["subsidy"], at.token("auditor"))
    deadline = time.monotonic() + EXPLAINED_WITHIN_S
    while time.monotonic() < deadline:
        try:
            told = await subsidy.get(f"/v1/parcels/{brand}/{waybill_no}/explain")
        except NotFound:  # not on the books yet
            await asyncio.sleep(0.2)
            continue
        watermark = told["as_of"]["watermark"]
        if watermark and datetime.fromisoformat(watermark) > datetime.fromisoformat(received_at):
            return ["", f"{brand} {waybill_no}", told["text"]["zh"], "", told["text"]["en"]]
        await asyncio.sleep(0.2)
    return ["", f"{brand} {waybill_no}: 尚未入账 · not on the books yet: ./tongcun status"]
