"""The launcher: which lock a verb needs, when .venv is made anew, and what it says when it cannot."""

import ast
import importlib.machinery
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tongcun"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout that has the launcher and two small locks."""
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "embedded.txt").write_text("a==1\n")
    (tmp_path / "locks" / "dev.txt").write_text("a==1\nb==2\n")
    (tmp_path / "tongcun").write_bytes(PROGRAM.read_bytes())
    return tmp_path


@pytest.fixture
def launcher(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("tongcun_launcher", str(tree / "tongcun"))
    module = ModuleType(loader.name)
    module.__file__ = str(tree / "tongcun")
    loader.exec_module(module)
    return module


class Tools:
    """In place of uv and pip, the one thing here that we do not own: they make a Python, or fail."""

    def __init__(self, launcher: Any, monkeypatch: pytest.MonkeyPatch, *, uv: bool = True, pip: bool = True) -> None:
        self.calls: list[tuple[str, str, bool]] = []
        self._launcher = launcher
        monkeypatch.setattr(launcher, "install_with_uv", lambda lock, fresh: self._install("uv", lock, fresh, uv))
        monkeypatch.setattr(launcher, "install_with_pip", lambda lock, fresh: self._install("pip", lock, fresh, pip))

    def _install(self, tool: str, lock: Path, fresh: bool, works: bool) -> bool:
        self.calls.append((tool, lock.name, fresh))
        self._launcher.PYTHON.parent.mkdir(parents=True, exist_ok=True)
        self._launcher.PYTHON.touch()
        return works


@pytest.mark.parametrize("verb", ["test", "test-kafka", "quick", "check", "fmt", "faults", "bench"])
def test_verbs_for_engineers_need_the_development_lock(launcher: Any, verb: str) -> None:
    assert launcher.lock_for(verb) == "dev.txt"


@pytest.mark.parametrize("verb", ["up", "demo", "status", "reset", "feed", "push", "consumer", ""])
def test_everything_else_needs_what_the_platform_needs(launcher: Any, verb: str) -> None:
    assert launcher.lock_for(verb) == "embedded.txt"


def test_every_make_verb_is_one_line_over_the_launcher() -> None:
    verbs = dict(re.findall(r"^([\w-]+): +; @\./tongcun ([\w-]+) \$\(ARGS\)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert list(verbs) == ["demo", "test", "test-kafka", "test-compose", "quick", "check", "bench", "faults", "fmt"]
    assert all(target == verb for target, verb in verbs.items())


def test_quick_takes_no_test_that_needs_a_database(launcher: Any) -> None:
    [[_, *arguments]] = launcher.VERBS["quick"]
    assert [a for a in arguments if a.startswith("tests/")] == ["tests/unit", "tests/spec", "tests/property"]


def test_test_and_faults_share_out_every_directory_of_tests(launcher: Any) -> None:
    [[_, *arguments]] = launcher.VERBS["test"]
    directories = {f"tests/{path.parent.name}" for path in ROOT.glob("tests/*/__init__.py")} - {"tests/bench", "tests/compose"}
    assert {a for a in arguments if a.startswith("tests/")} == directories
    assert arguments[4:6] == ["-m", "not long"]
    assert launcher.VERBS["faults"][0][1:3] == ["-m", "long"]


def test_the_locks_name_no_index_and_hash_every_package(launcher: Any) -> None:
    for name in (launcher.EMBEDDED, launcher.DEV):
        text = (ROOT / "locks" / name).read_text()
        assert "://" not in text
        packages = [block for block in re.split(r"\n(?=\w)", text) if block.strip()]
        assert len(packages) > 30
        assert all(re.match(r"[\w.-]+==\S+", block) and "--hash=sha256:" in block for block in packages)


def test_the_development_lock_is_a_superset_with_the_same_versions() -> None:
    embedded, dev = (
        set(re.findall(r"^[\w.-]+==\S+", (ROOT / "locks" / name).read_text(), re.MULTILINE)) for name in ("embedded.txt", "dev.txt")
    )
    assert embedded <= dev


def test_the_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["embedded"] + project["optional-dependencies"]["dev"]
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "locks" / "dev.txt").read_text(), re.MULTILINE))
    assert {re.split(r"[\[><=]", name)[0] for name in wanted} <= locked


def test_a_second_call_installs_nothing(launcher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(launcher, monkeypatch)
    launcher.ensure("embedded.txt")
    launcher.ensure("embedded.txt")
    assert tools.calls == [("uv", "embedded.txt", True)]


def test_the_development_lock_serves_the_platform_too(launcher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(launcher, monkeypatch)
    launcher.ensure("dev.txt")
    launcher.ensure("embedded.txt")
    assert tools.calls == [("uv", "dev.txt", True)]


def test_the_development_lock_is_added_to_what_is_there(launcher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(launcher, monkeypatch)
    launcher.ensure("embedded.txt")
    launcher.ensure("dev.txt")
    assert tools.calls == [("uv", "embedded.txt", True), ("uv", "dev.txt", False)]


def test_a_changed_lock_makes_it_anew(launcher: Any, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(launcher, monkeypatch)
    launcher.ensure("embedded.txt")
    (tree / "locks" / "embedded.txt").write_text("a==2\n")
    (tree / ".venv" / "leftover").touch()
    launcher.ensure("embedded.txt")
    assert tools.calls == [("uv", "embedded.txt", True)] * 2
    assert not (tree / ".venv" / "leftover").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda venv: (venv / "tongcun.json").unlink(),
        lambda venv: (venv / "tongcun.json").write_text("{"),
        lambda venv: (venv / "tongcun.json").write_text(json.dumps({"root": "/elsewhere"})),
        lambda venv: (venv / "bin" / "python").unlink(),
    ],
    ids=["interrupted", "half a stamp", "moved", "its Python is gone"],
)
def test_a_virtual_environment_that_cannot_be_trusted_is_made_anew(
    launcher: Any, tree: Path, monkeypatch: pytest.MonkeyPatch, damage: Any
) -> None:
    tools = Tools(launcher, monkeypatch)
    launcher.ensure("embedded.txt")
    damage(tree / ".venv")
    launcher.ensure("embedded.txt")
    assert tools.calls == [("uv", "embedded.txt", True)] * 2


def test_pip_is_the_way_where_uv_fails(launcher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(launcher, monkeypatch, uv=False)
    launcher.ensure("embedded.txt")
    assert [tool for tool, _, _ in tools.calls] == ["uv", "pip"]


def test_when_neither_works_one_line_says_what_to_install(
    launcher: Any, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Tools(launcher, monkeypatch, uv=False, pip=False)
    assert launcher.main(["up"]) == 1
    _, line = capsys.readouterr().err.splitlines()
    assert "install uv" in line
    assert "python3-venv" in line
    assert not (tree / ".venv" / "tongcun.json").exists()  # so the next call tries again


def test_two_launchers_at_once_install_once(launcher: Any, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one finishes while we wait for the lock."""
    tools = Tools(launcher, monkeypatch)
    waited = launcher.one_at_a_time

    def other_finishes_first() -> Any:
        monkeypatch.setattr(launcher, "one_at_a_time", waited)
        launcher.ensure("embedded.txt")
        return waited()

    monkeypatch.setattr(launcher, "one_at_a_time", other_finishes_first)
    launcher.ensure("embedded.txt")
    assert tools.calls == [("uv", "embedded.txt", True)]


def test_the_lock_excludes_another_process_and_dies_with_its_own(launcher: Any, tree: Path) -> None:
    code = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    attempt = [sys.executable, "-c", code, str(tree / "locks")]
    with launcher.one_at_a_time():
        assert subprocess.run(attempt, capture_output=True, check=False).returncode == 1
    assert subprocess.run(attempt, capture_output=True, check=False).returncode == 0


def test_an_older_python_gets_one_line(tree: Path) -> None:
    """The check stands before anything that an older Python lacks: run it with a version that says it is old."""
    code = "import sys; sys.version_info = (3, 9, 6); import runpy; runpy.run_path(sys.argv[1])"
    run = subprocess.run([sys.executable, "-c", code, str(tree / "tongcun")], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert re.fullmatch(r"tongcun: needs Python 3\.11 or newer, this is 3\.9: .*\n", run.stderr)


def test_the_source_can_be_read_by_the_python_of_an_old_system() -> None:
    ast.parse(PROGRAM.read_text(), feature_version=(3, 7))


def test_the_launcher_needs_the_standard_library_alone() -> None:
    imported = set(re.findall(r"^(?:import|from) (\w+)", PROGRAM.read_text(), re.MULTILINE))
    assert imported <= sys.stdlib_module_names
    assert os.access(PROGRAM, os.X_OK)
