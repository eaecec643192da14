"""Generated parcels in the county of the spec page: few values, so that ties, retractions and contradictions meet often."""

from datetime import datetime, timedelta

from hypothesis import strategies as st

from services.subsidy.domain.events import Event
from services.subsidy.domain.policy import Policies
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
