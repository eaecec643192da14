"""`tongcun feed kit NAME`: a folder for the engineer of a sender, with which a push can be tried before a line of code is changed."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from deploy.client import Json, Refused
from deploy.feed_operations import feed_secret
from deploy.operations import admin
from deploy.platform import Access
from services.ingest.brands import NATIVE
from services.ingest.brands.base import Feed, Outcome, RawPush, Wire
from services.ingest.brands.pages import curl_of_file
from services.ingest.service import SAID
from shared.calendar import SHANGHAI

EVENT = {
    "brand": "zto", "waybill_no": "73100196611386", "action": "station_inbound", "scanned_at": "2023-07-14T09:12:03+08:00",
    "site_name": "上王村便民服务点",
}  # fmt: skip
HEAD = """# {name}: {format}

推送地址 address: `{url}`（{mode}）

1. `sh push.sh` 推送 `body.bin`，即已签名的样例（内容见 `sample.json`）。
   It pushes `body.bin`: the sample in `sample.json`, signed.
2. 应得到 `expected.txt` 中的应答；应答头 `Receipt-Id` 是回执号。
   The answer is the one in `expected.txt`; its header `Receipt-Id` names the receipt.
3. 把贵方系统的推送地址换成上面的地址即可，格式、签名与应答都不变。
   Then point your own push at the address: format, signature and answer stay as they are.
4. 签名不对时（仅沙箱来源）：把同样的请求连同令牌发到 `{check}`，会说明原因。
   When the signature is refused (sandbox feeds only): send the same request there, with a token, and it says why.
5. 各编码的含义、限制与重推规则见 docs/brands.md。What each code means, limits and retries: docs/brands.md.

此文件夹含密钥签出的请求，请按密钥对待。This folder holds a request signed with your secret: treat it as one.
"""


async def write(at: Access, http: httpx.AsyncClient, name: str, into: Path) -> str:
    """Raises Refused: no such feed, its secret is not here, the folder is there already."""
    feed = await admin(at, http).get(f"/v1/feeds/{name}")
    path, files = _native(at, feed) if feed["format"] in NATIVE else _canonical(at, feed)
    base = at.urls["ingest"]
    files["README.md"] = HEAD.format(
        name=name,
        format=feed["format"],
        url=base + path,
        mode=feed["mode"],
        check=f"{base}/v1/feeds/{name}/signature-check",
    ).encode()
    try:
        into.mkdir(mode=0o700)
    except FileExistsError:
        raise Refused(f"{into} 已存在 · is there already: choose another with --into") from None
    for file, content in files.items():
        (into / file).write_bytes(content)
    return f"{into}: {', '.join(sorted(files))}"


def _native(at: Access, feed: Json) -> tuple[str, dict[str, bytes]]:
    """(where it is pushed to, the files)"""
    format_ = NATIVE[feed["format"]]
    wire = format_.sign(format_.SAMPLE, feed_secret(at, feed["feed"]))
    sender = Feed(feed["feed"], feed["format"], tuple(feed["brands"]), None, feed["mode"], 0)
    push = RawPush(sender, wire.body, wire.content_type, datetime.now(SHANGHAI), wire.token)
    ack = format_.acknowledge(push, Outcome.STORED, SAID["stored"])
    return wire.path(feed["feed"]), _files(at, wire, wire.path(feed["feed"]), format_.SAMPLE, ack.body)


def _canonical(at: Access, feed: Json) -> tuple[str, dict[str, bytes]]:
    if feed["signature"] is not None:
        raise Refused(
            "签名的 canonical 来源请按 Standard Webhooks 的库来签 · sign as Standard Webhooks has it: there is a library for your language"
        )
    sample = {"events": [EVENT]}
    wire = Wire(json.dumps(sample, ensure_ascii=False).encode(), "application/json", {"Authorization": "Bearer $TOKEN"})
    expected = '{"receipt_id": "rcp_…", "counts": {"received": 1, "accepted": 1, …}, "items": [{"index": 0, "verdict": "accepted", …}]}'
    return feed["push_url"], _files(at, wire, feed["push_url"], sample, expected.encode())


def _files(at: Access, wire: Wire, path: str, sample: Any, answer: bytes) -> dict[str, bytes]:
    return {
        "push.sh": ('cd "$(dirname "$0")" && ' + curl_of_file(wire, at.urls["ingest"] + path, "body.bin") + "\n").encode(),
        "body.bin": wire.body,
        "sample.json": json.dumps(sample, ensure_ascii=False, indent=1).encode(),
        "expected.txt": answer + b"\n",
    }
