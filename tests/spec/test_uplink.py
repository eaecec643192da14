"""Every line of uplink.md, computed; and the words that explain it, in both languages."""

import re
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from services.subsidy.domain.events import Event
from services.subsidy.domain.explain import Names, text
from services.subsidy.domain.fold import assess
from services.subsidy.domain.policy import Policies
from services.subsidy.domain.said import Declared, Said
from services.subsidy.domain.trace import trace
from services.subsidy.policies import read_directory
from shared.calendar import SHANGHAI
from shared.contracts.registry import AnyRecord, Merchant, MerchantKind, MerchantSegment, Qualification, Shop
from shared.sites import site_id
from shared.standing import Directory
from tests.integration.subsidy_books import alias, county, station

PAGE = Path(__file__).with_name("uplink.md")
POLICIES = Policies(p for p, _ in read_directory())
SCAN = re.compile(
    r"(?P<action>\w+) (?P<day>[\d-]+)(?: @(?P<site>\S+))?(?: <(?P<origin>\d+))?(?: >(?P<destination>\d+))?(?: #(?P<order>\S+))?"
)
OPENED = datetime(2022, 1, 1, tzinfo=SHANGHAI)


class Case(NamedTuple):
    name: str
    scans: str
    declared: str
    merchant: str
    outcome: str
    reason_codes: list[str]
    fen: int
    day: date | None


def day(text: str) -> date:
    return date.fromisoformat(text if len(text) > 5 else f"2023-{text}")


def cases() -> list[Case]:
    rows = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    return [
        Case(row[0], row[1], row[2], row[3], row[4], row[5].split(), int(row[6]), day(row[7]) if row[7] else None)
        for row in ([cell.strip() for cell in line] for line in rows)
    ]


CASES = cases()


def events(case: Case) -> list[Event]:
    found = []
    for n, told in enumerate(case.scans.split("; ")):
        scan = SCAN.fullmatch(told)
        assert scan, told
        moment = datetime(*day(scan["day"]).timetuple()[:3], 9, tzinfo=SHANGHAI).astimezone(UTC)
        place = site_id("zto", None, scan["site"])
        identity = bytes([n]) * 16, sha256(told.encode()).digest()
        found.append(
            Event(*identity, 1, "zto-yuanqu", scan["action"], moment, place, scan["origin"], None, None, scan["destination"], scan["order"])
        )
    return found


def declared(case: Case) -> Declared | None:
    if case.declared == "无":
        return None
    given = dict(part.split(" ", 1) for part in case.declared.split("，")) if case.declared else {}
    freight_fen = int(given.get("运费", "3.20").replace(".", ""))
    return Declared(
        "dec_1", 2, "mch_9", given.get("平台", "淘宝"), "ORD-1", given.get("品名", "山地苹果 5 斤"), given.get("寄往", "浙江省杭州市"),
        freight_fen, date(2023, 7, 14), "zto", "73100196611386",
    )  # fmt: skip


def directory(case: Case) -> Directory:
    records: list[AnyRecord] = [*county(), station(aliases=[alias("上王村", OPENED)])]
    if case.merchant != "不存在":
        records.append(merchant(case.merchant))
    return Directory.of(records)


def merchant(told: str) -> Merchant:
    word, _, rest = told.partition(" ")
    since = {"认定": rest, "撤销": rest}.get(word)
    cut = datetime(*day(since).timetuple()[:3], tzinfo=SHANGHAI) if since else None
    fields: dict[str, Any] = {
        "name": "垣曲县山里果业有限公司", "kind": MerchantKind.ENTERPRISE, "division_code": "140827100000", "licence_no": None,
        "reason": None,
        "registered_on": date.fromisoformat(rest) if word == "登记" else date(2021, 4, 6),
        "shops": (Shop(platform="淘宝", shop="山里果业", approved=True), Shop(platform="抖音", shop="山里果业", approved=False)),
    }  # fmt: skip
    before, after = {
        "未认定": (Qualification.SUBMITTED, Qualification.SUBMITTED),
        "认定": (Qualification.SUBMITTED, Qualification.APPROVED),
        "撤销": (Qualification.APPROVED, Qualification.WITHDRAWN),
    }.get(word, (Qualification.APPROVED, Qualification.APPROVED))
    first = MerchantSegment(valid_from=OPENED, valid_to=cut, qualification=before, **fields)
    second = [MerchantSegment(valid_from=cut, valid_to=None, qualification=after, **fields)] if cut else []
    return Merchant(version=1, merchant_id="mch_9", segments=(first, *second), sales=())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_case_comes_to_what_the_page_says(case: Case) -> None:
    told, place, said = events(case), directory(case), Said(declared=declared(case))
    found = assess("zto", told, place, POLICIES, said)
    assert (found.outcome or "in transit", list(found.reason_codes), found.net_fen, found.service_date) == (
        case.outcome, case.reason_codes, case.fen, case.day,
    )  # fmt: skip
    assert assess("zto", told[::-1], place, POLICIES, said) == found
    if found.direction == "uplink" and found.outcome in ("payable", "held", "refused"):
        assert found.beneficiary_id == "mch_9"


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_it_is_explained_in_both_languages(case: Case) -> None:
    found = trace("zto", events(case), directory(case), POLICIES, Said(declared=declared(case)))
    names = Names(found_directory := directory(case), datetime(2023, 7, 14, tzinfo=SHANGHAI))
    assert found_directory.stations
    zh, en = (text(found, names, lang) for lang in ("zh", "en"))
    assert len(zh.splitlines()) == len(en.splitlines())
    assert sum(line.amount_fen for line in found.arithmetic) == found.assessment.net_fen


def test_a_payable_parcel_says_who_gets_it_for_what_and_what_the_year_asks() -> None:
    case = CASES[1]
    found = trace("zto", events(case), directory(case), POLICIES, Said(declared=declared(case)))
    zh = text(found, Names(directory(case), datetime(2023, 7, 14, tzinfo=SHANGHAI)), "zh")
    assert "应予补贴 0.85 元，付给垣曲县山里果业有限公司，计入 2023-07-14" in zh
    assert "申报：垣曲县山里果业有限公司 申报单 dec_1 第 2 行，淘宝，山地苹果 5 斤，寄往浙江省杭州市，运费 0.85 元。" in zh
    assert "计算：上行件按实际运费 0.85 元；合计 0.85 元。" in zh
    assert "年度条件：2023 年该经营主体须满 1000 件且网络销售额满 100,000.00 元，每年最多 1,000,000.00 元" in zh


def test_a_refused_parcel_says_what_would_have_paid_it() -> None:
    case = next(c for c in CASES if c.name == "主体未认定")
    found = trace("zto", events(case), directory(case), POLICIES, Said(declared=declared(case)))
    (other,) = found.alternatives
    assert (other.fact, other.amount_fen) == ("merchant.qualified", 100)
    en = text(found, Names(directory(case), datetime(2023, 7, 14, tzinfo=SHANGHAI)), "en")
    assert "It would have earned 100 fen more, 1.00 yuan in all, had the merchant been approved on 14 July 2023." in en


def test_the_page_has_a_case_for_every_clause() -> None:
    (policy,) = POLICIES.versions
    told = {code for case in CASES for code in case.reason_codes}
    assert {c.reason_code for c in policy.clauses_of("uplink") if c.mode == "require"} <= told
