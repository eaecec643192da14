"""What the registry's incidents 服务质量问题 say of one parcel, where a policy reads it (docs/rules.md, facts). Pure.

Whether one holds money is the policy's business alone; the option and its reasons: docs/policies.md, docs/decisions/0017.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from shared.calendar import SHANGHAI
from shared.contracts.registry import Incident, IncidentStatus
from shared.standing import Directory, at

from . import wording
from .facts import ABOUT, NAMING, Found
from .policy import Decision, Policies, Policy, Result
from .said import Said

ENDED = frozenset({IncidentStatus.UNFOUNDED, IncidentStatus.CLOSED})


class Behind(NamedTuple):
    """An incident that stands behind a fact."""

    fact: str
    incident: Incident
    status: IncidentStatus  # `status_of` it; an unfounded one counts for nothing and is only told


def with_incidents(said: Said, key: bytes, directory: Directory, policies: Policies) -> Said:
    """What is said of a parcel (`key`: shared.identity.parcel_key), with the incidents that name it where any policy asks."""
    return said._replace(incidents=directory.incidents_naming(key)) if policies.incidents else said


def status_of(incident: Incident) -> IncidentStatus:
    """That of its last step: a complaint comes after the scan, so what it was at the scan says nothing. One that was closed as unfounded
    stays unfounded; `closed` is left to what was true and dealt with."""
    statuses = [s.status for s in incident.segments]
    if statuses[-1] is IncidentStatus.CLOSED and statuses[-2:-1] == [IncidentStatus.UNFOUNDED]:
        return IncidentStatus.UNFOUNDED
    return statuses[-1]


def lasted(incident: Incident, moment: datetime) -> bool:
    """From its beginning until it was unfounded or closed, and again from where it was taken up anew."""
    segment = at(incident.segments, moment)
    return segment is not None and segment.status not in ENDED


def behind(
    reads: Sequence[str], naming: Sequence[Incident], station_id: str | None, moment: datetime, directory: Directory
) -> tuple[Behind, ...]:
    """Of the facts in `reads`: the incidents that name the parcel, and those about its station that lasted at the moment that decides."""
    about = [i for i in directory.incidents_about(station_id) if lasted(i, moment)] if station_id else ()
    of = {NAMING: naming, ABOUT: about}
    return tuple(
        Behind(fact, i, status_of(i)) for fact in reads for root, _, kind in [fact.partition(".")] for i in of[root] if i.kind == kind
    )


def found(stands: Iterable[Behind]) -> Found:
    """The facts that are not empty."""
    statuses: dict[str, set[str]] = {}
    for fact, _, status in stands:
        if status is not IncidentStatus.UNFOUNDED:
            statuses.setdefault(fact, set()).add(str(status))
    return tuple((fact, tuple(sorted(of))) for fact, of in statuses.items())


def held_for(stands: Sequence[Behind], policy: Policy, decision: Decision) -> list[list[str]]:
    """Part of the subject of a hold (rule 14): the incidents that a clause which holds has read, as [id, status], by id.

    Whoever released it has judged these: another one, or a further step of one of them, has to be judged anew.
    """
    if not stands:
        return []
    holding = {clause_id for clause_id, result in decision.results if result is Result.HOLD}
    read = {name for c in policy.clauses if c.clause_id in holding for name in c.reads}
    told = {(b.incident.incident_id, str(b.status)) for b in stands if b.fact in read and b.status is not IncidentStatus.UNFOUNDED}
    return [list(pair) for pair in sorted(told)]


def told_incidents(stands: Sequence[Behind], lang: Literal["zh", "en"]) -> Iterator[str]:
    """Each once, in a few words: which, of what kind, how far it is and since when; never what was written about it."""
    for incident_id, incident in sorted({b.incident.incident_id: b.incident for b in stands}.items()):
        last = incident.segments[-1]
        roots = {b.fact.partition(".")[0] for b in stands if b.incident is incident}
        yield wording.SENTENCES[lang]["incident"].format(
            incident=incident_id,
            kind=wording.INCIDENT_KINDS[lang][incident.kind],
            about=("、" if lang == "zh" else ", ").join(wording.INCIDENT_ABOUT[lang][root] for root in (NAMING, ABOUT) if root in roots),
            status=wording.INCIDENT_STATUSES[lang][last.status],
            since=last.valid_from.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M"),
        )
