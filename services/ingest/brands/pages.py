"""`python -m services.ingest.brands.pages`: docs/brands.md, from the modules themselves, so that what it shows is what runs."""

import shlex
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl

from services.ingest.brands import NATIVE
from services.ingest.brands.base import TOKEN, Feed, Format, Outcome, RawPush, Wire
from services.ingest.domain.items import Item
from services.ingest.service import SAID
from shared.calendar import SHANGHAI

SECRET = b"s3cret-DEMO-0123"  # of every sample; 16 characters, since EMS wants an SM4 key
RECEIVED = datetime(2023, 7, 14, 9, 12, 4, tzinfo=SHANGHAI)
MEANS = {
    "digest": "a digest of the text and the secret, the sender's own algorithm 摘要",
    "hmac": "HMAC-SHA256",
    "cipher": "the body enciphered with the secret 加密报文",
    TOKEN: "unsigned, the secret is the last part of the address: `POST /v1/push/{feed}/{secret}` 密址",
}
HEAD = """# How each sender pushes 各来源的推送格式

*Generated from `services/ingest/brands/` by `python -m services.ingest.brands.pages`: do not edit. A test pushes every sample below and
compares the answer.*

A sender keeps the format, the signature and the answer that it has: point its push at the address of its feed, nothing else changes.
来源不必改一行代码：把原有推送地址换成下面的地址即可。

- The address is `POST /v1/push/{feed}`; `tongcun feed create NAME --format FORMAT` makes the feed and shows its secret once
  (`--secret-file` for one that the sender has already), `tongcun feed kit NAME` writes a folder to try it with.
- A push is at most 1 MiB and 500 scans, JSON and XML nest at most 32 deep, a form has at most 32 fields. Bytes are verified as they came;
  a `+` that arrives as a space in a digest is put right. UTF-8, and GBK where the page says so.
- Every answer carries `Receipt-Id`. HTTP 200 with the sender's success body: stored for good. HTTP 200 with its failure body: mend it and
  push again. HTTP 503 with its failure body and `Retry-After`: nothing was stored, push the same again.
- A scan that cannot be read is kept (quarantined) and named in the receipt; its neighbours count. An unknown code is kept as `unknown`.
- A corrected code table counts with its higher *mapping version*: `tongcun ingest remap FEED` sends a feed's events again.
- `POST /v1/feeds/{feed}/signature-check` takes the same request for a sandbox feed, with a token, and says why its signature is refused.
- Times without a zone are +08:00. Names, telephone numbers and addresses stay in the encrypted inbox.
"""


def page() -> str:
    return "\n".join([HEAD, *(f"- [{f.NAME}](#{name})" for name, f in NATIVE.items()), "", *_sections()])


def _sections() -> Iterator[str]:
    for name, format_ in NATIVE.items():
        yield f'<a id="{name}"></a>\n\n## {format_.NAME}\n'
        yield f"`--format {name}` · brands {', '.join(format_.BRANDS)} · mapping version {format_.MAPPING_VERSION}\n"
        yield _prose(format_)
        yield from (f"- `{scheme}`: {MEANS[scheme]}" for scheme in format_.SCHEMES)
        yield from _sample(name, format_)
        yield from _codes(format_)


def _prose(format_: Format) -> str:
    return (format_.__doc__ or "").strip() + "\n"


def _sample(name: str, format_: Format) -> Iterator[str]:
    wire = format_.sign(format_.SAMPLE, SECRET)
    push = sample_push(name, wire)
    yield f"\nA push (secret `{SECRET.decode()}`), and what it is read as:\n"
    yield f"```sh\n{curl(wire, 'http://127.0.0.1:8101', f'try-{name}')}\n```\n"
    yield "| waybill | code | action | time | site |\n|---|---|---|---|---|"
    for item in format_.parse(push):
        if isinstance(item, Item):
            site = " ".join(part for part in (item.site_code, item.site_name) if part)
            yield f"| {item.brand} {item.waybill_no} | {item.raw_action} | `{item.action}` | {item.scanned_text} | {site} |"
    yield "\nAnswers 应答:\n"
    for outcome, said, code in (
        (Outcome.STORED, "stored", ""),
        (Outcome.FAILED, "signature", ""),
        (Outcome.RETRY, "retry", "database.unavailable"),
    ):
        ack = format_.acknowledge(push, outcome, SAID[said].format(code=code))
        yield f"- {outcome}: HTTP {ack.status} `{ack.content_type}` `{ack.body.decode()}`"


def _codes(format_: Format) -> Iterator[str]:
    yield "\n| code | action |\n|---|---|"
    yield from (f"| `{code}` | `{action}` |" for code, action in format_.CODES.items())
    yield ""


def sample_push(name: str, wire: Wire) -> RawPush:
    """The sample as it arrives."""
    feed = Feed(f"try-{name}", name, tuple(NATIVE[name].BRANDS), None, "sandbox", 7200)
    headers = {k.lower(): v for k, v in wire.headers.items()}
    return RawPush(feed, wire.body, wire.content_type, RECEIVED, wire.token, headers, dict(parse_qsl(wire.query)), [SECRET])


def curl(wire: Wire, url: str, feed: str) -> str:
    """The same push by hand."""
    headers = {"Content-Type": wire.content_type, **wire.headers}
    said = " \\\n  ".join(f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items())
    return f"curl -sS {shlex.quote(url + wire.path(feed))} \\\n  {said} \\\n  --data-binary {shlex.quote(wire.body.decode())}"


def curl_of_file(wire: Wire, address: str, file: str) -> str:
    """The same with the body in a file beside it; `$TOKEN` is the shell's to fill in."""
    headers = {"Content-Type": wire.content_type, **wire.headers}
    said = " \\\n  ".join(f'-H "{name}: {value}"' for name, value in headers.items())
    return f"curl -sS -i {shlex.quote(address)} \\\n  {said} \\\n  --data-binary @{file}"


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/brands.md")
    target.write_text(page(), encoding="utf-8")
