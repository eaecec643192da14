"""Verdicts of one commit: which events are new, which were told before, which are told differently now.

The database answers two questions by inserting (which event ids, which other contents were new); everything else is decided here.
Candidates are in order of arrival; of two in the same commit the first is the earlier one.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

Candidate = tuple[bytes, bytes]  # (event id, content)
Verdict = Literal["accepted", "duplicate", "conflict"]
VERDICTS = ("accepted", "duplicate", "conflict", "quarantined", "rejected")  # of an item; the last two are of those that cannot be read


def first_contents(candidates: Sequence[Candidate]) -> dict[bytes, bytes]:
    """What to offer as new events: the first content of each id, sorted by id, so that concurrent commits lock in one order."""
    first = dict(reversed(candidates))
    return {event: first[event] for event in sorted(first)}


def known_contents(first: Mapping[bytes, bytes], stored: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The content under which each event stands in the event table after the first insert; `stored`: of those that were there before."""
    return {**first, **stored}


def other_contents(candidates: Sequence[Candidate], known: Mapping[bytes, bytes]) -> list[Candidate]:
    """What to offer as further versions, sorted."""
    return sorted({candidate for candidate in candidates if known[candidate[0]] != candidate[1]})


def decide(
    candidates: Sequence[Candidate], known: Mapping[bytes, bytes], new: Collection[bytes], new_versions: Collection[Candidate]
) -> list[Verdict]:
    """New event: accepted. Other content, new: conflict. All else: duplicate. Each is new once, for the first that tells it."""
    events, versions = set(new), set(new_versions)
    verdicts: list[Verdict] = []
    for candidate in candidates:
        event, content = candidate
        if known[event] == content:
            verdicts.append("accepted" if event in events else "duplicate")
            events.discard(event)
        else:
            verdicts.append("conflict" if candidate in versions else "duplicate")
            versions.discard(candidate)
    return verdicts
