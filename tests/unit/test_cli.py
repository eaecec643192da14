"""What an operator reads when something is wrong: one line, in both languages, that says what to do; never a traceback."""

import csv
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from deploy import cli, feed_operations
from deploy.client import Api, Refused
from deploy.demo import run, statement
from deploy.demo.show import Show
from deploy.embedded.installation import Installation
from deploy.embedded.supervisor import CannotStart
from deploy.platform import Access, make_keys
from deploy.wipe import wipe


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


def test_status_tells_of_the_demo_that_runs_instead(var: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_demo = Installation(var / "demo")
    of_demo.make_directories()
    with of_demo.locked():
        assert cli.main(["status"]) == cli.FAILED
    assert "./tongcun status --demo" in capsys.readouterr().out
    assert cli.main(["status"]) == cli.FAILED
    assert "--demo" not in capsys.readouterr().out


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


def test_a_misspelt_variable_is_told_before_anything_is_done(
    installed: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TONGCUN_VRA", str(installed.var))
    assert cli.main(["reset", "--yes"]) == cli.MISUSED
    assert "did you mean TONGCUN_VAR?" in capsys.readouterr().err
    assert installed.secrets.exists()


# Reset


async def test_only_an_installation_is_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CannotStart, match="nothing removed"):
        await wipe(tmp_path, print)
    assert (tmp_path / "thesis.txt").exists()


async def test_what_is_not_ours_stays(installed: Installation) -> None:
    (installed.var / "thesis.txt").write_text("mine")
    (installed.var / "lock").touch()
    await wipe(installed.var, print)
    assert [p.name for p in installed.var.iterdir()] == ["thesis.txt"]


async def test_a_running_installation_is_not_removed(installed: Installation) -> None:
    with installed.locked(), pytest.raises(CannotStart, match="in use"):
        await wipe(installed.var, print)
    assert installed.var.exists()


def test_reset(installed: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    with installed.locked():
        pass
    assert cli.main(["reset", "--yes"]) == 0
    assert not installed.var.exists()
    assert cli.main(["reset", "--yes"]) == 0
    assert "nothing to do" in capsys.readouterr().out


# up --demo


def half_done(installed: Installation) -> Path:
    with installed.locked():
        pass
    (installed.run / "left-behind").touch()
    return installed.run / "left-behind"


async def test_a_demo_that_did_not_finish_is_begun_anew(installed: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    left = half_done(installed)
    assert await cli.emptied_for_demo(installed.var) is True
    assert not left.exists()
    assert "begun anew" in capsys.readouterr().out


async def test_a_settled_demo_is_served_as_it_is(installed: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    left = half_done(installed)
    (installed.var / run.SETTLED).write_text('{"seed": 30, "parcel": ["zto", "731"]}')
    assert await cli.emptied_for_demo(installed.var) is False
    assert left.exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["", "{}", '{"seed": 30}', "[]"])
async def test_a_demo_of_an_older_version_is_begun_anew(text: str, installed: Installation) -> None:
    half_done(installed)
    (installed.var / run.SETTLED).write_text(text)
    assert await cli.emptied_for_demo(installed.var) is True


async def test_the_first_demo_begins_in_silence(var: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await cli.emptied_for_demo(var / "demo") is True
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("problems", [[], ["zto 731: recomputed 45, posted 46"]])
async def test_only_a_demo_that_agrees_is_settled(problems: list[str], installed: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fill(demo: run.Demo) -> None:
        demo.problems += problems

    async def tell(*_: Any) -> dict[str, Any]:
        return {"explained": [{"brand": "zto", "waybill_no": "731"}]}

    monkeypatch.setattr(run, "fill", fill)
    monkeypatch.setattr(run, "tell", tell)
    told = await run.demonstrate(Access(installed), Show(), installed.var / "s.csv")
    assert (installed.var / run.SETTLED).exists() is told["ok"] is (not problems)
    if problems:
        with pytest.raises(Refused, match="disagree in 1 places"):
            run.check_agreement(told)
    else:
        run.check_agreement(told)


# push

LIVE, SANDBOX, SECOND = ({"feed": f, "format": "zto", "mode": m} for f, m in (("a", "live"), ("b", "sandbox"), ("c", "sandbox")))
CHOICES: dict[str, tuple[list[dict[str, Any]], str | None, bool, str]] = {
    "a file to the only feed": ([LIVE], None, False, "a"),
    "a file to one of several": ([LIVE, SANDBOX], None, False, "say which"),
    "a file to the one that is named": ([LIVE, SANDBOX], "a", False, "a"),
    "the sample to a live feed": ([LIVE], None, True, "sandbox feed only"),
    "the sample to a live feed that is named": ([LIVE, SANDBOX], "a", True, "sandbox feed only"),
    "the sample where one is a sandbox": ([LIVE, SANDBOX], None, True, "b"),
    "the sample where two are sandboxes": ([SANDBOX, SECOND], None, True, "say which"),
    "no feed": ([], None, True, "feed create zto-sandbox"),
    "a feed of another format": ([SANDBOX | {"format": "gongpei"}], "b", True, "no such feed"),
}


@pytest.mark.parametrize("case", CHOICES)
def test_which_feed_a_push_goes_to(case: str) -> None:
    feeds, name, sample, says = CHOICES[case]
    if len(says) == 1:
        assert feed_operations.choose_feed(feeds, "zto", name, sample=sample)["feed"] == says
    else:
        with pytest.raises(Refused, match=says):
            feed_operations.choose_feed(feeds, "zto", name, sample=sample)


async def test_a_refusal_is_read_in_both_languages() -> None:
    said = {"zh-CN": ("太多了。", "太长。"), "en": ("Too many.", "Too long.")}

    def refuse(request: httpx.Request) -> httpx.Response:
        detail, at_fault = said[request.headers["accept-language"]]
        return httpx.Response(422, json={"code": "request.invalid", "detail": detail, "errors": [{"pointer": "#/x", "detail": at_fault}]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
        with pytest.raises(Refused) as refused:
            await Api(http, "http://registry", "token").post("/v1/operators", {})
    assert str(refused.value) == "request.invalid: 太多了。 / Too many. (#/x: 太长。 / Too long.)"


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (403, {"code": "auth.forbidden", "detail": "not yours", "errors": []}, "auth.forbidden"),
        (500, {"code": "internal", "detail": "it broke", "errors": []}, "it broke"),
        (404, {"code": "parcel.not_found", "detail": "never seen", "errors": []}, None),
    ],
)
async def test_only_what_is_not_there_yet_is_waited_for(
    status: int, body: dict[str, Any], says: str | None, installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_operations, "EXPLAINED_WITHIN_S", 0.3)
    for service in ("ingest", "registry", "subsidy"):
        installed.choose_port(service)
    answering = httpx.MockTransport(lambda _: httpx.Response(status, json=body))
    async with httpx.AsyncClient(transport=answering) as http:
        asking = feed_operations.explained(Access(installed), http, "zto", "731", "2023-07-14T00:00:00+08:00")
        if says is None:
            assert "not on the books yet" in "".join(await asking)
        else:
            with pytest.raises(Refused, match=says):
                await asking


# The statement


def summary_of(payable: int, pending: int, accrued_fen: int) -> dict[str, int]:
    counts = {"parcels": payable + pending, "payable": payable, "pending": pending, "held": 0, "refused": 0}
    return counts | {"accrued_fen": accrued_fen, "held_fen": 0}


def test_a_station_that_changed_hands_has_a_line_for_each_of_those_it_is_owed_to() -> None:
    item = summary_of(payable=5, pending=2, accrued_fen=220)
    rows = statement.rows_of(item, "新城镇", "上王村", {"甲": (2, 88), "乙": (3, 132), "丙": (0, 0)})  # all of 丙's was reversed
    assert [(r.beneficiary, r.parcels, r.payable, r.pending, r.accrued_fen) for r in rows] == [
        ("乙", 3, 3, 0, 132),
        ("甲", 2, 2, 0, 88),
        ("", 2, 0, 2, 0),
    ]
    elsewhere = statement.rows_of(summary_of(1, 1, 40), "新城镇", "下王村", {"甲": (1, 40)})
    owed = {name: row.accrued_fen for name, row in statement.Statement([*rows, *elsewhere]).by("beneficiary").items()}
    assert owed == {"甲": 128, "乙": 132, "": 0}


def test_a_station_of_one_beneficiary_is_one_line() -> None:
    (row,) = statement.rows_of(summary_of(1, 1, 40), "新城镇", "下王村", {"甲": (1, 40)})
    assert (row.beneficiary, row.parcels, row.payable, row.pending, row.accrued_fen) == ("甲", 2, 1, 1, 40)


def test_payouts_that_are_not_the_summary_are_refused() -> None:
    with pytest.raises(Refused, match="41 fen, summary: 40 fen"):
        statement.rows_of(summary_of(1, 0, 40), "新城镇", "下王村", {"甲": (1, 41)})


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


def test_what_goes_into_a_file_is_neither_wrapped_nor_padded(capsys: pytest.CaptureFixture[str]) -> None:
    show = Show()
    show.text("长" * 300 + "\nshort")
    show.table([("站", "station"), ("件", "parcels")], [("一个很长的名字" * 20, 3), ("短", 12)])
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if line != line.rstrip()] == []
    assert len(told) == 2 + 2 + 2


def test_progress_without_a_terminal_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Show().progress("推送", "pushing", 1000) as count:
        for _ in range(1000):
            count()
    assert [line.split("/")[0].strip() for line in capsys.readouterr().out.splitlines()[1:]] == ["250", "500", "750", "1000"]


def test_a_month_that_is_none_is_told_before_anything_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recompute", "--period", "2023-7"]) == cli.MISUSED
    assert "不是月份" in capsys.readouterr().err
