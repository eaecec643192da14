"""Generated parcels in the county of the spec page: few values, so that ties, retractions and contradictions meet often."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import strategies as st

from services.subsidy.domain.events import Event
from services.subsidy.domain.fold import assess, contested_events, versions_that_count
from services.subsidy.domain.policy import Mode, Policies
from services.subsidy.domain.said import BY_HAND, Choice, Ruling, Said, Word, digest_of
from services.subsidy.policies import read_directory
from shared.calendar import SHANGHAI
from shared.contracts.scan import Action
from tests.spec.page import DOWNLINK, read_page

PAGE = read_page(DOWNLINK)
DIRECTORY = PAGE.directory
POLICIES = Policies(p for p, _ in read_directory())
SITES = sorted(PAGE.sites)

_JULY_14 = datetime(2023, 7, 14, tzinfo=SHANGHAI)
# Close together around a midnight, at which stations and aliases change; and days on which other segments and policies hold.
MOMENTS = [
    *(_JULY_14 + timedelta(hours=h) for h in (9, 9.5, 12, 23.99, 24, 33)),
    *(_JULY_14 + timedelta(days=d) for d in (-13, -10, -4, 7, 12)),
    _JULY_14 + timedelta(days=171),
    _JULY_14 - timedelta(days=194),
]
# What closes or changes an outcome comes more often than what does not.
ACTIONS = [
    *(["station_inbound"] * 6),
    *(["signed", "station_pickup", "signed_by_agent", "taken_back"] * 2),
    *(str(a) for a in Action),
    "drone_drop",
]
FEEDS = ["gongpei", "kd100"]


def event_id(n: int) -> bytes:
    return bytes([n]) * 16


def events(*, ids: int = 6, contents: int = 2) -> st.SearchStrategy[Event]:
    retracts = st.sampled_from(["no"] * 8 + ["id", "action"])
    plain = st.builds(
        Event,
        event_id=st.integers(1, ids).map(event_id),
        content=st.integers(1, contents).map(lambda n: bytes([n]) * 32),
        mapping_version=st.integers(1, 2),
        feed=st.sampled_from(FEEDS[:1] * 4 + FEEDS),
        action=st.sampled_from(ACTIONS),
        scanned_at=st.sampled_from(MOMENTS[:6] * 4 + MOMENTS),
        site=st.one_of(st.none(), *[st.sampled_from(SITES)] * 5),
        origin=st.sampled_from([None] * 12 + ["140827100200", "330782000000"]),
        retracts_event_id=st.none(),
        retracts_previous_action=st.none(),
    )

    def retracting(event: Event, kind: str, target: int, action: str) -> Event:
        if kind == "id":
            return event._replace(retracts_event_id=event_id(target))
        return event._replace(retracts_previous_action=action) if kind == "action" else event

    return st.builds(retracting, plain, retracts, st.integers(1, ids), st.sampled_from(ACTIONS))


def parcels(*, most: int = 7, ids: int = 6, contents: int = 2) -> st.SearchStrategy[list[Event]]:
    """All versions of all events of one parcel; a version is unique, as the evidence table's key makes it."""
    return st.lists(events(ids=ids, contents=contents), min_size=1, max_size=most, unique_by=lambda e: e.version)


def plain_parcels() -> st.SearchStrategy[list[Event]]:
    """Each event told once: the usual case."""
    return st.lists(events(ids=9, contents=1), min_size=1, max_size=7, unique_by=lambda e: e.event_id)


brands = st.sampled_from(["zto", "yto"])


# What people say of it, and other policies


def with_mode(mode: Mode, *, of: Mode | None = None) -> Policies:
    """The shipped policies, every clause (or those of one mode) in another mode: what next year's file may say."""
    return Policies(
        replace(p, clauses=tuple(replace(c, mode=mode) if of in (None, c.mode) else c for c in p.clauses)) for p in POLICIES.versions
    )


ALL_MODES = {
    "as shipped": POLICIES,
    "strict": with_mode(Mode.REQUIRE),
    "what is reported holds": with_mode(Mode.HOLD, of=Mode.REPORT),
    "what is required holds": with_mode(Mode.HOLD, of=Mode.REQUIRE),
    "everything holds": with_mode(Mode.HOLD),
    "everything is only reported": with_mode(Mode.REPORT),
    "no rates": Policies(replace(p, tiers=()) for p in POLICIES.versions),
}
policies = st.sampled_from(sorted(ALL_MODES)).map(lambda name: ALL_MODES[name])


@st.composite
def decided(draw: st.DrawFn, brand: str, parcel: list[Event], of: Policies) -> Said:
    """People who look at what is held, or was held while only a part of the evidence had come, and decide; or place a hold by hand."""
    rulings: list[Ruling] = []
    for number in range(draw(st.integers(1, 5))):
        told = parcel[: draw(st.integers(1, len(parcel)))] if draw(st.integers(0, 3)) == 0 else parcel
        said = Said(tuple(rulings))
        held = assess(brand, told, DIRECTORY, of, said)
        if held.subject is None or draw(st.integers(0, 3)) == 0:
            rulings.append(Ruling(number, Word.PLACE, draw(st.sampled_from(BY_HAND[:2])), None, {}))
            continue
        choices = {}
        if held.reason_codes[0] == "evidence.contested":
            for event_id, contents in contested_events(versions_that_count(told, said)).items():
                choices[event_id] = Choice(draw(st.sampled_from(contents)), digest_of(contents))
        word = draw(st.sampled_from([Word.RELEASE, Word.RELEASE, Word.CONFIRM]))
        rulings.append(Ruling(number, word, held.reason_codes[0], held.subject, choices if word is Word.RELEASE else {}))
    return Said(tuple(rulings))


@st.composite
def ruled_parcels(draw: st.DrawFn) -> tuple[str, list[Event], Policies, Said]:
    """A parcel with what people said of it: contested, reused, transferred ones come often, since there is nothing to say of others."""
    brand, of, parcel = draw(brands), draw(policies), draw(parcels())
    if draw(st.booleans()):
        parcel = [*parcel, draw(events(ids=6, contents=1))._replace(event_id=event_id(9), action="transferred", mapping_version=1)]
    return brand, parcel, of, draw(decided(brand, parcel, of))
