"""What an operator reads when something is wrong: one line, in both languages, that says what to do; never a traceback."""

import csv
from pathlib import Path
from typing import Any

import jwt
import pytest

from deploy import cli
from deploy.demo import statement
from deploy.demo.show import Show
from deploy.embedded.installation import Installation
from deploy.embedded.supervisor import CannotStart
from deploy.platform import Access, make_keys


@pytest.fixture
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TONGCUN_VAR", str(tmp_path / "var"))
    return tmp_path / "var"


@pytest.fixture
def installed(var: Path) -> Installation:
    installation = Installation(var)
    installation.make_directories()
    make_keys(installation)
    return installation


MISUSE = {
    "an unknown role": (["token", "--role", "king"], cli.MISUSED, "king"),
    "an unknown claim": (["token", "--role", "brand", "--claim", "colour=red"], cli.MISUSED, "kind=value"),
    "a claim without a value": (["token", "--role", "brand", "--claim", "brand="], cli.MISUSED, "kind=value"),
    "a tenant's role without its claim": (["token", "--role", "operator"], cli.MISUSED, "--claim operator="),
    "too many days": (["token", "--role", "brand", "--days", "4000"], cli.MISUSED, "--days"),
    "an unknown verb": (["pay-everybody"], cli.MISUSED, "pay-everybody"),
    "a missing option": (["token"], cli.MISUSED, "--role"),
    "no partitions": (["up", "--partitions", "a-b"], cli.MISUSED, "a-b"),
    "partitions that are not there": (["up", "--partitions", "0-9"], cli.MISUSED, "8 partitions"),
    "a port out of range": (["up", "--port-base", "80"], cli.MISUSED, "--port-base"),
    "a token before the first start": (["token", "--role", "auditor"], cli.FAILED, "./tongcun up"),
    "feeds before the first start": (["feed", "list"], cli.FAILED, "./tongcun up"),
    "a secret's file that is not there": (["feed", "rotate", "zto-yuanqu", "--secret-file", "/nowhere/s"], cli.FAILED, "/nowhere/s"),
    "an overlap before now": (["feed", "rotate", "zto-yuanqu", "--overlap-s", "-1"], cli.MISUSED, "--overlap-s"),
    "a push in an unknown format": (["push", "carrier-pigeon"], cli.FAILED, "zto"),
    "a push of a file that is not there": (["push", "zto", "/nowhere/sample.json"], cli.FAILED, "/nowhere/sample.json"),
}


@pytest.mark.parametrize("case", MISUSE)
def test_one_line_and_an_exit_code(case: str, var: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, code, says = MISUSE[case]
    assert cli.main(arguments) == code
    told = capsys.readouterr().err
    assert says in told
    assert told.startswith("tongcun: ")
    assert len(told.strip().splitlines()) == 1


def test_status_before_the_first_start(var: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == cli.FAILED
    assert "./tongcun up" in capsys.readouterr().out


def test_what_nobody_foresaw_is_written_down(var: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(Access, "token", fails)
    assert cli.main(["token", "--role", "auditor"]) == cli.UNKNOWN
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "ZeroDivisionError: by nothing" in (var / "log" / "cli-error.log").read_text()
    assert str(var / "log" / "cli-error.log") in told


def test_a_token_carries_role_claim_and_days(installed: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["token", "--role", "operator", "--claim", "operator=opr_1", "--days", "2"]) == 0
    payload = jwt.decode(capsys.readouterr().out.strip(), options={"verify_signature": False})
    assert (payload["roles"], payload["operator"], payload["exp"] - payload["iat"]) == (["operator"], "opr_1", 2 * 86_400)


def test_nothing_answers(installed: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    for service in ("ingest", "registry", "subsidy"):
        installation_port = Access(installed).installation.choose_port(service)
        assert installation_port
    assert cli.main(["feed", "list"]) == cli.FAILED
    assert "does not answer" in capsys.readouterr().err


# Keys


def test_keys_are_made_once_and_for_their_owner_alone(installed: Installation) -> None:
    before = {path: path.read_bytes() for path in installed.secrets.iterdir()}
    make_keys(installed)
    assert {path: path.read_bytes() for path in installed.secrets.iterdir()} == before
    assert {oct(path.stat().st_mode & 0o777) for path in before} == {"0o600"}


def test_a_lost_keyring_is_not_replaced(installed: Installation) -> None:
    (installed.secrets / "keyring.json").unlink()
    with pytest.raises(CannotStart, match=r"keyring .* is missing.*backup"):
        make_keys(installed)


# Reset


async def test_only_an_installation_is_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CannotStart, match="nothing removed"):
        await cli.wipe(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


async def test_what_is_not_ours_stays(installed: Installation) -> None:
    (installed.var / "thesis.txt").write_text("mine")
    (installed.var / "lock").touch()
    await cli.wipe(installed.var)
    assert [p.name for p in installed.var.iterdir()] == ["thesis.txt"]


async def test_a_running_installation_is_not_removed(installed: Installation) -> None:
    with installed.locked(), pytest.raises(CannotStart, match="in use"):
        await cli.wipe(installed.var)
    assert installed.var.exists()


def test_reset(installed: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    with installed.locked():
        pass
    assert cli.main(["reset", "--yes"]) == 0
    assert not installed.var.exists()
    assert cli.main(["reset", "--yes"]) == 0
    assert "nothing to do" in capsys.readouterr().out


# The statement's file


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert statement.plain_cell(text) == f"'{text}"


def test_csv_has_a_byte_order_mark_and_exact_yuan(tmp_path: Path) -> None:
    row = statement.Row("新城镇 Xincheng", "=HYPERLINK(0)", "合作社", 3000, 2500, 1, 2, 497, 123_456, 88)
    statement.write_csv(statement.Statement([row], policy_version="p.1"), tmp_path / "s.csv")
    raw = (tmp_path / "s.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    cells = list(csv.reader(raw.decode("utf-8-sig").splitlines()))[1]
    assert cells == [
        "新城镇 Xincheng",
        "'=HYPERLINK(0)",
        "合作社",
        "3000",
        "2500",
        "1234.56",
        "1",
        "2",
        "497",
        "0.88",
        "p.1",
        "sample 样例",
    ]


def test_the_average_is_decided_by_integers() -> None:
    ceiling = [{"limit_fen_per_parcel": 50, "policy_version": "p.1"}]
    at_limit = statement.Statement(totals={"accrued_fen": 150, "payable": 3}, ceilings=ceiling)
    above = statement.Statement(totals={"accrued_fen": 151, "payable": 3}, ceilings=ceiling)
    assert (statement.within_ceiling(at_limit), statement.within_ceiling(above)) == (True, False)


def test_progress_without_a_terminal_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Show().progress("推送", "pushing", 1000) as count:
        for _ in range(1000):
            count()
    assert [line.split("/")[0].strip() for line in capsys.readouterr().out.splitlines()[1:]] == ["250", "500", "750", "1000"]
