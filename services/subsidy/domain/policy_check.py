"""What a policy file that can be read may still get wrong (`tongcun policy check`). Facts are few: every question is answered by trying.

Reading a file already refuses what cannot be true of any policy (policy_file): types, unknown facts, missing citations, tiers that
overlap. Here is what has to be compared: clauses with each other, facts with tiers, cases with results, quotes with their texts, and a
policy with the one before it (下行补贴不退坡, 垣发改字〔2023〕30号, 二).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from types import MappingProxyType
from typing import NamedTuple

from .conditions import MAX_ASSIGNMENTS, one_of_each
from .facts import INCIDENTS, SCHEMAS, TIER_FACTS, AnyFacts, FactValue, of_names
from .policy import DOWNLINK, UPLINK, Clause, Decision, Golden, Mode, Outcome, Policy, PolicyError, decide


class Finding(NamedTuple):
    """One mistake: a stable code, what it is about (clause, tier, case, document), and what to do, in two languages."""

    code: str
    about: str
    zh: str
    en: str


def check(policy: Policy, before: Policy | None, texts: Mapping[str, str]) -> list[Finding]:
    """All findings. `before`: the policy that `not_below` names; `texts`: document → its text, where it is kept beside the file."""
    policy, before = _remembering(policy), _remembering(before) if before else None
    decisions = [decide(policy, facts) for facts in assignments([policy])]
    uplink = [decide(policy, facts) for facts in assignments([policy], scheme=UPLINK)] if policy.uplink else []
    return [
        *_unreachable_clauses(policy, DOWNLINK, decisions),
        *_unreachable_clauses(policy, UPLINK, uplink),
        *_nothing_to_pay(policy),
        *_unreachable_tiers(policy, decisions),
        *_gaps(decisions),
        *failing_cases(policy),
        *_misquoted(policy, texts),
        *(_steps_back(policy, before) if before else ()),
    ]


def assignments(
    policies: Sequence[Policy], given: Mapping[str, FactValue] = MappingProxyType({}), scheme: str = DOWNLINK
) -> Iterator[AnyFacts]:
    """Every assignment of the facts that any of the policies reads and that is not `given`; those that cannot matter at one value each,
    and those about incidents at one value of each sort that the conditions tell apart."""
    clauses = [c for p in policies for c in p.clauses_of(scheme)]
    read = {name for c in clauses for name in c.reads} | {f"station.{name}" for name in TIER_FACTS}
    tried = {name: values if name in read else values[:1] for name, values in SCHEMAS[scheme].items()}
    for name in read & INCIDENTS.keys():
        tried[name] = one_of_each(name, scheme, [c.condition for c in clauses if name in c.reads])
    ranges = [(given[name],) if name in given else values for name, values in tried.items()]
    count = 1
    for values in ranges:
        count *= len(values)
    if count > MAX_ASSIGNMENTS:
        raise PolicyError(
            "policy.facts.too_many",
            f"the conditions read so many facts that {count} cases would have to be tried; at most {MAX_ASSIGNMENTS} are",
        )
    return (of_names(scheme, dict(zip(tried, values, strict=True))) for values in product(*ranges))


class _Remembered:
    """A condition's program that is asked once for what it reads, not for every case: the cases are many, and differ elsewhere."""

    def __init__(self, clause: Clause) -> None:
        self._program, self._reads = clause.program, [tuple(name.split(".")) for name in clause.reads]
        self._known: dict[tuple[FactValue, ...], bool] = {}

    def execute(self, seen: Mapping[str, Mapping[str, FactValue]]) -> bool:
        read = tuple(seen[root][leaf] for root, leaf in self._reads)
        if read not in self._known:
            self._known[read] = self._program.execute(seen)
        return self._known[read]


def _remembering(policy: Policy) -> Policy:
    return replace(policy, clauses=tuple(replace(c, program=_Remembered(c)) for c in policy.clauses))


def _nothing_to_pay(policy: Policy) -> Iterator[Finding]:
    if policy.uplink is None and policy.clauses_of(UPLINK):
        yield Finding(
            "policy.uplink.missing",
            "uplink",
            "有上行条款，却没有 [uplink] 金额与年度条件，上行件都不会支付：请补上，或删去条款",
            "there are uplink clauses and no [uplink] to say what is paid: add it, or remove them",
        )


def _unreachable_clauses(policy: Policy, scheme: str, decisions: Sequence[Decision]) -> Iterator[Finding]:
    """A clause that refuses or holds decides something only where nothing before it has refused."""
    clauses = policy.clauses_of(scheme) if decisions else ()
    for i, clause in enumerate(clauses):
        if clause.mode is Mode.REPORT or clause.reads == ("parcel.direction",):  # what is always so may be said
            continue
        refusing = {c.clause_id for c in clauses[:i] if c.mode is Mode.REQUIRE}
        failed = [dict(d.results) for d in decisions if dict(d.results)[clause.clause_id] != "pass"]
        if not failed:
            yield Finding(
                "policy.clause.always_met",
                clause.clause_id,
                "条件总是成立，本条永远不起作用：请删去或改写条件",
                "its condition always holds, so it never decides: remove it, or change its condition",
            )
        elif all(any(results[earlier] == "fail" for earlier in refusing) for results in failed):
            yield Finding(
                "policy.clause.unreachable",
                clause.clause_id,
                "凡不符合本条的，前面的条款已经拒付，本条永远不起作用：请删去或改写条件",
                "whatever fails it has been refused by a clause before it, so it never decides: remove it, or change its condition",
            )


def _unreachable_tiers(policy: Policy, decisions: Sequence[Decision]) -> Iterator[Finding]:
    """Whatever it matches is refused."""
    used = {d.rate_id for d in decisions}
    for tier in policy.tiers:
        if tier.scheme == DOWNLINK and tier.rate_id not in used:
            zh, en = "凡适用本档的，条款都已拒付，本档永远用不上：请删去", "whatever it matches has been refused by a clause: remove it"
            yield Finding("policy.tier.unreachable", tier.rate_id, zh, en)


def _gaps(decisions: Sequence[Decision]) -> Iterator[Finding]:
    """Facts that pass every clause and find no rate: the parcel would wait for ever."""
    if all(d.reason_codes == ("policy.no_rate",) for d in decisions if d.outcome is not Outcome.REFUSED):
        return  # no downlink rate at all: what the year pays is not known yet, and is held on purpose
    missing = {tuple((n, getattr(d.facts, n)) for n in TIER_FACTS) for d in decisions if d.reason_codes == ("policy.no_rate",)}
    for facts in sorted(missing, key=str):
        told = ", ".join(f"{name} = {_shown(value)}" for name, value in facts)
        yield Finding(
            "policy.tier.gap",
            told,
            "符合全部条款，却没有适用的档次，快件将一直暂缓：请补一档",
            "passes every clause and finds no tier, so its parcels would be held: add one",
        )


def failing_cases(policy: Policy) -> Iterator[Finding]:
    """The cases that travel with the policy; facts that a case does not name may be anything."""
    for case in policy.golden:
        for d in (decide(policy, facts) for facts in assignments([policy], case.facts, _scheme_of(case))):
            if (d.outcome, d.reason_codes, d.amount_fen) != (case.outcome, case.reason_codes, case.amount_fen):
                got = f"{d.outcome} {' '.join(d.reason_codes)} {d.amount_fen}"
                yield Finding(
                    "policy.golden.failed",
                    case.name,
                    f"实际结果是 {got} 分：请改正案例或条款",
                    f"comes to {got} fen: mend the case, or the clauses",
                )
                break


def _scheme_of(case: Golden) -> str:
    return UPLINK if case.facts.get("parcel.direction") == UPLINK else DOWNLINK


def _misquoted(policy: Policy, texts: Mapping[str, str]) -> Iterator[Finding]:
    cited = [(c.clause_id, c.citation) for c in policy.clauses] + [(f"ceiling {c.scheme}", c.citation) for c in policy.ceilings]
    for about, citation in cited:
        text = texts.get(citation.document or "")
        if text is not None and citation.quote is not None and citation.quote not in text:
            yield Finding(
                "policy.quote.not_found",
                about,
                f"引文在《{citation.document}》中找不到：请逐字核对",
                f"the quote does not stand in {citation.document}: compare it word for word",
            )


def _steps_back(policy: Policy, before: Policy) -> Iterator[Finding]:
    """不退坡 on the same evidence: no tier, no eligibility and no average below the year before."""
    if before.valid_to > policy.valid_from:
        yield Finding(
            "policy.not_below.same_time",
            before.policy_version,
            "用来比较的政策应在本政策生效之前已经期满：请写上一年的政策",
            "the policy that it must not step back behind is still in force when this one begins: name that of the year before",
        )
    worse: dict[tuple[str, str], tuple[int, int]] = {}
    for facts in assignments([policy, before]):
        old, new = decide(before, facts), decide(policy, facts)
        if old.outcome is not Outcome.PAYABLE:
            continue
        if new.outcome is not Outcome.PAYABLE:
            key, pair = ("policy.step_back.eligibility", new.reason_codes[0]), (old.amount_fen, 0)
        elif new.amount_fen < old.amount_fen:
            key, pair = ("policy.step_back.tier", new.rate_id or ""), (old.amount_fen, new.amount_fen)
        else:
            continue
        worse[key] = max(worse.get(key, pair), pair, key=lambda fen: fen[0] - fen[1])  # the worst is told
    for (code, about), (old_fen, new_fen) in sorted(worse.items()):
        zh = f"{before.policy_version} 付 {old_fen} 分，本政策只付 {new_fen} 分：下行补贴不得退坡"
        yield Finding(
            code, about, zh, f"{before.policy_version} pays {old_fen} fen where this pays {new_fen}: the subsidy must not step back"
        )
    limits = {c.scheme: c.limit_fen_per_parcel for c in before.ceilings}
    for ceiling in policy.ceilings:
        limit, now = limits.get(ceiling.scheme), ceiling.limit_fen_per_parcel
        if limit is None:
            zh, en = (
                f"上一政策没有平均上限，本政策设为 {now} 分：平均补贴不得退坡",
                f"the average had no ceiling and now has one of {now} fen: it must not step back",
            )
            yield Finding("policy.step_back.average", f"ceiling {ceiling.scheme}", zh, en)
        elif now < limit:
            zh = f"平均上限由 {limit} 分降为 {now} 分：平均补贴不得退坡"
            en = f"the average may reach {now} fen where it might reach {limit}: it must not step back"
            yield Finding("policy.step_back.average", f"ceiling {ceiling.scheme}", zh, en)
    yield from _average_steps_back(policy, before)


def _average_steps_back(policy: Policy, before: Policy) -> Iterator[Finding]:
    """On the cases that travel with the policy, which stand for the evidence: Σ amounts over the parcels that the year before paid."""
    cases = [next(assignments([policy], case.facts)) for case in policy.golden if _scheme_of(case) == DOWNLINK]
    paid = [facts for facts in cases if decide(before, facts).outcome is Outcome.PAYABLE]
    then, now = (sum(decide(p, f).amount_fen for f in paid if decide(p, f).outcome is Outcome.PAYABLE) for p in (before, policy))
    if now < then:
        zh = f"同样的 {len(paid)} 件，{before.policy_version} 共付 {then} 分，本政策共付 {now} 分：平均补贴不得退坡"
        en = f"{before.policy_version} pays {then} fen for the same {len(paid)} parcels, this {now}: the average must not step back"
        yield Finding("policy.step_back.average", "golden", zh, en)


def _shown(value: FactValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
