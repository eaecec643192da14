"""`python -m deploy.compose.demo [--json FILE]`: the demo of `tongcun demo`, on a stack that runs already and is still empty."""

import asyncio
import json
import sys
from pathlib import Path

import httpx

from deploy import terminal
from deploy.client import Api, Refused
from deploy.demo import run
from deploy.demo.show import Show
from deploy.embedded.supervisor import CannotStart
from deploy.platform import Access

NOT_EMPTY = (
    "此系统已有数据，演示只在空系统上运行 · there are data already, and the demo's would stay in the books for good: "
    "docker compose down -v removes all of it, docker compose up -d --wait begins anew"
)


async def main(arguments: list[str]) -> int:
    access, show = terminal.access(demo=False), Show()
    async with run.client() as http:
        await require_empty(access, http)
    show.line(run.INTRODUCTION)
    show.line()
    told = await run.demonstrate(access, show, access.installation.var / "statement.csv")
    if arguments[:1] == ["--json"]:
        Path(arguments[1]).write_text(json.dumps(told, ensure_ascii=False, indent=1), encoding="utf-8")
    return 0 if told["ok"] else 1


async def require_empty(access: Access, http: httpx.AsyncClient) -> None:
    """Raises Refused: a demo's parcels have no place among real ones, nor a second demo's among the first's."""
    registry, ingest = (Api(http, access.urls[service], access.token("auditor")) for service in ("registry", "ingest"))
    if (await registry.get("/v1/stations", limit=1))["items"] or (await ingest.get("/v1/feeds", limit=1))["items"]:
        raise Refused(NOT_EMPTY)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1:])))
    except (Refused, CannotStart) as error:
        sys.exit(f"tongcun: {error}")
