"""What the books must come to, as slowly and plainly as docs/rules.md says it: lists and loops, nothing shared with the services.

One operator's two village stations, one filed since a day that may move, parcels of one brand, two months, a ceiling, a budget that
waits (`hold`), holds by hand, incidents that hold or deny, and uplink parcels of one merchant under a cap. Under 200 lines, so that it can
be believed by reading.
"""

from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256

FILED, UNFILED, LIMIT, CAP, MOST = 44, 36, 40, 250, 100


@dataclass
class Line:
    """An accrual: what it was worth, when it counts, the month that it was posted in, and what closings took from it, by reason."""

    waybill: str
    fen: int
    scheme: str
    day: date
    period: str
    taken: dict[str, int] = field(default_factory=dict)  # reason → fen, ≤ 0

    @property
    def left(self) -> int:
        return self.fen + sum(self.taken.values())

    @property
    def key(self) -> bytes:
        return sha256(f"zto|{self.waybill}".encode()).digest()[:16]


@dataclass
class Model:
    """`inbound`: waybill → (day, whether at the station that may be filed); `sent`: waybill → day of its pick-up."""

    inbound: dict[str, tuple[date, bool]] = field(default_factory=dict)
    sent: dict[str, date] = field(default_factory=dict)
    returned: set[str] = field(default_factory=set)
    declared: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    told: dict[str, str] = field(default_factory=dict)  # waybill → the status of the incident of false data that names it
    suspected: tuple[date, str] | None = None  # the station that may be filed: since when, and the status of that incident
    filed_since: date | None = None
    money: int = 0
    closed: str = ""  # the last month that is closed
    live: dict[str, Line] = field(default_factory=dict)
    posted: list[tuple[str, str, int, int]] = field(default_factory=list)  # period, scheme, fen, parcels
    carried: dict[str, int] = field(default_factory=dict)  # scheme → fen, of the last close

    # what each parcel is worth

    def gross(self, waybill: str) -> tuple[int, str, date] | None:
        if waybill in self.returned:
            return None
        if waybill in self.sent:
            return (MOST, "uplink", self.sent[waybill]) if waybill in self.declared and waybill not in self.held else None
        if waybill not in self.inbound or waybill in self.held:
            return None
        day, may_be_filed = self.inbound[waybill]
        if self.told.get(waybill, "unfounded") != "unfounded":
            return None  # open or investigating: held; substantiated and what follows from it: denied
        if may_be_filed and self.suspected and day >= self.suspected[0] and self.suspected[1] in ("open", "investigating"):
            return None
        filed = may_be_filed and self.filed_since is not None and day >= self.filed_since
        return FILED if filed else UNFILED, "downlink", day

    def settle(self) -> None:
        """Post what has changed: the old line back, with what was taken from it, and the new one."""
        for waybill in sorted({*self.inbound, *self.sent, *self.live}):
            worth, line = self.gross(waybill), self.live.get(waybill)
            if line and worth == (line.fen, line.scheme, line.day):
                continue
            if line:
                self.post(self.open(line.day), line.scheme, -line.left, -1)
                del self.live[waybill]
            if worth:
                fen, scheme, day = worth
                self.live[waybill] = Line(waybill, fen, scheme, day, self.open(day))
                self.post(self.open(day), scheme, fen, 1)

    def open(self, day: date) -> str:
        """The month of a day, or the one after the last closed."""
        month = f"{day:%Y-%m}"
        if not self.closed or month > self.closed:
            return month
        year, number = map(int, self.closed.split("-"))
        return f"{year + number // 12}-{number % 12 + 1:02}"

    def post(self, period: str, scheme: str, fen: int, parcels: int) -> None:
        self.posted.append((period, scheme, fen, parcels))

    def total(self, period: str, scheme: str) -> tuple[int, int]:
        """(fen, parcels) posted in a month."""
        of = [(fen, n) for p, s, fen, n in self.posted if (p, s) == (period, scheme)]
        return sum(fen for fen, _ in of), sum(n for _, n in of)

    # closing

    @property
    def next_month(self) -> str | None:
        return min((p for p, *_ in self.posted if p > self.closed), default=None)

    def close(self) -> None:
        month = self.next_month
        assert month, "there is something to close"
        over = self.ceiling(month)
        self.year(month)
        self.budget(month, over)
        self.closed = month

    def take(self, month: str, line: Line, reason: str, fen: int) -> None:
        if fen:
            line.taken[reason] = line.taken.get(reason, 0) + fen
            self.post(month, line.scheme, fen, 0)

    def over(self, month: str) -> int:
        fen, parcels = self.total(month, "downlink")
        return self.carried.get("downlink", 0) + fen - LIMIT * parcels

    def ceiling(self, month: str) -> int:
        """Webster, fen by fen: the next fen comes from the line with the highest a / (2k − 1). -> what earlier months had left over."""
        carried, excess = self.carried.get("downlink", 0), max(0, self.over(month))
        lines = [line for line in self.live.values() if (line.period, line.scheme) == (month, "downlink") and line.left > 0]
        has = {line.waybill: line.left for line in lines}
        gives = dict.fromkeys(has, 0)
        for _ in range(min(excess, sum(has.values()))):

            def before(a: Line, b: Line) -> bool:
                first, second = has[a.waybill] * (2 * gives[b.waybill] + 1), has[b.waybill] * (2 * gives[a.waybill] + 1)
                return (first, has[a.waybill], b.key) > (second, has[b.waybill], a.key)

            best = lines[0]
            for line in lines[1:]:
                best = line if before(line, best) else best
            gives[best.waybill] += 1
        for line in lines:
            self.take(month, line, "ceiling.average", -gives[line.waybill])
        self.carried["downlink"] = max(0, excess - sum(gives.values()))
        return carried

    def year(self, month: str) -> None:
        """The merchant's year: the earliest keep what they have while there is money. Its conditions are met from the start."""
        money = CAP
        for line in sorted((x for x in self.live.values() if x.scheme == "uplink" and x.period <= month), key=lambda x: (x.day, x.key)):
            allowed = min(line.fen, money)
            money -= allowed
            if line.left > allowed:
                self.take(month, line, "year", allowed - line.left)
            else:
                self.take(month, line, "year", min(allowed - line.left, -line.taken.get("year", 0)))

    def budget(self, month: str, carried: int) -> None:
        """Who waits gets it first, then the month's own in order; never more than money, nor than the ceiling has room for."""
        if not self.money:
            return
        promised = sum(fen for period, scheme, fen, _ in self.posted if scheme == "downlink" and period <= month)
        fen, parcels = self.total(month, "downlink")
        room = min(self.money - promised, max(0, LIMIT * parcels - fen - carried))
        own = [x for x in self.live.values() if (x.period, x.scheme) == (month, "downlink") and x.left > 0]
        waiting = [x for x in self.live.values() if x.scheme == "downlink" and x.taken.get("budget", 0) < 0]
        waiting.sort(key=lambda x: (self.since[x.waybill, x.day, x.fen], x.day, x.key))
        pot = max(0, room + sum(x.left for x in own))
        given = 0
        for line in waiting:
            gets = min(-line.taken["budget"], pot)
            pot -= gets
            given += gets
            self.take(month, line, "budget", gets)
        if room - given >= 0:
            return
        left = max(0, room - given + sum(x.left for x in own))
        for line in sorted(own, key=lambda x: (x.day, x.key)):
            keeps = min(line.left, left)
            left -= keeps
            if keeps < line.left:
                self.since.setdefault((line.waybill, line.day, line.fen), month)
                self.take(month, line, "budget", keeps - line.left)

    since: dict[tuple[str, date, int], str] = field(default_factory=dict)  # of a line: the month in which a budget first took from it

    # what is compared

    def paid(self) -> dict[str, int]:
        return {waybill: line.left for waybill, line in self.live.items()}

    def months(self) -> dict[tuple[str, str], tuple[int, int]]:
        return {(p, s): self.total(p, s) for p, s, *_ in self.posted}
