"""What waits for somebody: holds, and sites that no station claims."""

import httpx

from services.subsidy import schemas, schemas_holds
from tests.contract.subsidy_api import get
from tests.integration.subsidy_books import Books, alias, at, scan, station

pytest_plugins = ("tests.integration.subsidy_fixtures",)

HOLD = {"hold_id", "reason_code", "placed_at", "placed_by", "note", "held_fen", "subject", "released_at", "decisions"}


async def test_holds_are_listed_with_their_release(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan(), scan("W1", "transferred", at(13), None))
    (item,) = (await get(client, "/v1/holds", schemas_holds.Holds, reason_code="transfer.unlinked"))["items"]
    assert set(item) >= HOLD
    assert (item["placed_by"], item["released_at"], item["station_id"]) == ("rule", None, "stn_42")
    parcel = await get(client, "/v1/parcels/zto/W1", schemas.Parcel)
    assert parcel["holds"] == [{name: item[name] for name in parcel["holds"][0]}]
    await books.send(scan("W1", "returned", at(15), None))
    (item,) = (await get(client, "/v1/holds", schemas_holds.Holds, station_id="stn_42"))["items"]
    assert item["released_at"] is not None
    assert (await get(client, "/v1/holds", schemas_holds.Holds, station_id="stn_1"))["items"] == []


async def unmapped(client: httpx.AsyncClient, **params: str) -> dict[str, int]:
    return {i["site_name"]: i["parcels"] for i in (await get(client, "/v1/unmapped-sites", schemas.UnmappedSites, **params))["items"]}


async def test_unmapped_sites_show_what_mapping_them_would_free(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan("W1", site="寨里点"), scan("W2", site="寨里"), scan("W3", "departed", site="杭州"))
    assert list((await unmapped(client, namespace="zto")).values()) == [2], "nobody has to map 杭州: no parcel was closed there"
    await books.change(station("stn_44", aliases=[alias("寨里点")]))
    assert await unmapped(client) == {}


async def test_a_site_is_unmapped_when_it_was_at_the_time_of_the_scan(books: Books, client: httpx.AsyncClient) -> None:
    """An alias that begins later, or has ended, leaves scans for which the fold finds no station: they are on the list, too."""
    await books.change(station("stn_44", aliases=[alias("寨里点", at(10), at(20))]))
    await books.send(scan("W1", scanned_at=at(9), site="寨里点"), scan("W2", scanned_at=at(10), site="寨里点"))
    await books.send(scan("W3", scanned_at=at(20), site="寨里点"), scan("W3", "station_pickup", at(21), "寨里点"), scan("W4"))
    body = await get(client, "/v1/unmapped-sites", schemas.UnmappedSites)
    (site,) = body["items"]
    assert (site["site_name"], site["parcels"]) == ("寨里点", 2)
    assert (site["first_seen_at"], site["last_seen_at"]) == ("2023-07-09T09:00:00+08:00", "2023-07-21T09:00:00+08:00")
    pending = await books.rows("select waybill_no from parcel where outcome = 'pending' order by 1")
    assert [p["waybill_no"] for p in pending] == ["W1", "W3"]
    await books.change(station("stn_44", aliases=[alias("寨里点")], version=2))
    assert await unmapped(client) == {}


async def test_pages_of_unmapped_sites_begin_with_what_frees_most(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(*(scan(f"W{s}{n}", site=f"无名{s}") for s in range(4) for n in range(s + 1)))
    seen, cursor = [], None
    for _ in range(5):
        body = await get(client, "/v1/unmapped-sites", schemas.UnmappedSites, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [i["parcels"] for i in body["items"]]
        await books.send(scan(f"LATE{len(seen)}", site="无名0"))
        if (cursor := body["next_cursor"]) is None:
            break
    assert seen == [4, 3, 2, 1]
    assert await unmapped(client, namespace="sf") == {}
