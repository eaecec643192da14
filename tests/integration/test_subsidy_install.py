"""Installing the books: the migration is the model, policies are activated once and frozen, mistakes are one line."""

import asyncio
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from alembic import command

from services.subsidy.domain.events import CLOSING_ACTIONS
from services.subsidy.migrate import install
from services.subsidy.service.policies import PolicyRefused, activate, read_policies
from services.subsidy.settings import POLICIES
from shared import migrations
from shared.calendar import SHANGHAI
from shared.db import Database
from shared.log import PartitionMismatch
from tests.conftest import MakeDatabase
from tests.integration.subsidy_books import PARTITIONS, Books, at, scan

pytest_plugins = ("tests.integration.subsidy_fixtures",)
SHIPPED = (POLICIES / "yuanqu-2023.1.toml").read_text(encoding="utf-8")


def policy_file(directory: Path, text: str) -> Path:
    """-> a directory that holds this file alone, called by its version."""
    for old in directory.glob("*.toml"):
        old.unlink()
    (directory / f"{tomllib.loads(text)['policy_version']}.toml").write_text(text, encoding="utf-8")
    return directory


async def run(dsn: str | None, policies: Path) -> tuple[int | None, str]:
    """`python -m services.subsidy.migrate` -> (exit code, what it says)."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TONGCUN_")} | {"TONGCUN_POLICIES": str(policies)}
    if dsn:
        environment["TONGCUN_OWNER_DATABASE_URL"] = dsn
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.subsidy.migrate", env=environment, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    return process.returncode, said.decode()


async def test_the_migration_makes_what_the_model_says(subsidy_dsns: Any) -> None:
    await asyncio.to_thread(command.check, migrations.config("subsidy", subsidy_dsns.owner))


async def test_the_index_of_closing_scans_is_of_the_actions_that_close(books: Books) -> None:
    """Else the list of unmapped sites would read all evidence of every site."""
    (index,) = await books.rows("select indexdef from pg_indexes where indexname = 'evidence_site_id_scanned_at_ix'")
    assert set(re.findall(r"'(\w+)'", index["indexdef"])) == CLOSING_ACTIONS


async def test_installing_again_changes_nothing(make_database: MakeDatabase) -> None:
    dsns = await make_database("subsidy")
    assert await install(dsns.owner, PARTITIONS, POLICIES) == [p.policy_version for p, _ in read_policies(POLICIES)]
    assert await install(dsns.owner, PARTITIONS, POLICIES) == []
    with pytest.raises(PartitionMismatch, match="set the number back to 8"):
        await install(dsns.owner, 16, POLICIES)


async def test_a_changed_policy_is_refused_in_one_line(subsidy_dsns: Any, books: Books, tmp_path: Path) -> None:
    code, said = await run(subsidy_dsns.owner, policy_file(tmp_path, SHIPPED + "\n# one more comment\n"))
    assert code == 2
    assert "yuanqu-2023.1" in said
    assert "new policy_version" in said
    assert said.count("\n") == 1


async def test_a_policy_that_cannot_decide_is_refused_with_its_place(subsidy_dsns: Any, tmp_path: Path) -> None:
    wrong = SHIPPED.replace("station.rural", "station.rurall", 1)
    code, said = await run(subsidy_dsns.owner, policy_file(tmp_path, wrong))
    assert code == 2
    assert "yuanqu-2023.1.toml" in said
    assert "downlink.rural" in said
    assert "Traceback" not in said


async def test_two_files_of_one_version_are_refused_in_one_line(subsidy_dsns: Any, tmp_path: Path) -> None:
    (policy_file(tmp_path, SHIPPED) / "a-copy.toml").write_text(SHIPPED, encoding="utf-8")
    code, said = await run(subsidy_dsns.owner, tmp_path)
    assert (code, said.count("\n")) == (2, 1)
    assert "a-copy.toml holds yuanqu-2023.1; call it yuanqu-2023.1.toml" in said


async def test_what_is_missing_is_named(tmp_path: Path) -> None:
    code, said = await run(None, POLICIES)
    assert (code, said.split()[0]) == (2, "TONGCUN_OWNER_DATABASE_URL")
    with pytest.raises(PolicyRefused, match="no policy"):
        read_policies(tmp_path)


async def test_a_policy_that_comes_later_assesses_what_had_none(subsidy_dsns: Any, books: Books, tmp_path: Path) -> None:
    """Also in a worker that is running: it looks at the policies again."""
    await books.send(scan("W1"), scan("W2", scanned_at=at(14).replace(year=2024).astimezone(SHANGHAI)))
    assert await books.balance("W2") == 0
    text = SHIPPED.replace('"yuanqu-2023.1"', '"yuanqu-2024.1"')
    text = text.replace("valid_to = 2024-01-01", "valid_to = 2025-01-01").replace("valid_from = 2023-01-01", "valid_from = 2024-01-01")
    owner = await Database(subsidy_dsns.owner, max_size=2).open()
    try:
        assert await activate(owner, read_policies(policy_file(tmp_path, text))) == ["yuanqu-2024.1"]
        with pytest.raises(PolicyRefused, match="cannot be active together"):
            await activate(owner, read_policies(policy_file(tmp_path, text.replace("yuanqu-2024.1", "yuanqu-2024.2"))))
    finally:
        await owner.close()
    await books.drain()
    rows = await books.rows("select policy_version, amount_fen from payout order by policy_version")
    assert rows == [{"policy_version": "yuanqu-2023.1", "amount_fen": 36}, {"policy_version": "yuanqu-2024.1", "amount_fen": 36}]
