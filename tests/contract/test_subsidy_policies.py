"""Policies, as they were activated; and the watermark that every answer carries."""

from pathlib import Path

import httpx

from services.subsidy import schemas_policies as policy_shapes
from services.subsidy.service.policies import activate, read_policies
from services.subsidy.settings import POLICIES
from shared.db import Database
from tests.contract.subsidy_api import get, problem
from tests.integration.subsidy_books import Books

pytest_plugins = ("tests.integration.subsidy_fixtures",)

POLICY = {"policy_version", "county_code", "valid_from", "valid_to", "status", "sha256", "rates_status", "documents", "clauses", "tiers",
          "tables", "ceilings", "published_on", "not_below", "exhaustion", "uplink", "golden", "as_of"}  # fmt: skip


async def test_policies_are_read_as_they_were_activated(client: httpx.AsyncClient) -> None:
    body = await get(client, "/v1/policies/yuanqu-2023.1", policy_shapes.Policy)
    assert set(body) == POLICY
    assert (body["status"], body["valid_from"], body["valid_to"]) == ("active", "2023-01-01T00:00:00+08:00", "2024-01-01T00:00:00+08:00")
    (listed,) = (await get(client, "/v1/policies", policy_shapes.Policies))["items"]
    assert listed == {k: v for k, v in body.items() if k != "as_of"}
    assert (await problem(client, "/v1/policies/nowhere", 404))["code"] == "policy.not_found"


async def test_policies_come_in_pages(client: httpx.AsyncClient, subsidy_dsns: tuple[str, str], tmp_path: Path) -> None:
    text = (POLICIES / "yuanqu-2023.1.toml").read_text(encoding="utf-8").replace('"yuanqu-2023.1"', '"yuanqu-2024.1"')
    text = text.replace("valid_to = 2024-01-01", "valid_to = 2025-01-01").replace("valid_from = 2023-01-01", "valid_from = 2024-01-01")
    (tmp_path / "yuanqu-2024.1.toml").write_text(text, encoding="utf-8")
    owner = await Database(subsidy_dsns[0], max_size=1).open()
    try:
        await activate(owner, read_policies(tmp_path))
    finally:
        await owner.close()
    first = await get(client, "/v1/policies", policy_shapes.Policies, limit=1)
    last = await get(client, "/v1/policies", policy_shapes.Policies, limit=1, cursor=first["next_cursor"])
    assert [p["policy_version"] for p in first["items"] + last["items"]] == ["yuanqu-2023.1", "yuanqu-2024.1"]
    assert last["next_cursor"] is None


async def test_the_watermark_is_the_older_one_of_the_two_topics(books: Books, client: httpx.AsyncClient) -> None:
    assert (await get(client, "/v1/policies", policy_shapes.Policies))["as_of"]["watermark"] is None
    async with books.database.write() as tx:
        await tx.execute(
            "insert into watermark values ('tongcun.scans.v1', '2023-08-01 00:00Z'), ('tongcun.registry.v1', '2023-08-01 00:01Z')"
        )
    assert (await get(client, "/v1/policies", policy_shapes.Policies))["as_of"]["watermark"] == "2023-08-01T08:00:00+08:00"
