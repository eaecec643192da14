"""`tongcun.scans.v1`: one scan of one parcel, as its sender told it, and our reading of it.

Names, phones and street addresses never appear here: they stay in ingest's encrypted inbox.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

TOPIC = "tongcun.scans.v1"
VERSION = 1
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
VERIFIED = ("hmac", "digest", "cipher", "webhook", "jwt", "token", "none")  # how the push was authenticated
MAX_INT = 2**31 - 1

# Wide enough for whatever a sender may say, narrow enough for whoever stores it; lengths alone, which cost a decoder next to nothing.
Id = Annotated[str, Meta(min_length=36, max_length=36)]  # a UUID
Sha256 = Annotated[str, Meta(min_length=64, max_length=64)]  # hex
Word = Annotated[str, Meta(max_length=256)]
Words = Annotated[str, Meta(max_length=1024)]
Division = Annotated[str, Meta(min_length=12, max_length=12)]
Moment = Annotated[datetime, Meta(tz=True)]


class Retracts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a retraction cancels: exactly one of the two is given."""

    event_id: Word | None = None
    previous_action: Word | None = None


class ScanEvent(msgspec.Struct, frozen=True, tag_field="v", tag=VERSION, forbid_unknown_fields=True, gc=False):
    """The value of one position of the scans log.

    Scan facts as sent: `brand` … `retracts`; our reading: `action`, `mapping_version`; delivery facts, which money never reads
    (but for `feed`, to resolve a retraction): the rest.
    """

    event_id: Id
    content: Sha256  # of the scan facts as sent
    verdict: Literal["accepted", "conflict"]
    brand: Word
    waybill_no: Word  # upper-cased
    raw_action: Word
    scanned_at: Moment  # RFC 3339 with an offset, exactly as hashed into `content`
    site_namespace: Word
    site_code: Words | None
    site_name: Words | None
    origin: Division | None
    destination: Division | None
    goods: Words | None
    order_no: Words | None
    weight_g: Annotated[int, Meta(ge=0, le=MAX_INT)] | None
    retracts: Retracts | None
    action: Word  # an Action; open: a reader treats a word that it does not know as `unknown`
    mapping_version: Annotated[int, Meta(ge=0, le=MAX_INT)]  # of the brand's code table; the highest counts
    feed: Word
    receipt_id: Word
    received_at: Moment
    verified: Word
    payload_sha256: Sha256  # of the push's body


decode_scan = msgspec.json.Decoder(ScanEvent).decode
