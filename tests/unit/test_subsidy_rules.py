"""Small rules of the subsidy service that need no database."""

from datetime import date

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.subsidy.repository.summary import GROUPS
from services.subsidy.service.context import posting_period
from services.subsidy.service.evidence import REASONS, in_partition, read_value
from services.subsidy.service.registry_apply import read_change, readable, sites_behind
from services.subsidy.service.summary import Query
from services.subsidy.service.tenancy import Tenant, tenant_of
from services.subsidy.settings import parse_partitions
from shared.auth import TENANT_ROLES, Principal
from shared.identity import parcel_key, partition_of
from shared.log import Batch, Diverged, Record
from shared.problems import Problem
from shared.sites import site_id
from shared.standing import Directory
from tests.integration.subsidy_books import OTHER_VILLAGE, TOWNSHIP, VILLAGE, alias, county, division, operator, scan, station
from tests.poison import KINDS


@pytest.mark.parametrize(("text", "found"), [("0-3", [0, 1, 2, 3]), ("5", [5]), ("0,2,5-6", [0, 2, 5, 6]), (" 1 , 1 ", [1])])
def test_partitions_are_read(text: str, found: list[int]) -> None:
    assert parse_partitions(text) == found


@pytest.mark.parametrize("text", ["", "a", "3-1", "0-", "-1", "0-99999", "1;2"])
def test_what_is_no_list_of_partitions_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="partitions"):
        parse_partitions(text)


@pytest.mark.parametrize(
    ("closed_through", "period"),
    [(None, "2023-12"), ("2023-11", "2023-12"), ("2023-12", "2024-01"), ("2024-01", "2024-02")],
)
def test_a_line_is_posted_in_its_month_or_the_next_open_one(closed_through: str | None, period: str) -> None:
    assert posting_period(date(2023, 12, 31), closed_through) == period


def sites(*names: str) -> set[bytes]:
    return {found for name in names if (found := site_id("zto", None, name))}


def test_a_change_concerns_the_sites_of_every_station_that_refers_to_it() -> None:
    other = station("stn_43", aliases=[alias("乙"), alias("丙")], division_code=OTHER_VILLAGE, operator_id="opr_2")
    directory = Directory.of([*county(), station(aliases=[alias("甲")]), other])
    assert sites_behind(directory, [other]) == sites("乙", "丙")
    assert sites_behind(directory, [operator("opr_1")]) == sites("甲")
    assert sites_behind(directory, [division(VILLAGE, "上王村", "community", TOWNSHIP)]) == sites("甲")
    assert sites_behind(directory, [division(TOWNSHIP, "新城镇", "town", None)]) == sites("甲", "乙", "丙")
    assert sites_behind(directory, [division("140827999999", "别处", "village", None)]) == set()


@pytest.mark.parametrize(
    ("kind", "tenant"),
    [
        (None, Tenant()),
        ("brand", Tenant(brand="x")),
        ("operator", Tenant(beneficiary_id="x")),
        ("merchant", Tenant(beneficiary_id="x")),
        ("township", Tenant(township_code="x")),
        ("feed", Tenant(brand="-")),
    ],
)
def test_a_claim_restricts_to_the_tenants_own_rows(kind: str | None, tenant: Tenant) -> None:
    assert tenant_of(Principal("s", frozenset({"auditor"}), frozenset(), kind, "x" if kind else None)) == tenant


@pytest.mark.parametrize("role", TENANT_ROLES)
@pytest.mark.parametrize("kind", [None, "feed"])
def test_a_tenant_role_without_its_tenant_sees_nothing(role: str, kind: str | None) -> None:
    tenant = tenant_of(Principal("s", frozenset({role}), frozenset(), kind, "x" if kind else None))
    assert not tenant.may_see("zto", {"opr_1", None}, {TOWNSHIP, None})


def grouped(word: str) -> Query:
    return Query.of(date(2023, 7, 1), date(2023, 8, 1), "service", [word], {}, None, 100, None)


@given(st.text(max_size=30).filter(lambda word: word not in GROUPS))
def test_only_known_groups_are_grouped_by(word: str) -> None:
    with pytest.raises(Problem) as refused:
        grouped(word)
    assert refused.value.status == 422


@pytest.mark.parametrize("word", GROUPS)
def test_known_groups_are_grouped_by(word: str) -> None:
    assert grouped(word).group_by == [word]


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_that_is_no_scan_is_set_aside_with_the_reason(kind: str) -> None:
    """The honest scan before it and the one behind it are taken."""
    sound = msgspec.json.encode(scan("P1"))
    partition = partition_of(parcel_key("zto", "P1"), 8)
    make, reason = KINDS[kind]
    values = [sound, make(sound), sound]
    batch = Batch(partition, 1, 10, [Record(at, value, read_value(value)) for at, value in enumerate(values, 7)])
    scans, aside = in_partition(batch, 8)
    assert [position for position, _ in scans] == [7, 9]
    assert [(record.position, why.reason_code) for record, why in aside] == [(8, reason)]
    assert reason in REASONS


def test_a_message_of_a_newer_version_stops_its_partition_until_the_worker_is_renewed() -> None:
    newer = read_value(b'{"v": 2, "event_id": "of another shape"}')
    with pytest.raises(Diverged, match="version 2"):
        in_partition(Batch(0, 1, 8, [Record(7, b"", newer)]), 8)


def test_a_registry_change_that_cannot_be_read_stops_the_registry() -> None:
    """Nothing after it could be judged by what it has said."""
    with pytest.raises(Diverged, match="position 7"):
        readable(Record(7, b"{", read_change(b"{")))
