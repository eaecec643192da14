"""`make test-compose`: docker-compose.yml as an operator uses it, on a container engine; one story, in the order of the file.

PostgreSQL and Apache Kafka are whatever the engine has under the tags of the file.
"""

import asyncio
import contextlib
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.demo.recompute import Report
from shared import keyring
from tests.compose.load import Sender, audited
from tests.compose.stack import SERVERS, Stack, require_engine
from tests.e2e.terminal import directory, tongcun

pytestmark = pytest.mark.timeout(1200)

UP_WITHIN_S = 60.0
MEMORY_BYTES = 2_500_000_000
OURS = tuple(name for name in SERVERS if name not in ("postgres", "kafka"))
APIS = ("ingest-api", "registry-api", "subsidy-api")
OTHER_CLUSTER = "AAAAAAAAAAAAAAAAAAAAAA"
SCANS = "tongcun.scans.v1"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A project of its own, removed with its volumes at the end."""
    require_engine()
    with directory() as home:
        made = Stack.new(home)
        try:
            yield made
        finally:
            made.remove()


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """What the story's tests tell each other."""
    return {}


# Before anything runs


def test_without_the_setup_nothing_starts_and_the_line_says_what_to_do(stack: Stack) -> None:
    ran = stack.compose("up", "-d", "--wait")
    assert ran.code != 0
    assert "run deploy/compose/setup once" in ran.said
    assert len(ran.said.strip().splitlines()) == 1


def test_the_setup_makes_secrets_that_others_cannot_reach_and_keeps_them(stack: Stack) -> None:
    assert (ran := stack.run("deploy/compose/setup", within_s=900)).code == 0, ran.said
    assert stack.secrets.stat().st_mode & 0o777 == 0o700
    made = {path.name: path.read_bytes() for path in stack.secrets.iterdir()}
    assert (ran := stack.run("deploy/compose/setup")).code == 0, ran.said
    again = {path.name: path.read_bytes() for path in stack.secrets.iterdir()}
    assert {name for name in made if made[name] != again[name]} <= {"service-token"}
    assert f"TONGCUN_CLUSTER_ID={made['cluster-id'].decode()}" in (stack.home / "env").read_text()


def test_a_setup_that_lost_the_keyring_does_not_make_another(stack: Stack) -> None:
    with away(stack.secrets / "keyring.json"):
        ran = stack.run("deploy/compose/setup")
        assert ran.code != 0
        assert re.search(r"secret .*keyring\.json cannot be read .*: restore it from your copy", ran.err)
        assert not (stack.secrets / "keyring.json").exists()


@pytest.mark.parametrize("name", ["keyring.json", "postgres", "subsidy-app"])
def test_without_one_secret_nothing_starts(stack: Stack, name: str) -> None:
    with away(stack.secrets / name):
        ran = stack.compose("up", "-d", "--wait")
        assert ran.code != 0
        assert f"secrets/{name}" in ran.said
        assert stack.running() == set()


def test_a_damaged_secret_is_named_before_anything_starts(stack: Stack) -> None:
    with instead(stack.secrets / "keyring.json", "{"):
        assert "keyring.json is damaged: restore it from its backup" in stack.refused("check")
    with instead(stack.secrets / "ingest-app", "postgresql://somebody@postgres/ingest"):
        assert "is no postgresql://ingest_app:PASSWORD@HOST/ingest" in stack.refused("check")
    with instead(stack.secrets / "service-token", "expired"):
        assert "deploy/compose/setup issues another" in stack.refused("check")
    assert stack.running() == set()


def test_a_port_in_use_is_named(stack: Stack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ran = stack.compose("up", "-d", "--wait", TONGCUN_INGEST_PORT=port)
    assert ran.code != 0
    assert f"127.0.0.1:{port}" in ran.said
    assert "in use" in ran.said or "already allocated" in ran.said
    stack.must("down", "--volumes")


# The whole of it


def test_it_is_up_within_a_minute(stack: Stack, figures: dict[str, Any]) -> None:
    began = time.monotonic()
    stack.up()
    figures["up_s"] = time.monotonic() - began
    assert stack.running() == set(SERVERS)
    assert figures["up_s"] <= UP_WITHIN_S


def test_every_process_is_held_short(stack: Stack) -> None:
    for name in SERVERS:
        host, config = (stack.container(name)[key] for key in ("HostConfig", "Config"))
        assert config["User"].split(":")[0] not in ("", "0", "root"), name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert host["CapAdd"] in (None, []), name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Init"], name
        assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}, name
        assert config["Healthcheck"]["Test"], name
        assert config["StopTimeout"] >= 30, name
        assert all(binding["HostIp"] == "127.0.0.1" for bound in (host["PortBindings"] or {}).values() for binding in bound), name
    assert {name for name in SERVERS if stack.container(name)["HostConfig"]["PortBindings"]} == set(APIS)


def test_no_password_stands_in_an_environment(stack: Stack) -> None:
    passwords = {(stack.secrets / "postgres").read_text()}
    passwords |= {re.search(r":([0-9a-f]{64})@", path.read_text())[1] for path in stack.secrets.glob("*-app")}  # type: ignore[index]
    for name in SERVERS:
        assert not any(password in json.dumps(stack.container(name)) for password in passwords), name


def test_the_whole_is_within_its_memory(stack: Stack) -> None:
    assert sum(stack.container(name)["HostConfig"]["Memory"] for name in SERVERS) <= MEMORY_BYTES
    assert all(stack.container(name)["HostConfig"]["Memory"] for name in SERVERS)


def test_the_demo_ends_with_the_same_fen_as_on_the_embedded_default(stack: Stack, figures: dict[str, Any]) -> None:
    ran = stack.compose("run", "--rm", "-T", "demo", "python", "-m", "deploy.compose.demo", "--json", "/var/lib/tongcun/demo.json")
    assert ran.code == 0, ran.said
    told = json.loads(stack.in_volume("client", "cat /data/demo.json").out)
    with directory() as place:
        embedded = tongcun(place / "var", "demo", "--json", str(place / "demo.json"), within_s=240)
        assert embedded.returncode == 0, embedded.stdout + embedded.stderr
        expected = json.loads((place / "demo.json").read_text())
    assert told["ok"] is expected["ok"] is True
    # Not "lines": how often a parcel was accrued and reversed on its way to the same amount depends on the batches.
    for name in ("totals", "townships", "beneficiaries", "unpaid", "recomputed"):
        assert told[name] == expected[name], name
    figures["demo_fen"] = told["totals"]["accrued_fen"]
    assert figures["demo_fen"] > 0


def test_a_second_demo_is_refused(stack: Stack) -> None:
    ran = stack.compose("run", "--rm", "-T", "demo")
    assert ran.code == 1
    assert "docker compose down -v" in ran.err


def test_the_tools_speak_to_the_stack(stack: Stack) -> None:
    assert "books reflect everything before" in stack.must("run", "--rm", "-T", "tongcun", "status")
    token = stack.must("run", "--rm", "-T", "tongcun", "token", "--role", "auditor").strip()
    answer = httpx.get(f"{stack.access.urls['subsidy']}/v1/policies", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text


async def test_killed_one_after_the_other_under_load_it_loses_nothing(stack: Stack, figures: dict[str, Any]) -> None:
    before, stop = await audited(stack.access), asyncio.Event()
    async with httpx.AsyncClient(timeout=10) as http:
        sender = await Sender.ready(stack.access, http, "steady", 1)
        sending = asyncio.create_task(sender.send(stop))
        for service in SERVERS:
            await asyncio.sleep(1)
            await asyncio.to_thread(stack.must, "kill", service)
            await asyncio.sleep(1)
            await asyncio.to_thread(stack.up)
        stop.set()
        await sending
    after = await audited(stack.access)
    assert sender.retries > 0, "nobody noticed anything: nothing was killed"
    assert after.scan_positions - before.scan_positions == sender.sent > 0
    assert len(after.results) - len(before.results) == sender.sent / 2
    figures["killed"] = {"services": len(SERVERS), "acknowledged": sender.sent, "retries": sender.retries}


async def test_down_and_up_keeps_the_data(stack: Stack) -> None:
    before = await audited(stack.access)
    stack.must("down")
    assert stack.running() == set()
    stack.up()
    assert books(await audited(stack.access)) == books(before)


def books(report: Report) -> tuple[int, int, tuple[str, str]]:
    """What must not change where nothing was pushed."""
    return report.scan_positions, report.registry_positions, report.figures


async def test_a_second_worker_shares_the_partitions_and_leaves_them_when_it_is_killed(stack: Stack, figures: dict[str, Any]) -> None:
    stack.up("--scale", "subsidy-worker=2")
    await asyncio.to_thread(until_shared, stack, 2)
    stop = asyncio.Event()
    async with httpx.AsyncClient(timeout=10) as http:
        sender = await Sender.ready(stack.access, http, "steady-2", 500_000)
        sending = asyncio.create_task(sender.send(stop))
        await asyncio.sleep(5)
        await asyncio.to_thread(stack.run, "docker", "kill", f"{stack.project}-subsidy-worker-2")
        await asyncio.sleep(5)
        stop.set()
        await sending
    figures["books"] = books(await audited(stack.access))
    await asyncio.to_thread(until_shared, stack, 1)
    stack.up("--scale", "subsidy-worker=1")


# What is not this installation's: one line, nothing changed


def test_another_number_of_partitions(stack: Stack) -> None:
    line = stack.refused("migrate", TONGCUN_PARTITIONS="4")
    assert line == f"{SCANS} was installed with 8 partitions and cannot become 4: set the number back to 8"


def test_another_keyring(stack: Stack) -> None:
    keyring.create(stack.home / "other.json")
    with instead(stack.secrets / "keyring.json", (stack.home / "other.json").read_text()):
        assert "restore that one from its backup" in stack.refused("migrate")


def test_a_wrong_password(stack: Stack) -> None:
    with instead(stack.secrets / "postgres", "0" * 64):
        assert "put that file back from your copy" in stack.refused("migrate")


def test_a_new_password_of_a_service_is_set_by_the_next_start(stack: Stack) -> None:
    """Rotation: the file is changed, `up` does the rest."""
    old = (stack.secrets / "subsidy-app").read_text()
    (stack.home / "kept").write_text(old)
    replace(stack.secrets / "subsidy-app", re.sub(r":[0-9a-f]{64}@", f":{'a' * 64}@", old))
    stack.must("stop", "subsidy-api", "subsidy-worker")
    stack.up()


def test_kafka_of_another_installation(stack: Stack) -> None:
    stack.must("stop", "kafka")
    line = stack.refused("check", TONGCUN_CLUSTER_ID=OTHER_CLUSTER)
    assert f"this installation is {OTHER_CLUSTER}: put TONGCUN_CLUSTER_ID in .env back" in line


def test_postgresql_of_another_major_version(stack: Stack) -> None:
    stack.must("stop", "postgres")
    assert stack.in_volume("postgres", "mkdir -p /data/17/docker && echo 17 >/data/17/docker/PG_VERSION").code == 0
    assert "holds data of version 17, Tongcun needs 18: dump it" in stack.refused("check")
    assert stack.in_volume("postgres", "rm -r /data/17").code == 0


def test_a_topic_with_fewer_partitions(stack: Stack) -> None:
    stack.up()
    stack.must("stop", "ingest-relay", "subsidy-worker")
    stack.topics("--delete", "--topic", SCANS)
    stack.topics("--create", "--topic", SCANS, "--partitions", "3")
    assert "has 3 partitions, this installation 8" in stack.refused("migrate")
    assert "PartitionCount: 3" in stack.topics("--describe", "--topic", SCANS)
    stack.topics("--delete", "--topic", SCANS)


async def test_after_all_of_that_nothing_has_changed(stack: Stack, figures: dict[str, Any]) -> None:
    """The broker has no topic of ours now: the logs fill it again."""
    before = stack.topics("--list").split()
    assert SCANS not in before
    stack.up()
    assert books(await audited(stack.access)) == figures["books"]
    assert "PartitionCount: 8" in stack.topics("--describe", "--topic", SCANS)


def test_figures(stack: Stack, figures: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Printed for whoever reads the run; the peak of each container's memory since it started."""
    told = stack.run("docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}").out
    with capsys.disabled():
        sys.stdout.write(f"\n{json.dumps(figures, ensure_ascii=False, default=str)}\n")
        sys.stdout.writelines(f"{line}\n" for line in told.splitlines() if line.startswith(stack.project))


# Helpers


def replace(path: Path, text: str) -> None:
    """As an editor does: another file in its place, read-only."""
    new = path.with_name(f".{path.name}.test")
    new.write_text(text)
    new.chmod(0o444)
    new.replace(path)


@contextlib.contextmanager
def away(path: Path) -> Iterator[None]:
    kept = path.rename(path.parent.parent / f"{path.name}.kept")
    try:
        yield
    finally:
        kept.replace(path)


@contextlib.contextmanager
def instead(path: Path, text: str) -> Iterator[None]:
    with away(path):
        replace(path, text)
        yield


def until_shared(stack: Stack, members: int, within_s: float = 60.0) -> None:
    """Kafka's own tool says that each member has some of the scans' partitions, and all are had."""
    deadline = time.monotonic() + within_s
    while True:
        told = stack.groups("--describe", "--all-groups")
        owners = {line.split()[2]: line.split()[6] for line in told.splitlines() if f" {SCANS} " in line}
        if len(owners) == 8 and len(set(owners.values()) - {"-"}) == members:
            return
        assert time.monotonic() < deadline, told
        time.sleep(1)
