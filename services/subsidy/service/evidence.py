"""From the value of a log position to a row of evidence."""

from typing import Any, NamedTuple

import msgspec

from services.subsidy.domain.events import CLOSING_ACTIONS, read_scan
from shared.contracts.scan import ScanEvent, decode_scan
from shared.identity import parcel_key
from shared.log import Batch, Diverged


class Scan(NamedTuple):
    """One position, decoded while the batch before it commits. `row` lacks position, partition and batch_no, which come last."""

    key: bytes
    brand: str
    waybill_no: str
    closing: bool
    site: tuple[bytes, str, str | None, str | None] | None  # (site_id, namespace, code, name)
    row: tuple[object, ...]


class Unreadable(NamedTuple):
    """A value that is no message of a kind that we know. Its partition stops there: skipping it would lose an event in silence."""

    reason: str


def read_value(value: bytes) -> Scan | Unreadable:
    try:
        return _read(decode_scan(value))
    except (msgspec.DecodeError, ValueError) as e:  # no ScanEvent, or an id or hash in it that is none
        return Unreadable(str(e))


def _read(scan: ScanEvent) -> Scan:
    key = parcel_key(scan.brand, scan.waybill_no)
    event = read_scan(scan)
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
            bytes.fromhex(scan.payload_sha256),
        ),
    )


def readable(batch: Batch) -> list[Any]:
    """What the records were decoded to. Raises Diverged, which stops this partition alone until an operator has seen to it."""
    for record in batch.records:
        if isinstance(record.decoded, Unreadable):
            raise Diverged(f"position {record.position} cannot be read ({record.decoded.reason}): is this worker older than its writer?")
    return [record.decoded for record in batch.records]
