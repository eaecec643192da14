"""Apache Kafka in the embedded broker's place: what it needs, and what is said where that is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.embedded.broker import Broker
from deploy.embedded.runtime import chosen_broker
from deploy.embedded.supervisor import CannotStart
from deploy.kafka import jars
from deploy.kafka.broker import ApacheKafka
from deploy.kafka.node import FORMATTED, Node

OLD_JAVA = "#!/bin/sh\necho 'openjdk version \"11.0.27\" 2025-04-15' >&2\n"
JAVA = "#!/bin/sh\necho 'openjdk version \"21\" 2023-09-19' >&2\n"


def programs(directory: Path, **scripts: str) -> str:
    """A PATH on which nothing else is found."""
    for name, text in scripts.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    return str(directory)


@pytest.mark.parametrize(
    ("scripts", "said"),
    [
        ({}, "needs Java 17 or newer"),
        ({"java": OLD_JAVA, "mvn": "#!/bin/sh\n"}, "needs Java 17 or newer"),
        ({"java": JAVA}, "comes by Maven: install it"),
        ({"java": JAVA, "mvn": "#!/bin/sh\n"}, ""),
    ],
)
def test_what_is_missing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripts: dict[str, str], said: str) -> None:
    monkeypatch.setenv("PATH", programs(tmp_path, **scripts))
    monkeypatch.setattr(jars, "KEPT", tmp_path / "kafka")
    assert said in jars.missing()
    assert bool(said) == bool(jars.missing())
    assert "\n" not in jars.missing()


def test_ci_is_told_by_the_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.kafka.jars"]
    asked = subprocess.run(command, env=os.environ | {"PATH": programs(tmp_path)}, capture_output=True, text=True, timeout=30, check=False)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert asked.stderr.startswith("Apache Kafka needs Java 17")


def test_jars_that_are_there_need_no_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", programs(tmp_path, java=JAVA))
    monkeypatch.setattr(jars, "KEPT", tmp_path / "kafka")
    jars._place().mkdir(parents=True)
    assert jars.missing() == ""
    assert jars.class_path.__wrapped__() == f"{tmp_path}/kafka/{jars._place().name}/*"


def test_a_maven_that_fails_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = "#!/bin/sh\necho '[ERROR] Could not transfer artifact'\necho '[ERROR] To see the full stack trace'\nexit 1\n"
    monkeypatch.setenv("PATH", programs(tmp_path, java=JAVA, mvn=fails))
    monkeypatch.setattr(jars, "KEPT", tmp_path / "kafka")
    with pytest.raises(CannotStart, match=r"could not bring Apache Kafka: \[ERROR\] Could not transfer artifact /"):
        jars.class_path.__wrapped__()
    assert list((tmp_path / "kafka").iterdir()) == []


def test_the_version_stands_in_the_pom_alone() -> None:
    assert jars.version().startswith("4.")
    assert jars.POM.read_text().count(jars.version()) == 2, "the broker and its tools are of one version"


@pytest.mark.parametrize(("name", "broker"), [("", Broker), ("embedded", Broker), ("kafka", ApacheKafka)])
def test_the_broker_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch, name: str, broker: type[Broker]) -> None:
    monkeypatch.setenv("TONGCUN_BROKER", name)
    assert chosen_broker() is broker


def test_another_name_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONGCUN_BROKER", "redpanda")
    with pytest.raises(CannotStart, match="TONGCUN_BROKER=redpanda: one of embedded kafka"):
        chosen_broker()


def test_a_node_that_forgets_keeps_what_formatting_made(tmp_path: Path) -> None:
    """So it is born again with the same cluster id."""
    data = tmp_path / "data"
    (data / "tongcun.scans.v1-0").mkdir(parents=True)
    for name in (*FORMATTED, "tongcun.scans.v1-0/00000000000000000000.log", "recovery-point-offset-checkpoint"):
        (data / name).write_text("x")
    Node(tmp_path, "0" * 32, port=1, controller_port=2).forget()
    assert sorted(path.name for path in data.iterdir()) == sorted(FORMATTED)
