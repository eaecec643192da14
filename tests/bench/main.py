"""`make bench`: every figure against a floor of the same run, as a table and in var/bench.json. A timing never fails anything."""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from deploy.embedded.broker import Broker
from deploy.embedded.installation import create_database
from deploy.embedded.runtime import Runtime, embedded
from deploy.kafka import jars
from deploy.kafka.broker import ApacheKafka
from services.ingest.migrate import install
from tests.bench import explain, ingest_accept, ingest_push, push_to_payout, registry, relay, subsidy_worker, summary

Figure = dict[str, Any]
PARTITIONS = 8
ROOT = Path(__file__).parents[2]
WANTED = {
    "subsidy.worker.spread": "ratio >= 0.15",
    "subsidy.worker.kafka": "ratio >= 0.10",
    "explain.p99": "ratio <= 30",
    "summary.p99": "ratio <= 1.5",
    "ingest.relay": "ratio >= 0.4",
    "ingest.relay.kafka": "ratio >= 0.4",
    "ingest.accept": "ratio >= 0.35",
    "ingest.rss": "value <= 20",
    "ingest.push": "ratio >= 0.4",
    "registry.standing.p99": "ratio <= 2.0",
    "registry.list.p99": "ratio <= 2.0",
    "registry.geojson.p99": "ratio <= 2.0",
    "registry.targets.p99": "ratio <= 2.0",
    "push_to_payout.p99": "value <= 1",
    "demo.wall": "value <= 60",
}


async def _worker(broker: type[Broker], names: Sequence[str], var: Path) -> list[Figure]:
    async with embedded(var, _silent, broker) as runtime:
        dsns = await create_database(runtime.installation, "subsidy", "bench_subsidy")
        figures = await subsidy_worker.run(dsns.owner, dsns.app, partial(_reborn, runtime), names)
        return figures + (await explain.run(dsns.app, var) if broker is Broker else [])


async def _summary(var: Path) -> list[Figure]:
    async with embedded(var, _silent) as runtime:
        few, many = [await create_database(runtime.installation, "subsidy", f"bench_{name}") for name in ("few", "many")]
        return await summary.run(few, many, var)


async def _registry(var: Path) -> list[Figure]:
    async with embedded(var, _silent) as runtime:
        few, many = [await create_database(runtime.installation, "registry", f"bench_{name}") for name in ("few", "many")]
        return await registry.run(few, many, var)


async def _relay(broker: type[Broker], name: str, var: Path) -> list[Figure]:
    async with embedded(var, _silent, broker) as runtime:
        dsns = await create_database(runtime.installation, "ingest", "bench_ingest")
        return await relay.run(dsns, partial(_reborn, runtime), name)


async def _reborn(runtime: Runtime) -> str:
    await runtime.broker.restart()
    return runtime.broker.bootstrap


async def _ingest(measured: Any, var: Path) -> list[Figure]:
    async with embedded(var, _silent) as runtime:
        dsns = await create_database(runtime.installation, "ingest", "bench_ingest")
        await install(dsns.owner, PARTITIONS)
        directory = var / "bench"
        directory.mkdir()
        figures: list[Figure] = await measured.run(directory, dsns, runtime.installation.superuser_dsn(), partitions=PARTITIONS)
        return figures


async def _demo(var: Path) -> list[Figure]:
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.cli", "demo", cwd=ROOT, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TONGCUN_VAR": str(var)},
        stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if await process.wait():
        raise RuntimeError("the demo failed: run ./tongcun demo")
    return [{"name": "demo.wall", "value": round(time.perf_counter() - started, 1), "unit": "s", "floor": None, "ratio": None}]


BENCHES: dict[str, Callable[[Path], Awaitable[list[Figure]]]] = {
    "worker": partial(_worker, Broker, ("subsidy.worker.spread", "subsidy.worker.adjacent", "subsidy.worker.2", "subsidy.worker.4")),
    "worker-kafka": partial(_worker, ApacheKafka, ("subsidy.worker.kafka",)),
    "relay": partial(_relay, Broker, "ingest.relay"),
    "relay-kafka": partial(_relay, ApacheKafka, "ingest.relay.kafka"),
    "accept": partial(_ingest, ingest_accept),
    "push": partial(_ingest, ingest_push),
    "summary": _summary,
    "registry": _registry,
    "chain": push_to_payout.run,
    "demo": _demo,
}
ON_KAFKA = {"worker-kafka": "subsidy.worker.kafka", "relay-kafka": "ingest.relay.kafka"}


def _silent(_line: str) -> None: ...


def run(arguments: Sequence[str], var: Path) -> int:
    """`arguments`: which of BENCHES, all without. -> exit code."""
    unknown = [a for a in arguments if a not in BENCHES]
    if unknown:
        print(f"no such bench: {unknown[0]}; one of {' '.join(BENCHES)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    for name in arguments or BENCHES:
        if name in ON_KAFKA and (why := jars.missing()):
            print(f"{ON_KAFKA[name]:24} NOT MEASURED: {why}", flush=True)
            continue
        directory = Path(tempfile.mkdtemp(prefix="tongcun-bench-"))
        directory.chmod(0o755)  # PostgreSQL's user must reach its data
        try:
            found = asyncio.run(_one(name, directory))
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        figures += found
        for figure in found:
            print(_line(figure), flush=True)
    var.mkdir(parents=True, exist_ok=True)
    (var / "bench.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(f"\n{var / 'bench.json'}")
    return 0


async def _one(name: str, directory: Path) -> list[Figure]:
    return await BENCHES[name](directory / "var")


def _line(f: Figure) -> str:
    value, floor, ratio = (f"{f[k]:,}" if f[k] is not None else "–" for k in ("value", "floor", "ratio"))
    return f"{f['name']:24} {value:>12} {f['unit']:9} floor {floor:>10}  ratio {ratio:>6}   {WANTED.get(f['name'], '')}"
