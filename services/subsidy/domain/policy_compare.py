"""Two policies over the same evidence: what each would pay, and for whom it differs. Gross: nothing here reads or writes the books."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

from .fold import Assessment
from .policy import Outcome, Policies, Policy

_ALWAYS = {"valid_from": datetime.min.replace(tzinfo=UTC), "valid_to": datetime.max.replace(tzinfo=UTC)}


class Sums(NamedTuple):
    """Of some parcels under one policy."""

    payable: int = 0
    fen: int = 0
    held_fen: int = 0

    def plus(self, a: Assessment) -> "Sums":
        return Sums(self.payable + (a.outcome is Outcome.PAYABLE), self.fen + a.net_fen, self.held_fen + a.held_fen)

    @property
    def average(self) -> str:
        """Yuan per paid parcel, to a hundredth of a fen, cut off: for people; nothing computes with it."""
        if not self.payable:
            return "-"
        whole, rest = divmod(self.fen * 100 // self.payable, 10_000)
        return f"{whole}.{rest:04}"


class Difference(NamedTuple):
    parcels: int
    old: Sums
    new: Sums


NOTHING = Difference(0, Sums(), Sums())
GROUPS = ("township", "station", "brand", "reason")


@dataclass
class Comparison:
    """`groups`: group → key → difference. The key of `reason` is what the old policy says and what the new one says, where they differ."""

    total: Difference = NOTHING
    groups: Mapping[str, dict[str, Difference]] = field(default_factory=lambda: {g: defaultdict(lambda: NOTHING) for g in GROUPS})
    worse: int = 0  # parcels that the old policy pays and the new one does not, or pays less: 不退坡 on this evidence
    same_fen: int = 0  # what the new policy pays for the parcels that the old one pays

    def add(self, brand: str, old: Assessment, new: Assessment) -> None:
        """One parcel under both."""
        self.total = _add(self.total, old, new)
        keys = {"township": old.township_code or "-", "station": old.station_id or "-", "brand": brand}
        if old.reason_codes != new.reason_codes:
            keys["reason"] = f"{' '.join(old.reason_codes)} → {' '.join(new.reason_codes)}"
        for group, key in keys.items():
            self.groups[group][key] = _add(self.groups[group][key], old, new)
        if old.outcome is Outcome.PAYABLE:
            self.worse += new.net_fen < old.net_fen
            self.same_fen += new.net_fen

    @property
    def steps_back(self) -> bool:
        """No tier, no eligibility and no average below the old policy's (垣发改字〔2023〕30号, 二), as `policy check` has it: the average
        is that of the parcels that the old policy pays. A policy that pays more parcels, at lower rates, takes nothing from anybody."""
        return bool(self.worse) or self.same_fen < self.total.old.fen


def as_if_in_force(policy: Policy) -> Policies:
    """The policy alone, at all times: the comparison asks what it would say of evidence that another one decides."""
    return Policies([replace(policy, **_ALWAYS)])  # type: ignore[arg-type]


def headroom_fen(policy: Policy, sums: Sums) -> int | None:
    """Under the ceiling on the average, before any close; negative: what a close would take. None: the policy has no ceiling."""
    limit = next((c.limit_fen_per_parcel for c in policy.ceilings if c.scheme == "downlink"), None)
    return None if limit is None else limit * sums.payable - sums.fen


def _add(to: Difference, old: Assessment, new: Assessment) -> Difference:
    return Difference(to.parcels + 1, to.old.plus(old), to.new.plus(new))
