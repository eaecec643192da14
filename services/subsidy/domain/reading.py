"""One combination of versions, read: what was retracted, where things happened, what voids what (docs/rules.md 3, 5 to 10)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.contracts.registry import Level
from shared.standing import Directory

from .events import CLOSING_ACTIONS, DECIDING_ACTIONS, FINAL_RECEIPTS, KNOWN_ACTIONS, STATION_INBOUND, Event

REUSED_AFTER = timedelta(days=180)
# Beside the deciding ones, the actions that a rule looks at.
_RETURNS = frozenset({"returning", "returned", "refused"})
READ_ACTIONS = _RETURNS | {"picked_up", "arrived", "taken_back", "transferred"}
_NOTHING: frozenset[bytes] = frozenset()


class Reading(NamedTuple):
    """Moments are those of scans; "left" means neither cancelled nor voided."""

    candidates: list[tuple[Event, str | None]]  # inbounds and final receipts left, each with the station that its site maps to
    cancelled: frozenset[bytes] | set[bytes]  # event ids
    voided: frozenset[bytes] | set[bytes]  # event ids of inbounds
    first_closing_ever: datetime | None  # cancelled ones included
    first_closing_left: datetime | None
    reused: bool
    uplink: bool
    hub_arrived: bool
    transferred: bool
    returned: str  # none, or in what way it went back: refused, returning, returned
    final_receipt: bool  # a villager's receipt is left, wherever; a station's own 签收 is none
    unmapped_take_back: bool
    left: Sequence[Event]  # neither retractions nor cancelled

    @property
    def direction(self) -> str:
        return "uplink" if self.uplink else "downlink"


def read(events: Sequence[Event], directory: Directory, county_prefix: str | None) -> Reading:
    """`events`: one version of each event."""
    retractions = [e for e in events if e.retracts_event_id is not None or e.retracts_previous_action is not None]
    told = [e for e in events if not e.is_retraction] if retractions else events
    cancelled = cancelled_by(retractions, told) if retractions else _NOTHING
    left = [e for e in told if e.event_id not in cancelled] if cancelled else told

    candidates: list[tuple[Event, str | None]] = []
    others: dict[str, list[Event]] = {}
    uplink = final_receipt = False
    for event in left:
        action = event.action
        if action in DECIDING_ACTIONS:
            candidates.append((event, directory.station_at(event.site, event.scanned_at)))
            final_receipt = final_receipt or action != STATION_INBOUND
        elif action in READ_ACTIONS:
            others.setdefault(action, []).append(event)
        if event.origin is not None and event.origin[:6] == county_prefix:
            uplink = True

    voided, unmapped = _taken_back(others["taken_back"], candidates, directory) if "taken_back" in others else (_NOTHING, False)
    returned = _returned(others, candidates) if others else "none"
    if voided:
        candidates = [c for c in candidates if c[0].event_id not in voided]
    closing_left = [c[0].scanned_at for c in candidates]
    for action in _RETURNS & others.keys():
        closing_left += [e.scanned_at for e in others[action]]
    first_left = min(closing_left, default=None)
    ever = first_left if not (cancelled or voided) else min((e.scanned_at for e in told if e.action in CLOSING_ACTIONS), default=None)
    return Reading(
        candidates,
        cancelled,
        voided,
        ever,
        first_left,
        _span(left) > REUSED_AFTER,
        uplink or any(_registered(e, directory) for e in others.get("picked_up", ())),
        any(at_hub(e, directory) for e in others.get("arrived", ())),
        "transferred" in others,
        returned,
        final_receipt,
        unmapped,
        left,
    )


def cancelled_by(retractions: Sequence[Event], told: Sequence[Event]) -> set[bytes]:
    """Rule 3: by id first, then by previous action in order of (scanned_at, event_id). `told`: the events that are no retractions."""
    feed_of = {e.event_id: e.feed for e in told}
    cancelled = {r.retracts_event_id for r in retractions if r.retracts_event_id is not None and feed_of.get(r.retracts_event_id) == r.feed}
    by_action = (r for r in retractions if r.retracts_event_id is None)
    for retraction in sorted(by_action, key=lambda r: (r.scanned_at, r.event_id)):
        open_ = [
            e
            for e in told
            if e.event_id not in cancelled
            and e.feed == retraction.feed
            and e.scanned_at <= retraction.scanned_at
            and known_action(e.action) == retraction.retracts_previous_action
        ]
        if open_:
            latest = max(e.scanned_at for e in open_)
            cancelled.add(min(e.event_id for e in open_ if e.scanned_at == latest))
    return cancelled


def known_action(action: str) -> str:
    """A word that we do not know reads as `unknown` (rule 1)."""
    return action if action in KNOWN_ACTIONS else "unknown"


def _taken_back(
    take_backs: Sequence[Event], candidates: Sequence[tuple[Event, str | None]], directory: Directory
) -> tuple[frozenset[bytes] | set[bytes], bool]:
    """Rules 7 and 10: the inbounds that are void, and whether a take-back of one cannot be placed."""
    inbounds = [(e, station) for e, station in candidates if e.action == STATION_INBOUND]
    voided: set[bytes] = set()
    unmapped = False
    for take_back in take_backs:
        at = directory.station_at(take_back.site, take_back.scanned_at)
        before = [(e, station) for e, station in inbounds if e.scanned_at <= take_back.scanned_at]
        if at is None:
            unmapped = unmapped or bool(before)
        else:
            voided |= {e.event_id for e, station in before if station == at}
    return voided, unmapped


def _returned(others: dict[str, list[Event]], candidates: Sequence[tuple[Event, str | None]]) -> str:
    """Rule 9."""
    if "returned" in others:
        return "returned"
    if "returning" in others:
        return "returning"
    if "refused" not in others:
        return "none"
    last_refused = max(e.scanned_at for e in others["refused"])
    followed = any(e.action in FINAL_RECEIPTS and e.scanned_at > last_refused for e, _ in candidates)
    return "none" if followed else "refused"


def _span(left: Sequence[Event]) -> timedelta:
    if not left:
        return timedelta(0)
    moments = [e.scanned_at for e in left]
    return max(moments) - min(moments)


def _registered(event: Event, directory: Directory) -> bool:
    """At a registered station of any level, at the time of the scan (rule 6); the brand does not matter to that."""
    station_id = directory.station_at(event.site, event.scanned_at)
    return station_id is not None and directory.standing(station_id, "", event.scanned_at) is not None


def at_hub(event: Event, directory: Directory) -> bool:
    station_id = directory.station_at(event.site, event.scanned_at)
    return station_id is not None and directory.stations[station_id].level == Level.COUNTY_HUB
