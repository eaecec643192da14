"""One parcel told by its brand, by the joint-distribution scanners and by an aggregator, each in its own format, from push to answer: three
events that corroborate each other and are paid once; a snapshot that comes again tells nothing new; a retraction cancels what it names."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from services.ingest.brands import ems, gongpei, jd, kuaidi100, zto
from services.subsidy import schemas
from shared.contracts.registry import Alias
from shared.contracts.scan import ScanEvent
from tests.conftest import MakeDatabase
from tests.contract.subsidy_api import get
from tests.ingest_support import Ingest, running
from tests.integration.subsidy_books import OPENED, Books, alias, station

pytest_plugins = ("tests.integration.subsidy_fixtures",)

VILLAGE_SITE = "上王村便民服务点"
WAYBILL = "73100196611386"


def by_code(namespace: str, code: str) -> Alias:
    return Alias(alias_id=f"als_{code}", namespace=namespace, site_code=code, site_name=None, valid_from=OPENED, valid_to=None)


ALIASES = (
    alias(VILLAGE_SITE),
    alias(VILLAGE_SITE, namespace="gp"),
    by_code("gp", "YQ-100200"),
    alias(VILLAGE_SITE, namespace="kd100"),
    alias(VILLAGE_SITE, namespace="ems"),
)


@pytest.fixture(scope="module")
async def ingest(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    async with running(tmp_path_factory.mktemp("sources"), await make_database("ingest")) as started:
        yield started


async def told(ingest: Ingest, books: Books, seen: set[bytes]) -> int:
    """Carry what the log has and had not when `seen` was looked at to the books -> how many that is."""
    new = [value for value in await ingest.log() if value not in seen]
    await books.send(*(msgspec.json.decode(value, type=ScanEvent) for value in new))
    return len(new)


async def test_three_senders_of_one_scan_corroborate_each_other_and_are_paid_once(
    ingest: Ingest, books: Books, client: httpx.AsyncClient
) -> None:
    await books.change(station(aliases=ALIASES, version=2))
    secrets = {
        "zto-direct": await ingest.feed("zto-direct", "zto", ["zto"]),
        "gongpei-county": await ingest.feed("gongpei-county", "gongpei", ["zto"], namespace="gp"),
        "aggregator": await ingest.feed("aggregator", "kuaidi100", ["zto"], namespace="kd100"),
    }
    pushes: list[tuple[str, str, Any]] = [
        ("zto-direct", "zto", zto.SAMPLE),
        ("gongpei-county", "gongpei", gongpei.SAMPLE),
        ("aggregator", "kuaidi100", kuaidi100.SAMPLE),
    ]
    for feed, format_, sample in pushes:
        await ingest.push(feed, format_, sample, secrets[feed])
    assert await told(ingest, books, set()) == 5
    seen = set(await ingest.log())
    before = await books.balance(WAYBILL)
    for _ in range(2):  # an aggregator tells the whole history each time, and its sender sends each twice
        again = await ingest.receipt(await ingest.push("aggregator", "kuaidi100", kuaidi100.SAMPLE, secrets["aggregator"]))
        assert again["counts"]["duplicate"] == again["counts"]["received"] > 1
    assert await told(ingest, books, seen) == 0, "a snapshot that comes again adds nothing to the log"

    evidence = await get(client, f"/v1/parcels/zto/{WAYBILL}/evidence", schemas.Evidence)
    inbound = {e["feed"]: e for e in evidence["events"] if e["action"] == "station_inbound"}
    assert set(inbound) == set(secrets)
    assert len({e["event_id"] for e in inbound.values()}) == 3, "never merged"
    assert {e["station_id"] for e in inbound.values()} == {"stn_42"}
    roles = sorted(e["role"] for e in inbound.values())
    assert roles == ["corroborating", "corroborating", "deciding"]
    (deciding,) = (e["event_id"] for e in inbound.values() if e["role"] == "deciding")
    assert {e["corroborates"] for e in inbound.values() if e["role"] == "corroborating"} == {deciding}
    parcel = await get(client, f"/v1/parcels/zto/{WAYBILL}", schemas.Parcel)
    assert (parcel["outcome"], parcel["net_fen"], len(parcel["payout_ids"])) == ("payable", before, 1)
    assert before > 0


async def test_a_retraction_takes_back_the_receipt_that_it_names(ingest: Ingest, books: Books, client: httpx.AsyncClient) -> None:
    await books.change(station(aliases=ALIASES, version=2))
    secret = await ingest.feed("ems-direct", "ems", ["ems"], namespace="ems")
    seen, waybill = set(await ingest.log()), ems.SAMPLE["waybillNo"]
    site = {"opOrgCode": "", "opOrgName": VILLAGE_SITE}
    for told_of in (
        ems.SAMPLE | site,
        ems.SAMPLE | site | {"opCode": "704", "deliveryCode": "10", "opTime": "2023-07-14 17:00:00"},
        ems.SAMPLE | site | {"opCode": "743", "deliveryCode": "10", "opTime": "2023-07-14 18:00:00"},
    ):
        receipt = await ingest.receipt(await ingest.push("ems-direct", "ems", told_of, secret))
        assert receipt["counts"]["accepted"] == 1, receipt
    await told(ingest, books, seen)
    roles = {e["raw_action"]: e["role"] for e in await events(client, "ems", waybill)}
    assert roles == {"747": "deciding", "704/10": "retracted", "743/10": "supporting"}


async def test_a_way_back_of_jd_names_its_parcel_and_is_named_by_it(ingest: Ingest, books: Books, client: httpx.AsyncClient) -> None:
    secret = await ingest.feed("jd-direct", "jd", ["jd"])
    seen = set(await ingest.log())
    there, back = jd.SAMPLE["waybillCode"], "JDVC00000000123"
    renumbered = jd.SAMPLE | {"state": jd.RENUMBERED, "operationRemark": f"换单,新单号{back}", "operationTime": "2023-07-15 09:00:00"}
    for told_of in (jd.SAMPLE, renumbered):
        await ingest.push("jd-direct", "jd", told_of, secret)
    await told(ingest, books, seen)
    for waybill, other in ((there, back), (back, there)):
        assert (await get(client, f"/v1/parcels/jd/{waybill}", schemas.Parcel))["related"] == [other]


async def events(client: httpx.AsyncClient, brand: str, waybill: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await get(client, f"/v1/parcels/{brand}/{waybill}/evidence", schemas.Evidence))["events"]
    return found
