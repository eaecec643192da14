"""Budgets: who gives, in which order it is used, and what happens when it is not enough (docs/rules.md, Budgets). Pure."""

from collections.abc import Mapping, Sequence
from enum import StrEnum


class Source(StrEnum):
    """In the order in which they are used."""

    PROVINCE = "province"
    CITY = "city"
    COUNTY = "county"


def committed(amounts_fen: Mapping[Source, int], accrued_fen: int) -> Mapping[Source, int]:
    """How much of each source the programme's accruals use up; what is more than all of them is nobody's."""
    used, left_fen = {}, max(0, accrued_fen)
    for source in Source:
        used[source] = min(left_fen, amounts_fen.get(source, 0))
        left_fen -= used[source]
    return used


def in_turn(asks_fen: Sequence[int], money_fen: int) -> tuple[list[int], int]:
    """First come, first served -> (what each ask gets, the money that is left): whole as long as there is enough, then the rest, then 0."""
    given = []
    for ask in asks_fen:
        given.append(min(ask, money_fen))
        money_fen -= given[-1]
    return given, money_fen


def accounts(county_code: str, scheme: str, year: int, source: Source) -> tuple[str, str]:
    """-> (debit, credit) of money given to the programme."""
    return f"budget/{county_code}/{scheme}/{year}/{source}", f"programme/{county_code}/{scheme}/{year}"
