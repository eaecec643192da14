"""From the value of a log position to a row of evidence."""

from typing import NamedTuple

from services.subsidy.domain.events import CLOSING_ACTIONS, read_scan
from shared.contracts.scan import decode_scan
from shared.identity import parcel_key


class Scan(NamedTuple):
    """One position, decoded while the batch before it commits. `row` lacks position, partition and batch_no, which come last."""

    key: bytes
    brand: str
    waybill_no: str
    closing: bool
    site: tuple[bytes, str, str | None, str | None] | None  # (site_id, namespace, code, name)
    row: tuple[object, ...]


def read_value(value: bytes) -> Scan:
    """Raises msgspec.DecodeError for what is no ScanEvent: the partition stops there, since skipping it would lose an event in silence."""
    scan = decode_scan(value)
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
