"""Of one feed, how much of what came last could not be read. Pure.

When most of it cannot, the mistake is in a release, theirs or ours, and not in the scans: the feed is told "later" instead of having all of
it put aside, and one push in a while is let through to see whether it is over.
"""

from collections import deque

WINDOW = 200  # items that are looked back at
LEAST = 100  # of them must have come before anything is concluded
LIMIT = 0.5
PROBE_S = 30.0


class Share:
    def __init__(self) -> None:
        self._recent: deque[tuple[int, int]] = deque()  # (unreadable, items) of each push
        self._unreadable = self._items = 0
        self._probe_at: float | None = None  # None: everything is let through

    @property
    def tripped(self) -> bool:
        return self._probe_at is not None

    def refuses(self, now: float) -> bool:
        """Whether a push must come later. Every PROBE_S one is let through."""
        if self._probe_at is None:
            return False
        if now < self._probe_at:
            return True
        self._probe_at = now + PROBE_S
        return False

    def told(self, unreadable: int, items: int, now: float) -> bool:
        """After a push that was read. -> whether the state changed."""
        before = self.tripped
        if self.tripped and unreadable <= LIMIT * items:
            self._recent.clear()
            self._unreadable = self._items = 0
            self._probe_at = None
            return True
        self._recent.append((unreadable, items))
        self._unreadable, self._items = self._unreadable + unreadable, self._items + items
        while self._items - self._recent[0][1] >= WINDOW:
            bad, all_ = self._recent.popleft()
            self._unreadable, self._items = self._unreadable - bad, self._items - all_
        if not before and self._items >= LEAST and self._unreadable > LIMIT * self._items:
            self._probe_at = now + PROBE_S
        return self.tripped != before
