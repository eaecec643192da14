"""Policy files: what the shipped one says, and every mistake that is refused before money depends on it."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from services.subsidy.domain.facts import SCHEMA, all_facts, by_name
from services.subsidy.domain.policy import Basis, Mode, Outcome, Policies, PolicyError, decide
from services.subsidy.domain.policy_file import MAX_BYTES, load
from services.subsidy.policies import SHIPPED, read_directory

FILE = SHIPPED / "yuanqu-2023.1.toml"
TEXT = FILE.read_text()
POLICY = load(TEXT.encode())
NOTICE = (SHIPPED / "sources" / "notice-2023-30.txt").read_text()


# the shipped policy


def test_every_quote_stands_in_the_notice_word_for_word() -> None:
    quotes = [c.citation.quote for c in POLICY.clauses if c.citation.quote]
    assert len(quotes) >= 4
    assert [q for q in quotes if q not in NOTICE] == []


def test_a_quote_stands_under_the_section_that_is_cited() -> None:
    numerals = "一二三四五六七"
    for clause in POLICY.clauses:
        if clause.citation.section and clause.citation.quote:
            chapter = clause.citation.section[0]
            start = NOTICE.index(f"\n{chapter}、")
            following = numerals[numerals.index(chapter) + 1]
            assert clause.citation.quote in NOTICE[start : NOTICE.index(f"\n{following}、")], clause.clause_id


def test_nothing_unquoted_is_attributed_to_the_county() -> None:
    assumed = [c for c in POLICY.clauses if c.citation.basis is Basis.ASSUMPTION]
    assert assumed
    assert all(c.citation.document is c.citation.section is c.citation.quote is None and c.citation.how for c in assumed)


def test_sample_rates_stay_below_the_ceiling_of_the_average() -> None:
    (ceiling,) = POLICY.ceilings
    assert POLICY.rates_status == "sample"
    assert ceiling.limit_fen_per_parcel == 50
    assert all(tier.amount_fen < ceiling.limit_fen_per_parcel for tier in POLICY.tiers)


def test_distance_names_every_village_and_township_and_a_village_goes_with_its_township() -> None:
    table = POLICY.tables["distance"]
    townships = [code for code in table if code.endswith("000")]
    assert (len(townships), len(table) - len(townships)) == (11, 71)
    assert all(table[code] == table[code[:9] + "000"] for code in table)
    assert POLICY.distance("140827999999") == "near"


def test_validity_is_the_shanghai_year() -> None:
    first = datetime(2022, 12, 31, 16, tzinfo=UTC)
    last = datetime(2023, 12, 31, 16, tzinfo=UTC) - timedelta(microseconds=1)
    assert [POLICY.covers(m) for m in (first - timedelta(microseconds=1), first, last, last + timedelta(microseconds=1))] == [
        False,
        True,
        True,
        False,
    ]


def test_its_hash_is_of_the_bytes() -> None:
    assert POLICY.sha256 == sha256(FILE.read_bytes()).hexdigest()
    assert load((TEXT + "\n").encode()).sha256 != POLICY.sha256


def test_decides_every_assignment_of_the_facts() -> None:
    """Over the whole fact space: open and rural pays by tier, else the failed clauses are the reasons; reports change nothing."""
    for facts in all_facts(brand="zto"):
        decision = decide(POLICY, facts)
        wanted = [
            *([f"parcel.{facts.returned}"] if facts.returned != "none" else []),
            *(["station.not_rural"] if not facts.rural else []),
            *(["station.not_open"] if facts.operating_status != "open" else []),
        ] or [f"rate.{facts.level}.{'filed' if facts.filed else 'unfiled'}.{facts.distance}"]
        assert list(decision.reason_codes) == wanted
        assert (decision.outcome is Outcome.PAYABLE) == (decision.amount_fen > 0) == wanted[0].startswith("rate.")


def test_a_decision_is_named_by_policy_and_facts_alone() -> None:
    facts = next(all_facts())
    ids = {decide(POLICY, f).decision_id for f in all_facts(brand="zto")}
    assert len(ids) == sum(1 for _ in all_facts(brand="zto"))
    assert decide(POLICY, facts).decision_id == decide(POLICY, facts).decision_id
    assert decide(replace(POLICY, policy_version="other"), facts).decision_id not in ids


def test_facts_are_plain_values_by_name() -> None:
    named = by_name(next(all_facts()))
    assert list(named) == list(SCHEMA)
    assert {type(v) for v in named.values()} == {str, bool}


# mistakes


def edited(old: str, new: str) -> bytes:
    assert old in TEXT, old
    return TEXT.replace(old, new, 1).encode()


OPEN = "condition = \"station.operating_status == 'open'\""
NEAR = 'when = { level = "village", filed = true, distance = "near" }'
FAR = 'when = { level = "village", filed = true, distance = "far" }'

MISTAKES: dict[str, tuple[bytes, str, str]] = {
    "a type error in a condition": (
        edited(OPEN, 'condition = "station.operating_status > 1"'),
        "policy.condition.type",
        "/clauses/5/condition",
    ),
    "a type error on some values only": (
        edited(OPEN, "condition = \"station.filed ? station.operating_status == 'open' : station.level + 1 == 2\""),
        "policy.condition.type",
        "/clauses/5/condition",
    ),
    "an unknown fact": (edited(OPEN, "condition = \"station.colour == 'open'\""), "policy.condition.unknown_fact", "/clauses/5/condition"),
    "an unknown fact behind a short circuit": (
        edited(OPEN, 'condition = "true || station.colour"'),
        "policy.condition.unknown_fact",
        "/clauses/5/condition",
    ),
    "an unknown name": (edited(OPEN, 'condition = "weather.sunny"'), "policy.condition.unknown_fact", "/clauses/5/condition"),
    "a root without a fact": (edited(OPEN, 'condition = "size(station) > 0"'), "policy.condition.unknown_fact", "/clauses/5/condition"),
    "a condition that is no bool": (edited(OPEN, 'condition = "station.level"'), "policy.condition.not_bool", "/clauses/5/condition"),
    "a value that cannot occur": (
        edited(OPEN, "condition = \"station.operating_status == 'opne'\""),
        "policy.condition.constant",
        "/clauses/5/condition",
    ),
    "a condition that refuses everybody": (edited(OPEN, 'condition = "false"'), "policy.condition.constant", "/clauses/5/condition"),
    "a division by nothing": (edited(OPEN, 'condition = "1 / 0 == 1"'), "policy.condition.type", "/clauses/5/condition"),
    "broken CEL": (edited(OPEN, 'condition = "station.level == ("'), "policy.condition.syntax", "/clauses/5/condition"),
    "a condition without end": (edited(OPEN, f'condition = "{"true && " * 130}true"'), "policy.value", "/clauses/5/condition"),
    "a reason of the fold's own": (edited('"station.not_open"', '"transfer.unlinked"'), "policy.reason.reserved", "/clauses/5/reason_code"),
    "a clause twice": (edited('"downlink.rural"', '"downlink.station_open"'), "policy.clause.duplicate", "/clauses/5"),
    "a tier twice": (edited('"village.filed.near"', '"village.filed.far"'), "policy.tier.duplicate", "/tiers/1"),
    "a tier that is never reached": (edited(NEAR, FAR), "policy.tier.unreachable", "/tiers/1/when"),
    "a tier that overlaps": (edited(NEAR, 'when = { level = "village", filed = true }'), "policy.tier.overlap", "/tiers/1/when"),
    "a tier by an unknown fact": (edited(NEAR, 'when = { colour = "red" }'), "policy.key.unknown", "/tiers/1/when/colour"),
    "a tier by an impossible value": (edited(NEAR, 'when = { level = "county_hub" }'), "policy.value", "/tiers/1/when/level"),
    "a quotation without its text": (edited('quote = "下行快件给予差异化补贴"\n', ""), "policy.citation.missing", "/clauses/0"),
    "a derivation that does not say how": (
        re.sub(r"^how = .*\n", "", TEXT, count=1, flags=re.M).encode(),
        "policy.citation.missing",
        "/clauses/1",
    ),
    "an assumption that cites": (
        edited('basis = "assumption"', 'basis = "assumption"\ndocument = "垣发改字〔2023〕30号"'),
        "policy.citation.assumption",
        "/clauses/1",
    ),
    "a document that is not listed": (
        edited('basis = "quoted"\ndocument = "垣发改字〔2023〕30号"', 'basis = "quoted"\ndocument = "垣发改字〔2022〕1号"'),
        "policy.citation.unknown_document",
        "/clauses/0/document",
    ),
    "an amount with a decimal point": (edited("amount_fen = 44", "amount_fen = 44.0"), "policy.amount.float", "/tiers/1/amount_fen"),
    "an amount of nothing": (edited("amount_fen = 44", "amount_fen = 0"), "policy.value", "/tiers/1/amount_fen"),
    "an amount in words": (edited("amount_fen = 44", 'amount_fen = "44"'), "policy.value", "/tiers/1/amount_fen"),
    "an unknown key": (edited('mode = "report"', 'mode = "report"\nurgent = true'), "policy.key.unknown", "/clauses/6/urgent"),
    "an unknown key at the top": (
        edited('rates_status = "sample"', 'rates_status = "sample"\ncolour = 1'),
        "policy.key.unknown",
        "/colour",
    ),
    "a missing key": (edited('mode = "report"\n', ""), "policy.key.missing", "/clauses/6"),
    "an unknown mode": (edited('mode = "report"', 'mode = "maybe"'), "policy.value", "/clauses/6/mode"),
    "a time without offset": (
        edited("valid_from = 2023-01-01T00:00:00+08:00", "valid_from = 2023-01-01T00:00:00"),
        "policy.value",
        "/valid_from",
    ),
    "a validity that ends before it begins": (edited("valid_to = 2024", "valid_to = 2022"), "policy.validity.empty", "/valid_to"),
    "a division of another county": (
        edited('140827100200 = "near"', '140828100200 = "near"'),
        "policy.table.foreign",
        "/tables/distance/140828100200",
    ),
    "a distance that is neither": (edited('140827100200 = "near"', '140827100200 = "middling"'), "policy.value", "/tables/distance"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_refuses(mistake: str) -> None:
    data, code, pointer = MISTAKES[mistake]
    with pytest.raises(PolicyError) as refused:
        load(data)
    assert (refused.value.code, refused.value.pointer) == (code, pointer)
    assert refused.value.line
    line = data.decode().splitlines()[refused.value.line - 1]
    last = pointer.rsplit("/", 1)[1]
    assert last in line or line.startswith("["), f"line {refused.value.line} is {line!r}"


def test_a_refusal_names_clause_line_and_remedy() -> None:
    with pytest.raises(
        PolicyError, match=r"line \d+, clause downlink.station_open, /clauses/5/condition: no such fact: station.colour; there are"
    ):
        load(MISTAKES["an unknown fact"][0])


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"policy_version = ", "policy.file.syntax"),
        (b"\xff\xfe", "policy.file.encoding"),
        (b"#" * (MAX_BYTES + 1), "policy.file.too_large"),
        (b"", "policy.key.missing"),
    ],
)
def test_refuses_what_is_no_policy_at_all(data: bytes, code: str) -> None:
    with pytest.raises(PolicyError) as refused:
        load(data)
    assert refused.value.code == code


# directories and sets of versions


def test_a_file_is_called_by_its_version(tmp_path: Path) -> None:
    other = tmp_path / "yuanqu-2024.1.toml"
    other.write_bytes(FILE.read_bytes())
    with pytest.raises(PolicyError, match=r"call it yuanqu-2023\.1\.toml"):
        read_directory(tmp_path)


def test_an_empty_directory_is_no_policy(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no policy"):
        read_directory(tmp_path)


def test_the_shipped_directory_is_read() -> None:
    assert [p.policy_version for p, _ in read_directory()] == ["yuanqu-2023.1"]


def test_at_most_one_version_is_in_force_at_a_moment() -> None:
    following = replace(POLICY, policy_version="yuanqu-2024.1", valid_from=POLICY.valid_to, valid_to=POLICY.valid_to + timedelta(days=366))
    both = Policies([following, POLICY])
    assert both.at(POLICY.valid_to) is following
    assert both.at(POLICY.valid_to - timedelta(microseconds=1)) is POLICY
    assert both.at(POLICY.valid_from - timedelta(microseconds=1)) is None
    with pytest.raises(PolicyError, match="both in force"):
        Policies([POLICY, replace(following, valid_from=POLICY.valid_to - timedelta(days=1))])


def test_the_books_are_one_countys() -> None:
    other = replace(POLICY, county_code="140828000000", valid_from=POLICY.valid_to, valid_to=POLICY.valid_to + timedelta(days=1))
    with pytest.raises(PolicyError, match="one county"):
        Policies([POLICY, other])


def test_a_policy_without_a_rate_for_the_case_holds() -> None:
    facts = next(f for f in all_facts() if f.rural and f.returned == "none" and f.operating_status == "open")
    decision = decide(replace(POLICY, tiers=()), facts)
    assert (decision.outcome, decision.reason_codes, decision.amount_fen) == (Outcome.HELD, ("policy.no_rate",), 0)


def test_a_tier_of_the_other_scheme_is_no_rate_for_a_downlink_parcel() -> None:
    facts = next(f for f in all_facts() if f.rural and f.returned == "none" and f.operating_status == "open")
    uplink = replace(POLICY, tiers=tuple(replace(t, scheme="uplink") for t in POLICY.tiers))
    assert decide(uplink, facts).reason_codes == ("policy.no_rate",)


def test_required_clauses_refuse_together_in_order() -> None:
    """What `yuanqu-2023-strict` will do: the same clauses, all required."""
    strict = replace(POLICY, clauses=tuple(replace(c, mode=Mode.REQUIRE) for c in POLICY.clauses))
    facts = next(all_facts(rural=False, filed=False, hub_arrived=False, final_receipt=False, returned="none", operating_status="closed"))
    wanted = ("station.not_rural", "station.not_open", "station.not_filed", "parcel.no_hub_arrival", "parcel.no_final_receipt")
    assert decide(strict, facts).reason_codes == wanted


def test_clauses_that_hold_keep_what_the_tier_would_pay() -> None:
    """Refusals come first, then the rate; a hold stands over what would be paid."""
    holding = replace(POLICY, clauses=tuple(replace(c, mode=Mode.HOLD) if c.mode is Mode.REPORT else c for c in POLICY.clauses))
    facts = next(all_facts(rural=True, filed=False, hub_arrived=True, final_receipt=False, returned="none", operating_status="open"))
    held, paid = decide(holding, facts), decide(POLICY, facts)
    assert (held.outcome, held.reason_codes) == (Outcome.HELD, ("station.not_filed", "parcel.no_final_receipt"))
    assert (held.amount_fen, held.rate_id) == (paid.amount_fen, paid.rate_id)
    assert [r for _, r in held.results if r != "pass"] == ["hold", "hold"]
    assert decide(holding, facts._replace(rural=False)).outcome is Outcome.REFUSED
    assert decide(replace(holding, tiers=()), facts).reason_codes == ("policy.no_rate",)
