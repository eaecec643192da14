"""`tongcun.scans.v1`: one scan of one parcel, as its sender told it, and our reading of it.

Names, phones and street addresses never appear here: they stay in ingest's encrypted inbox.
"""

from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

TOPIC = "tongcun.scans.v1"
CANONICAL = 0  # mapping_version of an item whose action is the sender's own word, not the reading of a table of ours


class Action(StrEnum):
    """What happened to the parcel, in the programme's words; the table of each brand maps its codes to these."""

    PICKED_UP = "picked_up"
    DEPARTED = "departed"
    ARRIVED = "arrived"
    OUT_FOR_DELIVERY = "out_for_delivery"
    STATION_INBOUND = "station_inbound"
    STATION_PICKUP = "station_pickup"
    SIGNED = "signed"
    SIGNED_BY_AGENT = "signed_by_agent"
    TAKEN_BACK = "taken_back"
    DELIVERY_FAILED = "delivery_failed"
    REFUSED = "refused"
    RETURNING = "returning"
    RETURNED = "returned"
    TRANSFERRED = "transferred"
    RETRACTED = "retracted"
    UNKNOWN = "unknown"


BRANDS = ("zto", "sf", "yto", "sto", "yunda", "jt", "jd", "ems", "chinapost", "cainiao")
VERIFIED = ("hmac", "digest", "jwt", "token", "none")  # how the push was authenticated


class Retracts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a retraction cancels: exactly one of the two is given."""

    event_id: str | None = None
    previous_action: str | None = None


class ScanEvent(msgspec.Struct, frozen=True, tag_field="v", tag=1, forbid_unknown_fields=True, gc=False):
    """The value of one position of the scans log.

    Scan facts as sent: `brand` … `retracts`; our reading: `action`, `mapping_version`; delivery facts, which money never reads
    (but for `feed`, to resolve a retraction): the rest.
    """

    event_id: str
    content: str  # hex SHA-256 of the scan facts as sent
    verdict: Literal["accepted", "conflict"]
    brand: str
    waybill_no: str  # upper-cased
    raw_action: str
    scanned_at: datetime  # RFC 3339 with an offset, exactly as hashed into `content`
    site_namespace: str
    site_code: str | None
    site_name: str | None
    origin: str | None  # 12-digit division code
    destination: str | None  # 12-digit division code
    goods: str | None
    order_no: str | None
    weight_g: int | None
    retracts: Retracts | None
    action: str  # an Action; open: a reader treats a word that it does not know as `unknown`
    mapping_version: int  # of the brand's code table; the highest counts
    feed: str
    receipt_id: str
    received_at: datetime
    verified: str
    payload_sha256: str  # hex SHA-256 of the push's body


decode_scan = msgspec.json.Decoder(ScanEvent).decode
