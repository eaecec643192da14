"""From the value of a log position to a row of evidence."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from services.subsidy.domain.events import CLOSING_ACTIONS, read_scan
from shared.contracts.scan import VERSION, ScanEvent, decode_scan
from shared.identity import parcel_key, partition_of
from shared.log import Batch, Diverged, Record


class Scan(NamedTuple):
    """One position, decoded while the batch before it commits. `row` lacks position, partition and batch_no, which come last."""

    key: bytes
    brand: str
    waybill_no: str
    closing: bool
    site: tuple[bytes, str, str | None, str | None] | None  # (site_id, namespace, code, name)
    row: tuple[object, ...]


class Unreadable(NamedTuple):
    """A value that is no scan: set aside with what was wrong with it, so that the honest rest of its partition goes on."""

    reason_code: str  # one of REASONS
    detail: str  # for whoever mends the writer; says nothing of the parcel


class Newer(NamedTuple):
    """A message of a version that this worker does not know yet. Its partition stops: a newer worker will read all of them."""

    version: int


# reason code → what it says to an operator
REASONS: Mapping[str, tuple[str, str]] = {
    "value.empty": ("空消息", "an empty message"),
    "value.not_json": ("不是 JSON", "not JSON"),
    "value.contract": ("不符合消息格式约定", "breaks the message's schema"),
    "value.identifier": ("编号或摘要无效", "an id or a digest that is none"),
    "value.time": ("时间超出合理范围", "a time out of range"),
    "value.text": ("文字含空字符", "a text with a NUL character"),
    "value.partition": ("快件不属于该分区", "its parcel belongs to another partition"),
}
EARLIEST, LATEST = 2000, 2100  # years; as the API takes times
MAX_DETAIL = 300
_NUL = b"\\u0000"  # as JSON writes it; PostgreSQL takes none
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # all that the decoder raises


class _Versioned(msgspec.Struct):
    v: int


_version = msgspec.json.Decoder(_Versioned).decode


def read_value(value: bytes) -> Scan | Unreadable | Newer:
    """Answers for every value; only its batch knows whether the partition is the right one."""
    try:
        scan = decode_scan(value)
    except msgspec.ValidationError as e:
        return _newer(value) or Unreadable("value.contract", str(e)[:MAX_DETAIL])
    except NOT_JSON as e:
        return Unreadable("value.not_json" if value else "value.empty", str(e)[:MAX_DETAIL])
    if not (EARLIEST <= scan.scanned_at.year < LATEST and EARLIEST <= scan.received_at.year < LATEST):
        return Unreadable("value.time", f"scanned_at {scan.scanned_at.isoformat()}, received_at {scan.received_at.isoformat()}")
    if _NUL in value and (fields := [name for name, text in _texts(scan) if "\0" in text]):
        return Unreadable("value.text", f"NUL in {', '.join(fields)}")
    try:
        return _read(scan)
    except ValueError as e:  # hex that is none, or of another length
        return Unreadable("value.identifier", str(e)[:MAX_DETAIL])


def _newer(value: bytes) -> Newer | None:
    try:
        version = _version(value).v
    except NOT_JSON:
        return None
    return Newer(version) if version > VERSION else None


def _texts(scan: ScanEvent) -> Iterator[tuple[str, str]]:
    retracts = msgspec.structs.asdict(scan.retracts) if scan.retracts else {}
    for name, value in (*msgspec.structs.asdict(scan).items(), *retracts.items()):
        if isinstance(value, str):
            yield name, value


def in_partition(batch: Batch, partitions: int) -> tuple[list[tuple[int, Scan]], list[tuple[Record, Unreadable]]]:
    """-> (position and scan of what can be read, what has to be set aside). Raises Diverged for a message of a newer version."""
    ours = batch.partition
    scans = [(r.position, r.decoded) for r in batch.records if type(r.decoded) is Scan and partition_of(r.decoded.key, partitions) == ours]
    return scans, [] if len(scans) == len(batch.records) else list(_others(batch, partitions))


def _others(batch: Batch, partitions: int) -> Iterator[tuple[Record, Unreadable]]:
    for record in batch.records:
        match record.decoded:
            case Unreadable() as unreadable:
                yield record, unreadable
            case Newer(version):
                raise Diverged(
                    f"position {record.position} is a message of version {version}: this worker is older than its writer, renew it"
                )
            case Scan(key) if (other := partition_of(key, partitions)) != batch.partition:
                yield record, Unreadable("value.partition", f"a parcel of partition {other}")


def _read(scan: ScanEvent) -> Scan:
    """Raises ValueError."""
    key = parcel_key(scan.brand, scan.waybill_no)
    event = read_scan(scan)
    payload_sha256 = bytes.fromhex(scan.payload_sha256)
    if len(event.event_id) != 16 or len(event.content) != 32 or len(payload_sha256) != 32:  # `fromhex` skips white space
        raise ValueError("an id or digest is too short")
    return Scan(
        key,
        scan.brand,
        scan.waybill_no,
        event.action in CLOSING_ACTIONS,
        (event.site, scan.site_namespace, scan.site_code, scan.site_name) if event.site else None,
        (
            key,
            *event,
            scan.verdict,
            scan.receipt_id,
            scan.raw_action,
            scan.received_at,
            scan.site_namespace,
            scan.site_code,
            scan.site_name,
            scan.verified,
            payload_sha256,
        ),
    )
