"""Schemathesis, all checks, against each service's own OpenAPI over HTTP: what fits it is taken or refused by a rule that has a name, what
does not is refused, nothing is a 5xx, and every answer is a documented one."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from shared import auth, process
from tests.conftest import MakeDatabase
from tests.contract.applications import BUILT

ROOT = Path(__file__).parents[3]
CONFIG = Path(__file__).parent / "schemathesis.toml"
EXAMPLES = 5  # of each operation, beside those that walk along the edges of its schema
# Whose tokens, one run each: roles, tenant, and at what (all without): what only a tenant may do is 403 to everybody else.
Caller = tuple[list[str], tuple[str, str] | None, list[str]]
CALLERS: dict[str, list[Caller]] = {
    "ingest": [(["admin", "service"], None, []), (["brand"], ("feed", "canon"), ["/v1/scans", "/v1/manifests", "/v1/files"])],
    "registry": [(["admin", "reviewer", "service"], None, [])],
    "subsidy": [
        (["admin", "finance", "reviewer", "service"], None, []),
        (["merchant"], ("merchant", "mer_1"), ["/v1/declarations", "/v1/declarations/{declaration_id}/withdraw"]),
    ],
}


@contextlib.asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """The application's URL."""
    with process.listen("127.0.0.1", 0) as bound:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        serving = asyncio.create_task(server._serve([bound]))  # as process.health: signals stay pytest's
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


async def a_feed(url: str, token: str) -> None:
    """The one that the sender's token names."""
    body = {"feed": "canon", "format": "canonical", "brands": ["zto"], "mode": "live"}
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}) as client:
        (await client.post("/v1/feeds", json=body)).raise_for_status()


@pytest.mark.parametrize("service", sorted(BUILT))
async def test_generated_requests_get_documented_answers(service: str, make_database: MakeDatabase, tmp_path: Path) -> None:
    app, private = await BUILT[service](await make_database(service), tmp_path)
    async with listening(app) as url:
        if service == "ingest":
            await a_feed(url, auth.issue(private, subject="generated", roles=["admin"], ttl_s=60))
        for roles, claim, paths in CALLERS[service]:
            token = auth.issue(private, subject="generated", roles=roles, ttl_s=600, claim=claim)
            only = [word for path in paths for word in ("--include-path", path)]
            running = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", f"{url}/openapi.json",
                "--header", f"Authorization: Bearer {token}", "--checks", "all", "--max-examples", str(EXAMPLES), "--continue-on-failure",
                "--phases", "examples,coverage,fuzzing", "--generation-deterministic", "--no-color", *only,
                cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            said, _ = await running.communicate()
            assert running.returncode == 0, said.decode()
