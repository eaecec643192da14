"""Verdicts: the set-based decision equals the rule told one event at a time; counts always balance; identity is stable."""

from collections import Counter
from datetime import datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain import verdicts
from services.ingest.domain.items import Item, identify
from services.ingest.domain.verdicts import Candidate
from shared.calendar import SHANGHAI
from shared.identity import event_id

EVENTS = [bytes([i]) * 16 for i in range(4)]
CONTENTS = [bytes([i]) * 32 for i in range(3)]
commits = st.lists(st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from(CONTENTS)), max_size=12), max_size=6)


class Naive:
    """The rule of design §4, one event after the other."""

    def __init__(self) -> None:
        self.told: dict[bytes, set[bytes]] = {}

    def verdict(self, event: bytes, content: bytes) -> str:
        if event not in self.told:
            self.told[event] = {content}
            return "accepted"
        if content in self.told[event]:
            return "duplicate"
        self.told[event].add(content)
        return "conflict"


class Tables:
    """What PostgreSQL does with `on conflict do nothing returning`."""

    def __init__(self) -> None:
        self.event: dict[bytes, bytes] = {}
        self.versions: set[Candidate] = set()

    def commit(self, candidates: list[Candidate]) -> list[verdicts.Verdict]:
        first = verdicts.first_contents(candidates)
        assert list(first) == sorted(first), "concurrent commits lock in one order"
        new = {e for e in first if e not in self.event}
        self.event |= {e: first[e] for e in new}
        known = verdicts.known_contents(first, {e: c for e, c in self.event.items() if e in first and e not in new})
        others = verdicts.other_contents(candidates, known)
        assert others == sorted(set(others))
        new_versions = set(others) - self.versions
        self.versions |= new_versions
        return verdicts.decide(candidates, known, new, new_versions)


@given(commits)
def test_a_commit_decides_as_if_its_events_had_come_one_by_one(batches: list[list[Candidate]]) -> None:
    naive, tables = Naive(), Tables()
    for batch in batches:
        assert tables.commit(batch) == [naive.verdict(*candidate) for candidate in batch]


@given(commits, st.data())
def test_how_pushes_are_grouped_and_ordered_changes_no_total(batches: list[list[Candidate]], data: st.DataObject) -> None:
    flat = [candidate for batch in batches for candidate in batch]
    grouped, shuffled = Tables(), Tables()
    one = Counter(v for batch in batches for v in grouped.commit(batch))
    assert one == Counter(shuffled.commit(data.draw(st.permutations(flat))))
    assert one["accepted"] == len({e for e, _ in flat})
    assert one["accepted"] + one["conflict"] == len(set(flat)), "every content of every event is logged exactly once"
    assert sum(one.values()) == len(flat)


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
instants = st.integers(1_577_808_000, 1_704_038_400).map(lambda t: datetime.fromtimestamp(t, SHANGHAI))
items = st.builds(
    lambda scanned_at, **more: Item(scanned_at=scanned_at, scanned_text=scanned_at.isoformat(), **more),
    index=st.integers(0, 499),
    brand=st.sampled_from(["zto", "yto"]),
    waybill_no=st.sampled_from(["A1234", "B1234"]),
    raw_action=texts,
    scanned_at=instants,
    site_code=st.none() | texts,
    site_name=st.none() | texts,
    action=st.just("arrived"),
    mapping_version=st.integers(1, 3),
    identity=st.tuples(texts) | st.tuples(texts, texts, st.none() | texts, st.none() | texts),
    weight_g=st.none() | st.integers(0, 9),
)


@given(items, items)
def test_an_event_is_its_identity_in_its_feed_mode_and_parcel_and_nothing_else(a: Item, b: Item) -> None:
    one, two = identify(a, "live", "f", "zto"), identify(b, "live", "f", "zto")
    same = (a.brand, a.waybill_no, a.identity) == (b.brand, b.waybill_no, b.identity)
    assert (one.event_id == two.event_id) == same
    assert one.event_id != identify(a, "sandbox", "f", "zto").event_id
    assert one.event_id != identify(a, "live", "g", "zto").event_id
    told = UUID(one.event_text)
    assert (told.bytes, told.version, told.variant) == (one.event_id, 8, "specified in RFC 4122")
    assert told == event_id("live", "f", one.parcel_key, a.identity)


@given(items, st.integers(0, 499), st.integers(1, 9))
def test_content_is_what_was_sent_not_how_we_read_it(item: Item, index: int, version: int) -> None:
    fields = {name: getattr(item, name) for name in Item.__struct_fields__}
    read_anew = Item(**fields | {"index": index, "mapping_version": version, "action": "unknown"})
    assert identify(item, "live", "f", "zto").content == identify(read_anew, "live", "f", "zto").content
    heavier = Item(**fields | {"weight_g": 10})
    assert identify(item, "live", "f", "zto").content != identify(heavier, "live", "f", "zto").content
