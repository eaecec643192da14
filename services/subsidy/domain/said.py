"""What people said of a parcel beside its scans: rulings on its holds, and the row by which a merchant declared it (docs/rules.md 14)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from shared.contracts.registry import Incident


class Word(StrEnum):
    """What a ruling does to a hold."""

    PLACE = "place"  # by hand
    RELEASE = "release"  # the parcel is what it would be without the hold
    CONFIRM = "confirm"  # the parcel is refused


class Choice(NamedTuple):
    """Of a contested event: which of its contents counts."""

    content: bytes
    among: bytes  # `digest_of` all its contents that were seen: another one opens the question again


class Ruling(NamedTuple):
    """A person's word on one parcel. `number` gives their order: the batch of partition −1 that recorded it."""

    number: int
    decision: str  # a Word
    reason_code: str  # of the hold
    subject: bytes | None  # digest of what was held when it was decided; None: placed by hand
    choices: Mapping[bytes, Choice]  # of a contested hold that is released, by event id


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
    brand: str
    waybill_no: str


class Said(NamedTuple):
    """Of one parcel. Part of what its gross is a function of, like its events."""

    rulings: tuple[Ruling, ...] = ()
    declared: Declared | None = None
    incidents: tuple[Incident, ...] = ()  # of the registry, those that name it, by id; looked up where a policy reads them


NOTHING = Said()
# The reasons for which a person may place a hold: an incident, a suspicion, two who claim it, a document that is missing.
BY_HAND = ("hold.incident", "hold.suspicion", "hold.conflict", "hold.missing_document")
CONFIRMED = "hold.confirmed"  # the reason where a person has decided that nothing is paid
CONTESTED = "evidence.contested"
# Where there is nothing to pay, a release could give nothing: a policy has to come first.
NOTHING_TO_PAY = frozenset({"policy.not_in_force", "policy.no_rate"})
# A ruling names a hold by its reason code, so no clause may call its own by one of these.
RESERVED = NOTHING_TO_PAY | {*BY_HAND, CONFIRMED, CONTESTED, "waybill.reused", "transfer.unlinked"}


def placed(rulings: Sequence[Ruling]) -> list[Ruling]:
    """The holds placed by hand, each reason once (its latest placement counts), the latest first."""
    newest: dict[str, Ruling] = {}
    for ruling in sorted(rulings, key=lambda r: r.number):
        if ruling.decision == Word.PLACE:
            newest[ruling.reason_code] = ruling
    return sorted(newest.values(), key=lambda r: -r.number)


def decided(rulings: Sequence[Ruling], reason_code: str, subject: bytes, after: int) -> str | None:
    """The latest word on exactly this hold, spoken after it was placed (`after`); None: nobody has decided."""
    words = [r for r in rulings if r.subject == subject and r.reason_code == reason_code and r.number > after]
    return max(words, key=lambda r: r.number).decision if words else None


def chosen(rulings: Sequence[Ruling], event_id: bytes, contents: Iterable[bytes]) -> bytes | None:
    """Which content of a contested event counts by the latest word on exactly these contents; None: nobody has said."""
    among = digest_of(contents)
    choices = [(r.number, c.content) for r in rulings if (c := r.choices.get(event_id)) and c.among == among]
    return max(choices)[1] if choices else None


def digest_of(contents: Iterable[bytes]) -> bytes:
    return sha256(b"".join(sorted(contents))).digest()
