"""Reads a page of spec tables (Markdown): its words, its stations and aliases as registry snapshots, and its cases as parcels."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path

import msgspec

from services.subsidy.domain.events import Event
from services.subsidy.domain.fold import Assessment, assess, versions_that_count
from services.subsidy.domain.incidents import with_incidents
from services.subsidy.domain.policy import Mode, Policies
from services.subsidy.domain.said import NOTHING, Choice, Ruling, Said, Word, digest_of
from shared.calendar import SHANGHAI
from shared.contracts.registry import (
    Alias,
    Division,
    DivisionSegment,
    Filing,
    FilingSegment,
    FilingStatus,
    Incident,
    IncidentKind,
    IncidentParcel,
    IncidentSegment,
    IncidentSource,
    IncidentStatus,
    Level,
    OperatingStatus,
    Operator,
    OperatorSegment,
    Station,
    StationSegment,
)
from shared.identity import parcel_key
from shared.money import yuan
from shared.sites import site_id
from shared.standing import Directory

DOWNLINK = Path(__file__).with_name("downlink.md")
INCIDENTS = Path(__file__).with_name("incidents.md")
WAYBILL = "SPEC1"  # of every parcel, where an incident has to name it
NAMESPACE = "gongpei"
Row = dict[str, str]
DAWN = datetime(2022, 1, 1, tzinfo=SHANGHAI)


@dataclass(frozen=True)
class Decision:
    """A person's word as the page writes it: 解除暂缓 选#A=2 只看前1条."""

    word: Word
    reason_code: str | None  # of a hold by hand
    choices: tuple[tuple[bytes, int], ...]  # event, and which of its contents, from 1 as they are written
    after_scans: int | None  # how many scans had come; None: all
    day: datetime | None = None  # up to which the incidents had gone on; None: all steps

    def ruling(self, number: int, told: Sequence[Event], held: Assessment, said: Said) -> Ruling:
        if self.reason_code:
            return Ruling(number, Word.PLACE, self.reason_code, None, {})
        assert held.subject, "there is nothing to decide"
        versions = versions_that_count(told, said)
        choices = {e: Choice(bytes([n]) * 32, digest_of(versions[e])) for e, n in self.choices}
        return Ruling(number, self.word, held.reason_codes[0], held.subject, choices)


@cache
def in_modes(shipped: Policies, modes: tuple[tuple[str, str], ...]) -> Policies:
    wanted = dict(modes)
    for policy in shipped.versions:
        assert wanted.keys() <= {c.clause_id for c in policy.clauses}, f"no such clause: {wanted}"
    return Policies(
        replace(p, clauses=tuple(replace(c, mode=Mode(wanted.get(c.clause_id, c.mode))) for c in p.clauses)) for p in shipped.versions
    )


@dataclass(frozen=True)
class Case:
    section: str
    name: str
    brand: str
    events: tuple[Event, ...]
    outcome: str  # payable pending held refused in_transit
    reason_codes: tuple[str, ...]
    paid: str  # yuan, as shown
    held: str
    station: str | None
    day: date | None
    modes: tuple[tuple[str, str], ...] = ()  # clause → its mode here, where it is not the shipped policy's
    decisions: tuple[Decision, ...] = ()  # what people did, in order
    incidents: tuple[Incident, ...] = ()

    def policies(self, shipped: Policies) -> Policies:
        return in_modes(shipped, self.modes) if self.modes else shipped

    def said(self, directory: Directory, policies: Policies) -> Said:
        """Each of them looked at what was held then, by the scans that had come, and decided that."""
        key, said = parcel_key(self.brand, WAYBILL), NOTHING
        for number, decision in enumerate(self.decisions):
            told = self.events[: decision.after_scans]
            then = with_more(directory, until(self.incidents, decision.day)) if self.incidents else directory
            said = with_incidents(said, key, then, policies)
            ruling = decision.ruling(number, told, assess(self.brand, told, then, policies, said), said)
            said = said._replace(rulings=(*said.rulings, ruling))
        return with_incidents(said, key, directory, policies)


@dataclass(frozen=True)
class Page:
    directory: Directory
    sites: dict[bytes, str]
    cases: tuple[Case, ...]

    def registry(self, case: Case) -> Directory:
        return with_more(self.directory, case.incidents) if case.incidents else self.directory


def read_page(path: Path, beside: Path | None = None) -> Page:
    """`beside`: the page that has the words and the stations, where this one has cases alone."""
    cases_of = list(_tables(path.read_text()))
    tables = cases_of + (list(_tables(beside.read_text())) if beside else [])
    words = {row["中文"]: row["action"] for _, rows in tables for row in rows if "action" in row}
    told = {row["中文"]: row["incident"] for _, rows in tables for row in rows if "incident" in row}
    stations = [row for _, rows in tables for row in rows if "登记自" in row]
    aliases = [row for _, rows in tables for row in rows if "别名" in row]
    people = {row["中文"]: row["code"] for _, rows in tables for row in rows if "code" in row}
    cases = tuple(_case(section, row, words, people, told) for section, rows in cases_of for row in rows if "案例" in row)
    places = {row["站点"] for row in stations} | {row["别名"] for row in aliases} | set(re.findall(r"@([^\s；|]+)", path.read_text()))
    return Page(_directory(stations, aliases), {_site(p): p for p in places}, cases)


def _tables(text: str) -> Iterator[tuple[str, list[Row]]]:
    """(heading above, rows by the Chinese word of their column)."""
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        heading = section.splitlines()[0]
        cells = [[c.strip() for c in line.strip().strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
        while cells:
            header = [c.split()[0] for c in cells[0]]
            end = next((i for i in range(3, len(cells)) if set(cells[i][0]) == {"-"}), len(cells) + 1) - 1
            yield heading, [dict(zip(header, row, strict=True)) for row in cells[2:end]]
            cells = cells[end:]


# the registry of the page


def _moment(text: str) -> datetime:
    """'07-14 09:12', '07-14' or with a year."""
    day, _, clock = text.partition(" ")
    full = day if len(day) == 10 else f"2023-{day}"
    return datetime.fromisoformat(f"{full}T{clock or '00:00'}").replace(tzinfo=SHANGHAI)


def _site(name: str) -> bytes:
    found = site_id(NAMESPACE, None, name)
    assert found
    return found


def _changes(text: str, first: datetime) -> list[tuple[str, datetime, datetime | None]]:
    """'planned, 07-05 open' → what holds from when to when."""
    parts = [part.strip() for part in text.split(",")]
    starts = [(p.rpartition(" ")[2], _moment(p.rpartition(" ")[0]) if " " in p else first) for p in parts]
    ends = [start for _, start in starts[1:]]
    return [(word, start, end) for (word, start), end in zip(starts, [*ends, None], strict=True)]


def _directory(stations: list[Row], aliases: list[Row]) -> Directory:
    divisions = {row["区划"]: row for row in stations}
    operators = {row["企业"] for row in stations} - {"-"}
    return Directory.of(
        [
            *(_division(code, row["类型"], row["站点"]) for code, row in divisions.items()),
            *(_operator(operator_id) for operator_id in operators),
            *(_station(row, [a for a in aliases if a["站点"] == row["站点"]]) for row in stations),
        ]
    )


def _division(code: str, kind: str, name: str) -> Division:
    segment = DivisionSegment(valid_from=DAWN, valid_to=None, name=name, name_en=code, kind=kind, parent_code=None, edition=2023)
    return Division(version=1, code=code, segments=(segment,))


def _operator(operator_id: str) -> Operator:
    return Operator(
        version=1, operator_id=operator_id, segments=(OperatorSegment(valid_from=DAWN, valid_to=None, name=f"企业{operator_id}"),)
    )


def _station(row: Row, aliases: list[Row]) -> Station:
    registered = _moment(row["登记自"])
    code = row["区划"]
    names = [Alias(alias_id="als_0", namespace=NAMESPACE, site_code=None, site_name=row["站点"], valid_from=DAWN, valid_to=None)]
    names += [
        Alias(
            alias_id=f"als_{i}",
            namespace=NAMESPACE,
            site_code=None,
            site_name=a["别名"],
            valid_from=_moment(a["自"]),
            valid_to=None if a["至"] == "-" else _moment(a["至"]),
        )
        for i, a in enumerate(aliases, 1)
    ]
    segments = tuple(
        StationSegment(
            valid_from=start,
            valid_to=end,
            name=row["站点"],
            division_code=code,
            township_code=None if row["级别"] == "county_hub" else code[:9] + "000",
            operator_id=None if row["企业"] == "-" else row["企业"],
            brands=("zto", "yto"),
            operating_status=OperatingStatus(status),
            lat=None,
            lng=None,
        )
        for status, start, end in _changes(row["状态"], registered)
    )
    filings = () if row["备案"] == "-" else (_filing(row["备案"], registered),)
    return Station(version=1, station_id=row["站点"], level=Level(row["级别"]), segments=segments, aliases=tuple(names), filings=filings)


def _filing(text: str, registered: datetime) -> Filing:
    return Filing(
        filing_id="fil_1",
        filer_id="opr_1",
        covers_brands=("zto",),
        authority="运城市邮政管理局",
        opened_on=date(2023, 1, 1),
        submitted_at=None,
        decided_at=None,
        segments=tuple(
            FilingSegment(valid_from=start, valid_to=end, status=FilingStatus(status), receipt_no=None)
            for status, start, end in _changes(text, registered)
        ),
    )


# the cases of the page


def _case(section: str, row: Row, words: dict[str, str], people: dict[str, str], told: dict[str, str]) -> Case:
    day, reasons = row["日期"], row["原因"]
    return Case(
        section=section,
        name=row["案例"],
        brand=row["品牌"],
        events=tuple(_events(row["扫描"], words)),
        outcome=row["结论"].split()[-1],
        reason_codes=() if reasons == "-" else tuple(r.strip() for r in reasons.split(",")),
        paid=row["补贴元"],
        held=row["暂缓元"],
        station=None if row["站点"] == "-" else row["站点"],
        day=None if day == "-" else _moment(day).date(),
        modes=tuple(tuple(part.strip().split("=")) for part in row.get("政策", "-").split("；") if part != "-"),  # type: ignore[misc]
        decisions=tuple(_decision(part.strip(), people) for part in row.get("处理", "-").split("；") if part != "-"),
        incidents=tuple(_incidents(row.get("问题", "-"), row["品牌"], told)),
    )


_DECISION = re.compile(
    r"(?P<word>[^\s（]+)(?:（(?P<reason>\S+)）)?(?P<choices>(?: 选#\w+=\d+)*)(?: 只看前(?P<scans>\d+)条)?(?: 问题只到(?P<day>[\d-]+))?"
)


def _decision(text: str, people: dict[str, str]) -> Decision:
    match = _DECISION.fullmatch(text)
    assert match, f"cannot read the decision {text!r}"
    choices = tuple((_event_id(label), int(n)) for label, n in re.findall(r"选#(\w+)=(\d+)", match["choices"]))
    reason = people[match["reason"]] if match["reason"] else None
    scans, day = int(match["scans"]) if match["scans"] else None, _moment(match["day"]) if match["day"] else None
    return Decision(Word(people[match["word"]]), reason, choices, scans, day)


def _incidents(text: str, brand: str, told: dict[str, str]) -> Iterator[Incident]:
    """'违规收费 本件：07-16 待受理，07-20 属实；弄虚作假 @上王村：07-10 待受理': kind, what it is about, its steps."""
    for n, item in enumerate((part.strip() for part in text.split("；") if part.strip() != "-"), 1):
        head, _, steps = item.partition("：")
        kind, *about = head.split()
        segments = [
            IncidentSegment(valid_from=start, valid_to=end, status=IncidentStatus(told[word]), due_on=None, note=None)
            for word, start, end in _changes(steps.replace("，", ","), DAWN)
        ]
        yield Incident(
            version=len(segments),
            incident_id=f"inc_{n}",
            kind=IncidentKind(told[kind]),
            source=IncidentSource.COMPLAINT,
            station_id=next((a.removeprefix("@") for a in about if a.startswith("@")), None),
            operator_id=None,
            parcels=(IncidentParcel(brand=brand, waybill_no=WAYBILL),) if "本件" in about else (),
            summary="-",
            segments=tuple(segments),
        )


def until(incidents: Sequence[Incident], day: datetime | None) -> list[Incident]:
    """As they were known before the steps that were taken after that day."""
    known = [(i, tuple(s for s in i.segments if day is None or s.valid_from <= day)) for i in incidents]
    return [msgspec.structs.replace(i, segments=(*s[:-1], msgspec.structs.replace(s[-1], valid_to=None))) for i, s in known if s]


def with_more(directory: Directory, incidents: Sequence[Incident]) -> Directory:
    return Directory.of([*directory.divisions.values(), *directory.operators.values(), *directory.stations.values(), *incidents])


_SCAN = re.compile(r"(?:#(?P<id>\w+) )?(?:v(?P<v>\d+) )?(?P<at>[\d-]+ \d\d:\d\d) (?P<action>\S+)(?P<rest>.*)")


def _events(text: str, words: dict[str, str]) -> Iterator[Event]:
    told: dict[bytes, int] = {}
    for i, item in enumerate(text.split("；")):
        match = _SCAN.fullmatch(item.strip())
        assert match, f"cannot read the scan {item!r}"
        event_id = _event_id(match["id"]) if match["id"] else bytes([i]).rjust(16, b"\0")
        told[event_id] = told.get(event_id, 0) + 1
        event = Event(
            event_id, bytes([told[event_id]]) * 32, 1, "gongpei", words[match["action"]], _moment(match["at"]), None, None, None, None
        )
        if match["v"]:
            event = event._replace(content=sha256(event_id).digest(), mapping_version=int(match["v"]))
        for option in match["rest"].split():
            event = _with(event, option, words)
        yield event


def _with(event: Event, option: str, words: dict[str, str]) -> Event:
    name, _, value = option.partition("=")
    match name:
        case "撤销":
            return event._replace(retracts_event_id=_event_id(value.removeprefix("#")))
        case "撤销上次":
            return event._replace(retracts_previous_action=words[value])
        case "来源":
            return event._replace(feed=value)
        case "始发":
            return event._replace(origin=value)
    assert name.startswith("@"), f"cannot read {option!r}"
    return event._replace(site=_site(name[1:]))


def _event_id(label: str) -> bytes:
    return label.encode().rjust(16, b"\xf0")


def shown(outcome: str | None, reason_codes: tuple[str, ...], net_fen: int, held_fen: int, station: str | None, day: date | None) -> Case:
    """A result in the page's own terms, to be compared with a case."""
    return Case("", "", "", (), outcome or "in_transit", reason_codes, yuan(net_fen), yuan(held_fen), station, day)


def expected(case: Case) -> Case:
    return replace(case, section="", name="", brand="", events=(), modes=(), decisions=(), incidents=())
