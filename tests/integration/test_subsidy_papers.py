"""Photographs and papers of a station are nothing that a parcel is judged by: what arrives of them assesses nothing again."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from shared.contracts.registry import DocumentKind, FilingStatus, Material
from tests.integration.subsidy_books import Books, at, audit, emptied, filing, scan, station

pytest_plugins = ("tests.integration.subsidy_fixtures",)
COUNT = "select (select count(*) from reassessment)::int as asked, (select count(*) from assessment)::int as judged"
PAPER = Material(kind=DocumentKind.LICENCE, document_id="sha256:" + "0" * 64)


@pytest.fixture
async def books(subsidy_dsns: Any) -> AsyncIterator[Books]:
    async with emptied(subsidy_dsns) as made:
        yield made
        await audit(made)


async def test_what_is_handed_in_assesses_nothing_again(books: Books) -> None:
    begun = filing(at(1))
    first = station(filings=[begun], version=2)
    await books.change(first)
    await books.send(scan("W1"))
    before = await books.rows(COUNT)
    photographed = replace(first, version=3, photos=("sha256:" + "1" * 64,))
    handed_in = replace(photographed, version=4, filings=(replace(begun, materials=(PAPER,)),))
    await books.change(photographed)
    await books.change(handed_in)
    assert await books.rows(COUNT) == before
    # a paper that comes together with what decides hides nothing
    lapsed = replace(filing(at(1), status=FilingStatus.LAPSED), materials=(PAPER, PAPER))
    await books.change(replace(handed_in, version=5, filings=(lapsed,)))
    [row] = await books.rows(COUNT)
    assert row["judged"] == before[0]["judged"] + 1
