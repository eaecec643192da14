"""A trace in plain words, Chinese or English: the same sentences in the same order, so that the two can be read side by side."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import product
from typing import Literal, NamedTuple

from shared.calendar import SHANGHAI
from shared.contracts.registry import MerchantKind
from shared.money import yuan
from shared.standing import Directory, at

from . import wording
from .facts import FactValue
from .fold import Assessment, Deciding
from .incidents import told_incidents
from .policy import FLAT, FREIGHT, Basis, Outcome
from .said import Declared
from .trace import Alternative, Line, Role, Seen, Step, Trace

Lang = Literal["zh", "en"]


class Posted(NamedTuple):
    """One payout of the parcel, as the books have it. A reversal's reasons are those of the assessment that it made way for."""

    kind: str
    amount_fen: int
    posted_at: datetime
    reason_codes: Sequence[str]
    beneficiary_id: str
    station_id: str | None  # null: uplink, from a place that is no registered station
    service_date: date
    policy_version: str
    seq: int  # of the parcel's lines
    reverses: int | None = None  # seq of the line that it takes back
    adjusts: int | None = None  # seq of the accrual that a cap, vesting or adjustment belongs to


class Standing(NamedTuple):
    """What of the posted lines stands: the accrual, and what closings took from it or gave back."""

    live: Posted | None
    adjustments: tuple[Posted, ...]

    @property
    def adjusted_fen(self) -> int:
        return sum(a.amount_fen for a in self.adjustments)


def standing(payouts: Sequence[Posted]) -> Standing:
    reversed_ = {p.reverses for p in payouts}
    left = [p for p in payouts if p.reverses is None and p.seq not in reversed_]
    live = next((p for p in left if p.kind == "accrual"), None)
    return Standing(live, tuple(p for p in left if live and p.adjusts == live.seq))


class Ruled(NamedTuple):
    """What one person did with a hold of the parcel."""

    decision: str
    reason_code: str  # of the hold
    said_by: str
    said_at: datetime
    note: str


def merchant_name(directory: Directory, merchant_id: str, moment: datetime) -> str | None:
    """None also for an individual business (个体工商户): its name is its owner's, and is not told."""
    merchant = directory.merchants.get(merchant_id)
    segment = (at(merchant.segments, moment) or merchant.segments[-1]) if merchant else None
    return segment.name if segment and segment.kind is MerchantKind.ENTERPRISE else None


class Names:
    """What operators, divisions, stations and sites are called at a moment; a code that the registry does not know stands for itself.

    `sites`: site id → the name or code as its sender wrote it, which the fold never sees.
    """

    def __init__(self, directory: Directory, moment: datetime, sites: Mapping[bytes, str] | None = None) -> None:
        self._directory, self._moment, self._sites = directory, moment, sites or {}

    def site(self, site: bytes) -> str | None:
        return self._sites.get(site)

    def station(self, station_id: str) -> str:
        station = self._directory.stations.get(station_id)
        segment = at(station.segments, self._moment) if station else None
        return segment.name if segment else station_id

    def operator(self, operator_id: str) -> str:
        operator = self._directory.operators.get(operator_id)
        segment = at(operator.segments, self._moment) if operator else None
        return segment.name if segment else operator_id

    def beneficiary(self, beneficiary_id: str) -> str:
        """An operator, or a merchant."""
        if beneficiary_id in self._directory.merchants:
            return merchant_name(self._directory, beneficiary_id, self._moment) or beneficiary_id
        return self.operator(beneficiary_id)

    def division(self, code: str, lang: Lang) -> str:
        division = self._directory.divisions.get(code)
        segment = at(division.segments, self._moment) if division else None
        if segment is None:
            return code
        return segment.name if lang == "zh" else segment.name_en


def text(trace: Trace, names: Names, lang: Lang, payouts: Sequence[Posted] = (), rulings: Sequence[Ruled] = ()) -> str:
    """One sentence a line. `payouts`: the parcel's, in order of posting; they tell whether it was reversed. `rulings`: in their order."""
    return "\n".join(_lines(trace, names, lang, payouts, rulings))


def _lines(trace: Trace, names: Names, lang: Lang, payouts: Sequence[Posted], rulings: Sequence[Ruled]) -> Iterator[str]:
    stands = standing(payouts)
    yield _result(trace, names, lang, trace.assessment.net_fen + stands.adjusted_fen)
    if rulings:
        yield _say(lang, "ruled", each=_separator(lang).join(_ruling(trace, r, lang) for r in rulings))
    if payouts and stands.live is None:
        accrued = {p.seq for p in payouts if p.kind == "accrual"}
        last = max((p for p in payouts if p.reverses in accrued), key=lambda p: p.seq)
        taken_fen = sum(p.amount_fen for p in payouts if p.posted_at == last.posted_at and p.reverses is not None)
        yield _say(lang, "reversed", posted=yuan(taken_fen), why=_why(trace, names, lang, payouts, last))
    if trace.variants:
        yield _say(lang, "variants", each=_separator(lang).join(_variant(v, names, lang) for v in trace.variants))
    if trace.released:
        yield _say(lang, "released", each=_variant(trace.released, names, lang))
    if trace.deciding:
        yield from _scan(trace, trace.deciding, names, lang)
    if trace.declared:
        yield _declared(trace.declared, names, lang)
    if scans := _scans(trace, names, lang):
        yield scans
    if trace.incidents:
        yield _say(lang, "incidents", each=_separator(lang).join(told_incidents(trace.incidents, lang)))
    if trace.policy and trace.assessment.decision:
        yield _say(lang, "clauses", policy=trace.policy.policy_version)
        yield from (_clause(n, step, lang) for n, step in enumerate(trace.steps, 1))
    if trace.arithmetic:
        lines = "".join(_line(line, lang) for line in trace.arithmetic) + "".join(_adjusted(trace, a, lang) for a in stands.adjustments)
        yield _say(lang, "arithmetic", lines=lines, net=yuan(trace.assessment.net_fen + stands.adjusted_fen))
    if trace.declared and trace.policy and (uplink := trace.policy.uplink) and trace.assessment.service_date:
        year, sales, cap = str(trace.assessment.service_date.year), yuan(uplink.min_sales_fen), yuan(uplink.cap_fen)
        yield _say(lang, "unvested", year=year, parcels=str(uplink.min_parcels), sales=sales, cap=cap)
    yield from (_alternative(trace, other, lang) for other in trace.alternatives)
    if payouts:
        yield _history(trace, names, lang, payouts)


def _result(trace: Trace, names: Names, lang: Lang, net_fen: int) -> str:
    assessment = trace.assessment
    if assessment.outcome is None:
        return _say(lang, "in_transit")
    beneficiary = names.beneficiary(assessment.beneficiary_id) if assessment.beneficiary_id else _say(lang, "nobody")
    return _say(
        lang,
        assessment.outcome,
        net=yuan(net_fen),
        held=yuan(assessment.held_fen),
        beneficiary=beneficiary,
        day=str(assessment.service_date),
        reasons=_reasons(trace, lang),
        sample=_say(lang, "sample") if _is_sample(trace) and assessment.amount_fen else "",
    )


def _is_sample(trace: Trace) -> bool:
    """It is the downlink rates that nobody has published."""
    return trace.policy is not None and trace.policy.rates_status == "sample" and trace.assessment.direction != "uplink"


def _reasons(trace: Trace, lang: Lang) -> str:
    """The fold's own reasons have their words; a clause's reason is that its title is not met."""
    if trace.assessment.outcome is Outcome.PAYABLE:
        return ""
    known = wording.REASONS[lang]
    titles = {step.clause.reason_code: step.clause.title[lang] for step in trace.steps}
    told = (known[code] if code in known else _say(lang, "clause_reason", title=titles[code]) for code in trace.assessment.reason_codes)
    return ("" if lang == "zh" else " ").join(told)


def _scan(trace: Trace, deciding: Deciding, names: Names, lang: Lang) -> Iterator[str]:
    event, standing = deciding
    if standing is None:
        place = (names.site(event.site) if event.site else None) or _say(lang, "no_place")
        yield _say(
            lang, "deciding", at=_moment(event.scanned_at), place=place, action=_action(event.action, lang), brand=_brand(trace, lang)
        )
        return
    brand = wording.BRANDS[lang].get(trace.brand, trace.brand)
    township = names.division(standing.township_code, lang) if standing.township_code else ""
    place = f"{township}{standing.name}" if lang == "zh" else ", ".join(part for part in (standing.name, township) if part)
    yield _say(lang, "deciding", at=_moment(event.scanned_at), place=place, action=wording.ACTIONS[lang][event.action], brand=brand)
    yield _say(
        lang,
        "standing",
        level=wording.LEVELS[lang][standing.level],
        status=wording.STATUSES[lang][standing.operating_status],
        filed=_say(lang, "filed" if standing.filed else "unfiled", brand=brand),
    )


def _brand(trace: Trace, lang: Lang) -> str:
    return wording.BRANDS[lang].get(trace.brand, trace.brand)


def _action(action: str, lang: Lang) -> str:
    return wording.ACTIONS[lang].get(action, action)


def _declared(declared: Declared, names: Names, lang: Lang) -> str:
    """The row that it was judged by; its order number is the merchant's business."""
    return _say(
        lang,
        "declared",
        declaration=declared.declaration_id,
        row=str(declared.row_no),
        merchant=names.beneficiary(declared.merchant_id),
        platform=declared.platform,
        product=declared.product,
        destination=declared.destination,
        freight=yuan(declared.freight_fen),
    )


def _clause(n: int, step: Step, lang: Lang) -> str:
    cited = step.clause.citation
    how = cited.how[lang] if cited.how else ""
    section = (" " + cited.section) if cited.section else ""
    if cited.basis is Basis.QUOTED:
        basis = _say(lang, "quoted", document=cited.document or "", section=cited.section or "", quote=cited.quote or "")
    else:
        basis = _say(lang, cited.basis, document=cited.document or "", section=section, how=how)
    return _say(lang, "clause", n=str(n), title=step.clause.title[lang], result=wording.RESULTS[lang][step.result], basis=basis)


def _line(line: Line, lang: Lang) -> str:
    if not line.when:
        return _say(lang, "line_uplink", rate=_uplink_rate(line.rate_id, lang), amount=yuan(line.amount_fen))
    return _say(lang, "line", rate=line.rate_id, tier=tier_words(line.when, lang), amount=yuan(line.amount_fen))


def _adjusted(trace: Trace, posted: Posted, lang: Lang) -> str:
    """What a closing did to the line, and why."""
    why = _separator(lang).join(_word(trace, lang, posted, code) for code in posted.reason_codes)
    return _say(lang, "adjusted", kind=wording.KINDS[lang][posted.kind], why=why, amount=yuan(posted.amount_fen))


def _alternative(trace: Trace, other: Alternative, lang: Lang) -> str:
    condition = wording.ALTERNATIVES[lang][other.fact].format(day=_day(other.on, lang))
    if trace.assessment.outcome is Outcome.HELD:
        return _say(lang, "alternative_held", condition=condition, amount=yuan(other.amount_fen))
    sentence = "alternative_more" if other.difference_fen > 0 else "alternative_less"
    return _say(lang, sentence, condition=condition, difference=str(abs(other.difference_fen)), amount=yuan(other.amount_fen))


def _day(day: date, lang: Lang) -> str:
    return f"{day.year}年{day.month}月{day.day}日" if lang == "zh" else f"{day.day} {wording.MONTHS[day.month - 1]} {day.year}"


def tier_words(when: Mapping[str, FactValue], lang: Lang) -> str:
    """`village, not filed, far`: what a rate is for."""
    return ("、" if lang == "zh" else ", ").join(wording.TIERS[lang][fact, value] for fact, value in when.items())  # type: ignore[index]


def _variant(variant: Assessment, names: Names, lang: Lang) -> str:
    where = _say(lang, "where", place=names.station(variant.station_id)) if variant.station_id else ""
    outcome = wording.OUTCOMES[lang][variant.outcome or "in_transit"]
    return _say(lang, "variant", outcome=outcome, amount=yuan(variant.amount_fen), where=where, day=str(variant.service_date or "-"))


MAX_SCANS = 8  # that are told; the rest is in the evidence


def _scans(trace: Trace, names: Names, lang: Lang) -> str | None:
    """Where something else than a clause decided, the scans that it lies in."""
    outcome, reasons = trace.assessment.outcome, trace.assessment.reason_codes
    by_scans = outcome in (Outcome.PENDING, Outcome.HELD, Outcome.REFUSED) and any(code in wording.REASONS[lang] for code in reasons)
    told = [s for s in trace.seen if s.event.action in wording.ACTIONS[lang] and not s.event.is_retraction]
    if not by_scans or not told:
        return None
    return _say(lang, "scans", each=_separator(lang).join(_seen(s, names, lang) for s in told[:MAX_SCANS]))


def _seen(seen: Seen, names: Names, lang: Lang) -> str:
    event = seen.event
    name = names.site(event.site) if event.site else None
    place = names.station(seen.station_id) if seen.station_id else name
    mark = _say(lang, seen.role) if seen.role in (Role.RETRACTED, Role.CONTESTED) else ""
    if event.site and not seen.station_id:
        mark += _say(lang, "unmapped")
    where = _say(lang, "where", place=place) if place else ""
    return _say(lang, "scan", at=_moment(event.scanned_at), action=wording.ACTIONS[lang][event.action], where=where, mark=mark)


def _moment(moment: datetime) -> str:
    return moment.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


def _history(trace: Trace, names: Names, lang: Lang, payouts: Sequence[Posted]) -> str:
    each = _separator(lang).join(
        _say(
            lang,
            "entry",
            at=_moment(p.posted_at),
            kind=wording.KINDS[lang].get(p.kind, p.kind),
            amount=yuan(p.amount_fen),
            why=_say(lang, "entry_why", why=_why(trace, names, lang, payouts, p)),
        )
        for p in payouts
    )
    return _say(lang, "history", each=each, net=yuan(sum(p.amount_fen for p in payouts)))


def _why(trace: Trace, names: Names, lang: Lang, payouts: Sequence[Posted], posted: Posted) -> str:
    """Why a line was posted. One that made way for another line in the same batch (its reason is a rate) is told by what differs."""
    old = next((p for p in payouts if p.seq == posted.reverses), None)
    if old and old.adjusts is not None:
        return _say(lang, "with_its_line", kind=wording.KINDS[lang][old.kind])
    new = next((p for p in payouts if p.seq > posted.seq and p.kind == "accrual"), None)
    if old and new and _rate(posted):
        return _separator(lang).join(_differences(trace, names, lang, old, new))
    return _separator(lang).join(_word(trace, lang, posted, code) for code in posted.reason_codes)


def _differences(trace: Trace, names: Names, lang: Lang, old: Posted, new: Posted) -> Iterator[str]:
    if old.station_id != new.station_id:
        was_at, now_at = (names.station(s) if s else _say(lang, "no_place") for s in (old.station_id, new.station_id))
        yield _say(lang, "new_station", old=was_at, new=now_at)
    if old.beneficiary_id != new.beneficiary_id:
        yield _say(lang, "new_beneficiary", old=names.beneficiary(old.beneficiary_id), new=names.beneficiary(new.beneficiary_id))
    if old.service_date != new.service_date:
        yield _say(lang, "new_day", old=str(old.service_date), new=str(new.service_date))
    was, now = _when(trace, old), _when(trace, new)
    if was != now:
        same_place = (old.station_id, old.service_date) == (new.station_id, new.service_date)
        filing_only = same_place and {fact for fact, _ in was.items() ^ now.items()} == {"filed"}
        yield _say(lang, "new_filing" if filing_only else "new_tier", old=_tier(trace, old, lang), new=_tier(trace, new, lang))
    elif old.amount_fen != new.amount_fen and (_rate(old), _rate(new)) in _UPLINK_PAIRS:
        yield _say(lang, "new_freight", old=yuan(old.amount_fen), new=yuan(new.amount_fen))
    elif old.amount_fen != new.amount_fen:
        yield _say(lang, "new_amount", old=yuan(old.amount_fen), new=yuan(new.amount_fen))


_UPLINK_PAIRS = frozenset(product((FLAT, FREIGHT), repeat=2))
RATE = "rate."  # begins the reason code of whatever is paid; the rate's id follows


def _rate(posted: Posted) -> str | None:
    return next((code.removeprefix(RATE) for code in posted.reason_codes if code.startswith(RATE)), None)


def _when(trace: Trace, posted: Posted) -> Mapping[str, FactValue]:
    """What the tier asks for by whose rate a line was posted: its policy's, and a reversal's may be another policy's."""
    policies = (trace.policies.version(posted.policy_version), *trace.policies.versions)
    return next((tier.when for policy in policies for tier in policy.tiers if tier.rate_id == _rate(posted)), {})  # {}: an uplink rate


def _ruling(trace: Trace, ruled: Ruled, lang: Lang) -> str:
    decision, reason = wording.RULINGS[lang][ruled.decision], _reason(trace, lang, ruled.reason_code)
    return _say(lang, "ruling", at=_moment(ruled.said_at), by=ruled.said_by, decision=decision, reason=reason, note=ruled.note)


def _word(trace: Trace, lang: Lang, posted: Posted, code: str) -> str:
    """Why a line was posted, in a few words."""
    if not code.startswith(RATE):
        return _reason(trace, lang, code)
    return _say(lang, "tier", tier=_tier(trace, posted, lang))


def _tier(trace: Trace, posted: Posted, lang: Lang) -> str:
    """What the rate of a line is for."""
    when = _when(trace, posted)
    return tier_words(when, lang) if when else _uplink_rate(_rate(posted) or "", lang)


def _uplink_rate(rate_id: str, lang: Lang) -> str:
    return wording.UPLINK_RATES[lang].get(rate_id, rate_id)


def _reason(trace: Trace, lang: Lang, code: str) -> str:
    """A reason code in a few words: what happened, without what to do next."""
    if code in wording.REASONS[lang]:
        told = wording.REASONS[lang][code]
    else:
        clauses = (clause for policy in trace.policies.versions for clause in policy.clauses)
        told = _say(lang, "clause_reason", title=next(c.title[lang] for c in clauses if c.reason_code == code))
    return told.partition("。" if lang == "zh" else ". ")[0].removesuffix(".")


def _separator(lang: Lang) -> str:
    return "；" if lang == "zh" else "; "


def _say(lang: Lang, sentence: str, **values: str) -> str:
    return wording.SENTENCES[lang][sentence].format_map(values)
