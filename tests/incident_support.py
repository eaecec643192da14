"""The shipped policy with the option about incidents switched on: the clauses that docs/policies.md gives as an example, word for word.
And incidents for it to read, as the registry would publish them."""

import re
from datetime import datetime
from pathlib import Path

from services.subsidy.domain.policy import Policy
from services.subsidy.domain.policy_file import load
from services.subsidy.settings import POLICIES
from shared.contracts.registry import Incident, IncidentKind, IncidentParcel, IncidentSegment, IncidentSource, IncidentStatus

PAGE = Path(__file__).parents[1] / "docs" / "policies.md"


def example() -> str:
    (toml,) = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return str(toml)


def policy_text() -> str:
    """The shipped cases that are paid say nothing of incidents, so they are left out; the example brings its own."""
    shipped = (POLICIES / "yuanqu-2023.1.toml").read_text(encoding="utf-8")
    cases, distances = shipped.index("# --- cases that travel"), shipped.index("# --- distance")
    return f"{shipped[:cases]}{example()}\n{shipped[distances:]}"


def policy(*more: str) -> tuple[Policy, str]:
    """As `activate` takes it; `more`: what is appended."""
    text = "".join((policy_text(), *more))
    return load(text.encode()), text


def incident(
    *steps: tuple[datetime, str],
    waybills: tuple[str, ...] = (),
    station_id: str | None = None,
    kind: str = "false_data",
    incident_id: str = "inc_1",
) -> Incident:
    """`steps`: (when, status); `waybills`: of zto, that it names."""
    ends = [at for at, _ in steps[1:]]
    segments = (
        IncidentSegment(valid_from=at, valid_to=end, status=IncidentStatus(status), due_on=None, note=None)
        for (at, status), end in zip(steps, [*ends, None], strict=True)
    )
    return Incident(
        version=len(steps), incident_id=incident_id, kind=IncidentKind(kind), source=IncidentSource.COMPLAINT, station_id=station_id,
        operator_id=None, parcels=tuple(IncidentParcel(brand="zto", waybill_no=w) for w in waybills), summary="同一天三百件",
        segments=tuple(segments),
    )  # fmt: skip


def clause(scheme: str, mode: str, condition: str, clause_id: str) -> str:
    """One more, to be appended to a file; its reason code is its id."""
    return f'''
[[clauses]]
clause_id = "{clause_id}"
scheme = "{scheme}"
mode = "{mode}"
condition = "{condition}"
reason_code = "{clause_id}"
title = {{ zh = "试条款", en = "A clause to try" }}
basis = "assumption"
how = {{ zh = "假设。", en = "Assumed." }}
'''
