"""What the fold reads of a scan: the facts that can touch money, and nothing else."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from shared.contracts.scan import Action, ScanEvent
from shared.sites import site_id

STATION_INBOUND = "station_inbound"
TAKEN_BACK = "taken_back"
FINAL_RECEIPTS = frozenset({"station_pickup", "signed", "signed_by_agent"})
DECIDING_ACTIONS = FINAL_RECEIPTS | {STATION_INBOUND}
CLOSING_ACTIONS = DECIDING_ACTIONS | {"returning", "returned", "refused"}
KNOWN_ACTIONS = frozenset(Action)

NO_EVENT = b""  # a retraction that names no event that could exist

_site_id = lru_cache(maxsize=65_536)(site_id)  # places are few, scans are many


class Event(NamedTuple):
    """One version of one event: a row of the evidence table is these fields in this order (`Event._make(row)`).

    (`event_id`, `content`, `mapping_version`) is unique within a parcel. An event that carries `retracts` has exactly one of the last two.
    """

    event_id: bytes  # 16 bytes of the UUID: they sort as its text does
    content: bytes  # 32 bytes, SHA-256 of the scan facts as sent
    mapping_version: int
    feed: str
    action: str
    scanned_at: datetime  # aware; UTC compares fastest
    site: bytes | None  # shared.sites.site_id; None: the scan names no place
    origin: str | None  # division code
    retracts_event_id: bytes | None
    retracts_previous_action: str | None
    destination: str | None = None  # division code
    order_no: str | None = None  # of the merchant's platform, where a scan tells it

    @property
    def is_retraction(self) -> bool:
        return self.retracts_event_id is not None or self.retracts_previous_action is not None

    @property
    def version(self) -> tuple[bytes, bytes, int]:
        return self[:3]


def read_scan(scan: ScanEvent) -> Event:
    """The value of a log position as the fold sees it."""
    named = previous = None
    if scan.retracts is not None:
        previous = scan.retracts.previous_action
        named = _uuid_bytes(scan.retracts.event_id) if scan.retracts.event_id is not None or previous is None else None
    return Event(
        bytes.fromhex(scan.event_id.replace("-", "")),  # UUID() takes four times as long
        bytes.fromhex(scan.content),
        scan.mapping_version,
        scan.feed,
        scan.action,
        scan.scanned_at.astimezone(UTC),
        _site_id(scan.site_namespace, scan.site_code, scan.site_name),
        scan.origin,
        named,
        previous,
        scan.destination,
        scan.order_no,
    )


def _uuid_bytes(text: str | None) -> bytes:
    """A sender may name anything; what is no UUID names no event of ours, and the retraction stays one that cancels nothing."""
    try:
        return UUID(text or "").bytes
    except ValueError:
        return NO_EVENT
