"""What people said of a parcel beside its scans: rulings on its holds, and the row by which a merchant declared it."""

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple


class Ruling(NamedTuple):
    """A person's word on one parcel. `number` gives their order: the batch of partition −1 that recorded it."""

    number: int
    decision: str  # place | release | confirm
    reason_code: str  # of the hold
    subject: bytes | None  # digest of what was held when it was decided; None: placed by hand
    choices: Mapping[bytes, bytes]  # of a contested hold that is released: event id → the content that counts


class Declared(NamedTuple):
    """The one live row of a declaration (申报) that names the parcel."""

    declaration_id: str
    row_no: int
    merchant_id: str
    platform: str
    order_no: str
    product: str
    destination: str  # as declared
    freight_fen: int
    declared_on: date  # the date that the row gives


class Said(NamedTuple):
    """Of one parcel. Part of what its gross is a function of, like its events."""

    rulings: tuple[Ruling, ...] = ()
    declared: Declared | None = None


NOTHING = Said()
