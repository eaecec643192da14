"""One write: lock the head, read, decide, record, one log position, commit. Everything that changes the registry passes here."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from services.registry import repository
from services.registry.domain.filings import receipts_of
from services.registry.domain.refusals import Conflict, Invalid
from services.registry.domain.stations import brands_of, places_of
from shared.contracts.programme import Inspection, Programme
from shared.contracts.registry import (
    PARTITION,
    TOPIC,
    AnyRecord,
    Division,
    Incident,
    Level,
    Merchant,
    Operator,
    RegistryChange,
    Station,
    record_id,
)
from shared.db import Database, Write
from shared.log import Closed, Entry, TooLarge, append, lock_heads
from shared.problems import Problem, invalid, unavailable
from shared.sites import site_id
from shared.standing import sites_of
from shared.values import AsOf

R = TypeVar("R", Division, Operator, Station, Merchant, Incident, Programme, Inspection)


@dataclass
class Recording:
    """A write that holds the head. `revision`: its log position to be; what was known before is `known`."""

    tx: Write
    revision: int
    recorded_at: datetime
    actor: str
    reason: str | None
    records: list[AnyRecord] = field(default_factory=list)
    unchanged: bool = False  # the request says what is recorded already: no revision is made of it

    @property
    def known(self) -> int:
        return self.revision - 1

    def put(self, record: R) -> R:
        """-> the record as it will be recorded: its next version."""
        new = replace(record, version=record.version + 1)
        self.records.append(new)
        return new

    def as_of(self, valid_at: datetime) -> AsOf:
        return AsOf(valid_at=valid_at, known_at=self.recorded_at, revision=self.revision, registry_revision=self.revision)


@contextlib.asynccontextmanager
async def recording(database: Database, actor: str, reason: str | None = None) -> AsyncIterator[Recording]:
    """The head is locked before anything is read, so two edits of one station never miss each other (design §4)."""
    with refusals_as_problems():
        async with database.write() as tx:
            heads = await lock_heads(database, tx, TOPIC, [PARTITION])
            draft = Recording(tx, heads[PARTITION][0], await repository.next_moment(tx), actor, reason)
            yield draft
            await _store(database, draft)


async def _store(database: Database, draft: Recording) -> None:
    if draft.unchanged:
        return
    assert draft.records, "a write records something"
    change = RegistryChange(recorded_at=draft.recorded_at, actor=draft.actor, reason=draft.reason, records=tuple(draft.records))
    traces = [(term, record_id(r)[1]) for r in draft.records for term in terms_of(r)]
    await repository.insert(
        draft.tx, repository.Revision(draft.revision, draft.recorded_at), draft.actor, draft.reason, draft.records, traces
    )
    stations = {r.station_id: r for r in draft.records if isinstance(r, Station)}  # the last of each, if a write has several
    if stations:
        await repository.claim(draft.tx, list(stations), [claim for s in stations.values() for claim in claims_of(s)])
    key = "|".join(record_id(draft.records[0])).encode()
    [position] = await append(database, draft.tx, TOPIC, [Entry(PARTITION, key, msgspec.json.encode(change))])
    assert position == draft.revision


def terms_of(record: AnyRecord) -> set[str]:
    """Under which words the record can be found again."""
    kind, _ = record_id(record)
    own: Iterable[str] = ()
    match record:
        case Station():
            own = _terms_of_station(record)
        case Inspection():
            own = (inspections_term(record.station_id), client_term(record.client_id))
    return {repository.kind_term(kind), *own}


def _terms_of_station(station: Station) -> Iterator[str]:
    for segment in station.segments:
        for code in places_of(segment):
            yield place_term(code)
            yield level_term(station.level, code)
        if segment.operator_id:
            yield operator_term(segment.operator_id)
    yield from map(brand_term, brands_of(station))
    yield from map(site_term, sites_of(station))
    for filing in station.filings:
        yield filing_term(filing.filing_id)
        yield from (receipt_term(*receipt) for receipt in receipts_of(filing))


def claims_of(station: Station) -> Iterator[tuple[bytes, datetime, datetime | None, str]]:
    for alias in station.aliases:
        if site := site_id(alias.namespace, alias.site_code, alias.site_name):
            yield site, alias.valid_from, alias.valid_to, station.station_id


def place_term(code: str) -> str:
    """A county, a township or a village, by its twelve digits."""
    return f"place|{code}"


def level_term(level: Level, code: str) -> str:
    """The stations of one level in a county, a township or a village."""
    return f"{level}|{code}"


def inspections_term(station_id: str) -> str:
    """The inspections of a station."""
    return f"inspections|{station_id}"


def client_term(client_id: str) -> str:
    """The inspection that a device has given this id."""
    return f"client|{client_id}"


def brand_term(brand: str) -> str:
    """The stations that serve a brand or are filed for it."""
    return f"brand|{brand}"


def operator_term(operator_id: str) -> str:
    return f"operator|{operator_id}"


def site_term(site: bytes) -> str:
    return f"site|{site.hex()}"


def receipt_term(authority: str, receipt_no: str) -> str:
    return f"receipt|{authority}|{receipt_no}"


def filing_term(filing_id: str) -> str:
    return f"filing|{filing_id}"


@contextlib.contextmanager
def refusals_as_problems() -> Iterator[None]:
    """What the domain or the log refuses, as the caller reads it."""
    try:
        yield
    except Conflict as e:
        raise Problem(409, e.code, e.zh, e.en) from None
    except Invalid as e:
        raise invalid(e.pointer, e.code, e.zh, e.en) from None
    except Closed:
        raise unavailable(
            "log.closed",
            "日志已关闭，待运维恢复；未存储任何内容。",
            "The log is closed until an operator has recovered it: retry later.",
        ) from None
    except TooLarge:
        raise Problem(
            409,
            "record.too_large",
            "该记录的历史过大，无法再追加；请另行登记。",
            "This record's history no longer fits one message: register it anew to go on.",
        ) from None
