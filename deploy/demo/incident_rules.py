"""docs/rules.md, facts about incidents 服务质量问题, once more. Like rules.py it imports nothing of the platform."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

if __package__:
    from deploy.demo.records import Json, Registry, segment
else:  # carried away
    from records import Json, Registry, segment  # type: ignore[import-not-found, no-redef]

KINDS = ("not_delivered_to_address", "illegal_charge", "unconsented_receipt", "false_data")
ENDED = ("unfounded", "closed")
Numbers = tuple[str, str]  # brand, waybill number


def by_parcel(registry: Registry) -> dict[Numbers, list[Json]]:
    """Which incidents name a parcel."""
    found: dict[Numbers, list[Json]] = {}
    for incident in registry.incidents.values():
        for parcel in incident["parcels"]:
            found.setdefault((parcel["brand"], parcel["waybill_no"]), []).append(incident)
    return found


def counts_as(incident: Json) -> str:
    """The status of its last step; what was closed after it was found to be unfounded is that."""
    steps = [s["status"] for s in incident["segments"]]
    return "unfounded" if steps[-2:] == ["unfounded", "closed"] else str(steps[-1])


@dataclass(frozen=True, slots=True)
class Seen:
    """What counts for one parcel, at the event that decides: fact ("incident.false_data") → {incident id: status}."""

    by_fact: Mapping[str, Mapping[str, str]]

    @classmethod
    def at(cls, naming: Iterable[Json], station_id: str | None, moment: datetime, registry: Registry) -> "Seen":
        lasted = [
            i
            for i in registry.incidents.values()
            if i["station_id"] == station_id and station_id and (s := segment(i["segments"], moment)) and s["status"] not in ENDED
        ]
        found: dict[str, dict[str, str]] = {}
        for root, incidents in (("incident", naming), ("station_incident", lasted)):
            for i in incidents:
                if (status := counts_as(i)) != "unfounded":
                    found.setdefault(f"{root}.{i['kind']}", {})[i["incident_id"]] = status
        return cls(found)

    def facts(self) -> Json:
        """As conditions read them: {"incident": {"false_data": ["open"], …}, "station_incident": {…}}."""
        return {
            root: {kind: sorted(set(self.by_fact.get(f"{root}.{kind}", {}).values())) for kind in KINDS}
            for root in ("incident", "station_incident")
        }

    def held_for(self, conditions: Iterable[str]) -> list[list[str]]:
        """Part of the subject of a hold (rule 14): of the facts that the clauses which hold name, the incidents."""
        named = set(re.findall(r"\b(?:station_)?incident\.\w+", " ".join(conditions)))
        pairs = {(i, status) for fact in named for i, status in self.by_fact.get(fact, {}).items()}
        return [list(pair) for pair in sorted(pairs)]
