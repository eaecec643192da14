"""`tongcun up`, killed and started again; and what the terminal says when something is in the way. One installation for all, in order."""

import json
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded.installation import Installation
from services.ingest.brands import NATIVE
from tests.e2e.terminal import directory, free_base, printed, tongcun, up

FEED = "zto-yuanqu"
PARCEL = "73100196611386"  # of ZTO's sample


@pytest.fixture(scope="module")
def var() -> Iterator[Path]:
    with directory() as place:
        yield place / "var"


@pytest.fixture(scope="module")
def base() -> int:
    """Three free ports in a row, most likely."""
    return free_base()


@pytest.fixture(scope="module")
def told(var: Path) -> str:
    """A file that ZTO would send: its sample, which without a file goes to a sandbox feed only."""
    path = var.parent / "told.json"
    path.write_text(json.dumps(NATIVE["zto"].SAMPLE))
    return str(path)


def one_line(told: str) -> str:
    lines = [line for line in told.splitlines() if line.startswith("tongcun: ")]
    assert len(lines) == 1, told
    assert "Traceback" not in told
    return lines[0]


def test_a_push_survives_kill_9_of_everything(var: Path, base: int, told: str) -> None:
    with up(var, "--port-base", str(base)) as running:
        assert tongcun(var, "feed", "create", FEED, "--format", "zto", "--mode", "live").returncode == 0
        pushed = tongcun(var, "push", "zto", told)
        assert "accepted" in pushed.stdout, pushed.stdout + pushed.stderr
        second = tongcun(var, "up")
        assert (second.returncode, "in use" in one_line(second.stderr)) == (1, True)
        running.end(signal.SIGKILL)
    until_silent(base)
    with up(var, "--port-base", str(base)) as running:
        assert tongcun(var, "status").returncode == 0
        again = tongcun(var, "push", "zto", told)
        assert "duplicate" in again.stdout, again.stdout + again.stderr
        assert PARCEL in again.stdout
        assert "上王村便民服务点" in again.stdout
        assert running.end(signal.SIGINT) == 0


def until_silent(port: int) -> None:
    """Children die with their parent, on Linux; elsewhere the next start ends them."""
    if sys.platform != "linux":
        return
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)
    pytest.fail(f"port {port} still answers after its supervisor was killed")


def test_a_sandbox_push_says_that_nothing_reaches_the_money(var: Path, base: int, told: str) -> None:
    with up(var, "--port-base", str(base)):
        invented = tongcun(var, "push", "zto")
        assert (invented.returncode, "sandbox feed only" in one_line(invented.stderr)) == (1, True)
        assert tongcun(var, "feed", "create", "gongpei-try", "--format", "gongpei").returncode == 0
        pushed = tongcun(var, "push", "gongpei")
        assert "nothing of it reaches the money" in pushed.stdout
        paused = tongcun(var, "feed", "mode", FEED, "paused")
        assert paused.returncode == 0
        refused = tongcun(var, "push", "zto", told)
        assert '"status":false' in refused.stdout
        assert "nothing was stored" in refused.stdout
        listed = tongcun(var, "consumer", "list")
        assert "subsidy" in listed.stdout


def test_what_up_prints_works_as_it_stands(var: Path, base: int) -> None:
    with up(var, "--port-base", str(base)) as running:
        ran = [printed(var, line) for line in running.to_try]
        assert [(each.returncode, each.stderr) for each in ran] == [(0, "")] * 3
        assert "verdict" in ran[-1].stdout
    with up(var, "--port-base", str(base)) as running:  # the feed is there now: it is not to be created again
        assert len(running.to_try) == 2
        conflict = tongcun(var, "feed", "create", FEED, "--format", "zto")
    refused = one_line(conflict.stderr)
    assert conflict.returncode == 1
    assert re.search(r"[一-龥].* / .*[a-z]", refused), refused  # what the API refuses, in both languages


def test_a_taken_port(var: Path, base: int) -> None:
    with socket.create_server(("127.0.0.1", base + 1)):
        ran = tongcun(var, "up", "--port-base", str(base))
    assert ran.returncode == 1
    assert f"registry: port {base + 1} is taken" in one_line(ran.stderr)


def test_a_lost_keyring(var: Path, base: int) -> None:
    """Beside data that it encrypted: made anew, it would turn them into lost evidence."""
    keyring = var / "secrets" / "keyring.json"
    kept = keyring.read_bytes()
    keyring.unlink()
    ran = tongcun(var, "up", "--port-base", str(base))
    assert ran.returncode == 1
    assert "keyring" in one_line(ran.stderr)
    assert "backup" in one_line(ran.stderr)
    assert not keyring.exists()
    keyring.write_bytes(kept)


def test_a_postgresql_that_cannot_start(var: Path, base: int) -> None:
    configuration = var / "postgres" / "data" / "postgresql.conf"
    kept = configuration.read_text()
    with configuration.open("a") as file:
        file.write("\nshared_buffers = 'a lot'\n")
    ran = tongcun(var, "up", "--port-base", str(base))
    assert ran.returncode == 1
    assert "postgres" in one_line(ran.stderr)
    assert "postgres.log" in one_line(ran.stderr)
    configuration.write_text(kept)


def test_reset_begins_anew(var: Path) -> None:
    assert Installation(var).ports
    assert tongcun(var, "reset", "--yes").returncode == 0
    assert not var.exists()
