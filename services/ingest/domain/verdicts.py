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
    first: dict[bytes, bytes] = {}
    for event, content in candidates:
        first.setdefault(event, content)
    return dict(sorted(first.items()))


def known_contents(first: Mapping[bytes, bytes], new: Collection[bytes], stored: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The content under which each event stands in the event table after the first insert."""
    return {event: content if event in new else stored[event] for event, content in first.items()}


def other_contents(candidates: Sequence[Candidate], known: Mapping[bytes, bytes]) -> list[Candidate]:
    """What to offer as further versions, sorted."""
    return sorted({(event, content) for event, content in candidates if known[event] != content})


def decide(
    candidates: Sequence[Candidate], known: Mapping[bytes, bytes], new: Collection[bytes], new_versions: Collection[Candidate]
) -> list[Verdict]:
    """New event: accepted. Other content, new: conflict. All else: duplicate. Each is new once, for the first that tells it."""
    seen: set[Candidate] = set()
    verdicts: list[Verdict] = []
    for candidate in candidates:
        event, content = candidate
        if candidate in seen:
            verdicts.append("duplicate")
            continue
        seen.add(candidate)
        if known[event] == content:
            verdicts.append("accepted" if event in new else "duplicate")
        else:
            verdicts.append("conflict" if candidate in new_versions else "duplicate")
    return verdicts
