"""A policy as values: dated, cited clauses, tiers and tables (services/subsidy/policies/), and the one place that decides by them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import msgspec

from .facts import INCIDENTS, AnyFacts, Facts, FactValue, UplinkFacts, by_name, context

DOWNLINK, UPLINK = "downlink", "uplink"


class Outcome(StrEnum):
    PENDING = "pending"  # waits for evidence or a mapping
    PAYABLE = "payable"
    HELD = "held"  # waits for a person
    REFUSED = "refused"


class Basis(StrEnum):
    QUOTED = "quoted"  # the document says so, in these words
    DERIVED = "derived"  # follows from a quoted text; `how` says in which way
    ASSUMPTION = "assumption"  # 项目假设，待县发改局确认


class Mode(StrEnum):
    REQUIRE = "require"  # not true refuses the parcel
    HOLD = "hold"  # not true holds the parcel for a person
    REPORT = "report"  # not true changes nothing and is shown


class Exhaustion(StrEnum):
    """What happens at a close when a scheme's budget of the year is not enough."""

    FIRST_COME = "first_come"  # by service date, then parcel; who comes too late gets nothing
    PRO_RATA = "pro_rata"  # everybody in the month gives a share
    HOLD = "hold"  # as first_come, but what is missing waits for money


class Result(StrEnum):
    PASS = "pass"  # noqa: S105 - the result of a clause, no password
    FAIL = "fail"
    HOLD = "hold"
    WOULD_FAIL = "would_fail"


class PolicyError(ValueError):
    """A policy that must not decide. `code` is stable; `pointer` (JSON Pointer), `line` and `clause_id` say where, if it has a place."""

    def __init__(self, code: str, message: str, *, pointer: str = "", line: int | None = None, clause_id: str | None = None) -> None:
        self.code, self.message, self.pointer, self.line, self.clause_id = code, message, pointer, line, clause_id
        place = ", ".join(
            part
            for part in (f"line {line}" if line else "", f"clause {clause_id}" if clause_id else "", pointer if pointer else "")
            if part
        )
        super().__init__(f"{place}: {message} [{code}]" if place else f"{message} [{code}]")

    @property
    def zh(self) -> str:
        """What is wrong; where, and with which word, the rest of the line says."""
        return REFUSED_ZH.get(self.code, "政策内容有误")


REFUSED_ZH: Mapping[str, str] = {
    "policy.amount.float": "金额必须是整数分",
    "policy.citation.assumption": "假设必须写明假设了什么",
    "policy.citation.missing": "缺少引文出处",
    "policy.citation.unknown_document": "引用的文件没有列在 documents 中",
    "policy.condition.constant": "条件与任何事实都无关",
    "policy.condition.not_bool": "条件的结果必须是真或假",
    "policy.condition.syntax": "条件的写法有误",
    "policy.condition.type": "条件中的类型不符",
    "policy.condition.unknown_fact": "条件用了不存在的事实",
    "policy.county.mixed": "各政策不属于同一个县",
    "policy.facts.too_many": "条件涉及的情形过多，无法逐一核对",
    "policy.file.encoding": "文件不是 UTF-8",
    "policy.file.syntax": "文件不是有效的 TOML",
    "policy.file.too_deep": "文件嵌套过深",
    "policy.file.too_large": "文件过大",
    "policy.golden.fact": "案例用了不存在的事实",
    "policy.key.missing": "缺少必填项",
    "policy.key.unknown": "有不认识的项",
    "policy.reason.reserved": "原因代码已被系统保留",
    "policy.table.foreign": "该表不属于此处",
    "policy.tier.overlap": "同一情形落入两个档次",
    "policy.tier.unreachable": "有永远轮不到的档次",
    "policy.uplink.duplicate": "上行规定重复",
    "policy.uplink.missing": "缺少上行规定",
    "policy.validity.empty": "有效期为空",
    "policy.validity.overlap": "有效期与另一政策重叠",
    "policy.value": "该项的值不合要求",
}


@dataclass(frozen=True, slots=True)
class Document:
    document: str  # its number, e.g. 垣发改字〔2023〕30号
    title: str
    source: str | None = None  # file of its text, beside the policy


@dataclass(frozen=True, slots=True)
class Citation:
    basis: Basis
    document: str | None
    section: str | None
    quote: str | None
    how: Mapping[str, str] | None  # zh, en: of a derived one, how it follows; of an assumption, what is assumed


@dataclass(frozen=True, slots=True)
class Clause:
    clause_id: str
    scheme: str
    mode: Mode
    condition: str  # CEL
    reason_code: str
    title: Mapping[str, str]  # zh, en: what it asks, as a person would say it
    citation: Citation
    reads: tuple[str, ...]  # the facts that the condition names, in the order of the schema
    program: Any = field(compare=False, repr=False)  # cel ships no types; execute(context) -> bool


@dataclass(frozen=True, slots=True)
class Tier:
    rate_id: str
    scheme: str
    when: Mapping[str, FactValue]  # level, filed, distance; what is absent is free
    amount_fen: int

    def matches(self, facts: Facts) -> bool:
        return all(getattr(facts, name) == value for name, value in self.when.items())


@dataclass(frozen=True, slots=True)
class Ceiling:
    """On the average: Σ amounts ≤ limit x parcels, over a closed period."""

    scheme: str
    limit_fen_per_parcel: int
    citation: Citation


@dataclass(frozen=True, slots=True)
class Uplink:
    """What is paid for parcels that leave the county, to whom, and what their year has to come to."""

    at_most_fen: int  # a parcel: less, where its freight is less
    min_parcels: int  # of an applicant in a year, else nothing is paid for that year
    min_sales_fen: int  # the same, of its reviewed online sales
    cap_fen: int  # of an applicant in a year
    registered_before: date  # exclusive: the day of the applicant's market registration
    platforms: tuple[str, ...]
    catalogue: tuple[str, ...]  # a product is in it if its description holds one of these words
    citation: Citation


@dataclass(frozen=True, slots=True)
class Golden:
    """A case that travels with the policy: these facts, whatever the others are, come to this."""

    name: str
    facts: Mapping[str, FactValue]  # as a condition writes them
    outcome: Outcome
    reason_codes: tuple[str, ...]
    amount_fen: int


@dataclass(frozen=True, slots=True)
class Policy:
    policy_version: str
    county_code: str
    valid_from: datetime
    valid_to: datetime  # exclusive
    rates_status: str  # sample | official
    sha256: str  # hex, of the bytes of the file
    documents: tuple[Document, ...]
    clauses: tuple[Clause, ...]
    tiers: tuple[Tier, ...]
    tables: Mapping[str, Mapping[str, str]]
    ceilings: tuple[Ceiling, ...]
    exhaustion: Mapping[str, Exhaustion] = field(default_factory=dict)  # by scheme; where it says nothing, nothing happens
    published_on: date | None = None
    not_below: str | None = None  # the version that 不退坡 compares it with
    golden: tuple[Golden, ...] = ()
    uplink: Uplink | None = None  # None: nothing is paid for uplink parcels
    incidents: Mapping[str, tuple[str, ...]] = field(init=False)  # by scheme, the facts about incidents that its clauses read: mostly none

    def __post_init__(self) -> None:
        read = {scheme: {name for c in self.clauses_of(scheme) for name in c.reads} for scheme in (DOWNLINK, UPLINK)}
        object.__setattr__(self, "incidents", {scheme: tuple(n for n in INCIDENTS if n in names) for scheme, names in read.items()})

    def covers(self, moment: datetime) -> bool:
        return self.valid_from <= moment < self.valid_to

    def distance(self, division_code: str) -> str:
        return self.tables["distance"].get(division_code, "near")

    def clauses_of(self, scheme: str) -> tuple[Clause, ...]:
        return tuple(c for c in self.clauses if c.scheme == scheme)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy says of one assignment of the facts: a row of `decision`, shared by every parcel with these facts."""

    decision_id: bytes  # 16 bytes: of the policy version and the facts
    policy_version: str
    facts: AnyFacts
    outcome: Outcome  # payable, refused or held
    reason_codes: tuple[str, ...]
    amount_fen: int  # of the tier: what is paid, or what a clause holds; of uplink: the most that a parcel can get
    rate_id: str | None
    results: tuple[tuple[str, Result], ...]  # (clause_id, result) in order


FLAT, FREIGHT = "uplink.flat", "uplink.freight"  # rate ids: the most a parcel can get, or its freight, which is less


def decide(policy: Policy, facts: AnyFacts) -> Decision:
    """docs/rules.md 13 and 15, without the operator (who is no fact): clauses in order, then the rate."""
    seen = context(facts, policy.incidents[facts.direction])
    judged = [(clause, clause.program.execute(seen)) for clause in policy.clauses_of(facts.direction)]
    results = tuple((c.clause_id, _result(c.mode, ok)) for c, ok in judged)
    refusals, holds = (tuple(c.reason_code for c, ok in judged if not ok and c.mode is mode) for mode in (Mode.REQUIRE, Mode.HOLD))
    rate_id, amount_fen = (None, 0) if refusals else _rate(policy, facts)
    if refusals:
        outcome, reasons = Outcome.REFUSED, refusals
    elif rate_id is None:
        outcome, reasons = Outcome.HELD, ("policy.no_rate",)
    elif holds:
        outcome, reasons = Outcome.HELD, holds
    else:
        outcome, reasons = Outcome.PAYABLE, (f"rate.{rate_id}",)
    return Decision(decision_id(policy.policy_version, facts), policy.policy_version, facts, outcome, reasons, amount_fen, rate_id, results)


def _rate(policy: Policy, facts: AnyFacts) -> tuple[str | None, int]:
    """The first tier that matches; of uplink the most that there is, whatever the freight (which is no fact)."""
    if isinstance(facts, UplinkFacts):
        return (FLAT, policy.uplink.at_most_fen) if policy.uplink else (None, 0)
    tier = next((t for t in policy.tiers if t.scheme == DOWNLINK and t.matches(facts)), None)
    return (tier.rate_id, tier.amount_fen) if tier else (None, 0)


def decision_id(policy_version: str, facts: AnyFacts) -> bytes:
    return sha256(msgspec.json.encode([policy_version, by_name(facts)])).digest()[:16]


_NOT_TRUE = {Mode.REQUIRE: Result.FAIL, Mode.HOLD: Result.HOLD, Mode.REPORT: Result.WOULD_FAIL}


def _result(mode: Mode, ok: bool) -> Result:
    return Result.PASS if ok else _NOT_TRUE[mode]


class Policies:
    """The versions in force, of one county, at most one for any moment. Decisions are kept: facts are few, parcels are many."""

    def __init__(self, versions: Iterable[Policy] = ()) -> None:
        self.versions = tuple(sorted(versions, key=lambda p: p.valid_from))
        for earlier, later in pairwise(self.versions):
            if later.valid_from < earlier.valid_to:
                raise PolicyError(
                    "policy.validity.overlap",
                    f"{earlier.policy_version} and {later.policy_version} are both in force from {later.valid_from.isoformat()}; "
                    "end one before the other begins",
                )
        if len(counties := {p.county_code for p in self.versions}) > 1:
            raise PolicyError("policy.county.mixed", f"the books are one county's, these policies are of {', '.join(sorted(counties))}")
        self.county_code = self.versions[0].county_code if self.versions else None
        self.county_prefix = self.county_code[:6] if self.county_code else None
        self.incidents = frozenset(name for p in self.versions for names in p.incidents.values() for name in names)  # facts that any reads
        self._decided: dict[tuple[str, AnyFacts], Decision] = {}
        self._by_version = MappingProxyType({p.policy_version: p for p in self.versions})

    def at(self, moment: datetime) -> Policy | None:
        for policy in self.versions:
            if policy.valid_from <= moment < policy.valid_to:
                return policy
        return None

    def uplink_of(self, year: int) -> Uplink | None:
        """What the year asks of an applicant: by the policy with uplink whose days in it begin last."""
        of_year = [p for p in self.versions if p.uplink and p.valid_from.year <= year <= (p.valid_to - timedelta(seconds=1)).year]
        return of_year[-1].uplink if of_year else None

    def version(self, policy_version: str) -> Policy:
        return self._by_version[policy_version]

    def decide(self, policy: Policy, facts: AnyFacts) -> Decision:
        key = policy.policy_version, facts
        if (known := self._decided.get(key)) is None:
            known = self._decided[key] = decide(policy, facts)
        return known
