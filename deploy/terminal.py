"""What the verbs have in common: where the installation is, how a line is said, what an operator got wrong."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from deploy.demo import run as demo_run
from deploy.embedded.installation import Installation
from deploy.platform import ROOT, Access, Elsewhere

OfDemo = Annotated[bool, typer.Option("--demo", help="演示的那一套（up --demo）· of the demo")]
Work = Callable[[Access, httpx.AsyncClient], Coroutine[Any, Any, str]]


class Stopped(Exception):
    """By SIGINT or SIGTERM, before the work was done."""


class Misused(Exception):
    """An option that says something impossible; one line."""


def var_directory() -> Path:
    return Path(os.environ.get("TONGCUN_VAR") or ROOT / "var").absolute()


def access(demo: bool) -> Access:
    if elsewhere := Elsewhere.read(os.environ):
        kept = Installation(var_directory())
        kept.make_directories()
        return Access(kept, elsewhere)
    return Access(Installation(var_directory() / "demo" if demo else var_directory()))


def say(line: str) -> None:
    print(line, flush=True)


def over_http(demo: bool, work: Work) -> None:
    """Say what `work` gives."""

    async def run() -> str:
        at = access(demo)
        async with demo_run.client() as http:
            return await work(at, http)

    say(asyncio.run(run()))
