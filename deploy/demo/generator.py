"""A month of parcels for the demo: seeded, so that the same seed tells the same month, push by push.

Hours and durations are drawn from the 72 real parcels (lade.py), which are part of the month. What each sender tells, and how often it
repeats, delays or garbles it, is invented in the proportions that `Mix` names. Nothing here knows a wire format: see wire.py.
"""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from deploy.demo.county import GONGPEI, ORDINARY, UNMAPPED, County, Station
from deploy.demo.lade import RealParcel
from shared.calendar import SHANGHAI

ZTO, KUAIDI100 = "zto-yuanqu", "kuaidi100-yuanqu"
FEEDS = (ZTO, KUAIDI100, GONGPEI)  # in the order of RealParcel.sender
BRANDS_OF = {ZTO: ("zto",), KUAIDI100: ("yto", "sto", "yunda", "jt"), GONGPEI: ("yto", "sto", "yunda", "jt", "zto")}
FAR_CITIES = ("杭州", "义乌", "广州", "成都", "郑州", "临沂", "石家庄", "西安")
IN_TOWN = "垣曲县城东大街网点"  # a counter in the county town: no registered station, so its parcels earn nothing
PREFIX = {"zto": ("73", 12), "yto": ("YT", 13), "sto": ("77", 13), "yunda": ("43", 13), "jt": ("JT", 13)}


@dataclass(frozen=True, slots=True)
class Mix:
    """How many of what; parts of a whole are per mille."""

    parcels: dict[str, int]
    duplicates: int = 200  # of all scans received
    out_of_order: int = 100  # of all distinct scans
    late: int = 20  # of parcels: told after the month was on the books
    also_by_scanners: int = 80  # of ZTO's parcels: told by the county's scanners, too
    at_township: int = 70  # collected at the township's station, not carried on to the village
    in_town: int = 25
    in_transit: int = 10
    picked_up: int = 750  # of delivered parcels: the villager's pick-up is told


FULL = Mix({ZTO: 300, KUAIDI100: 950, GONGPEI: 1750})  # the county's scanners are the richest source of downlink parcels
CAST = [  # parcels with a story: story, sender, how many
    ("returned", ZTO, 6),
    ("returned_late", ZTO, 6),
    ("refused", KUAIDI100, 6),
    ("transferred", KUAIDI100, 3),
    ("uplink", ZTO, 8),
    ("taken_back", GONGPEI, 3),
    ("conflict", GONGPEI, 1),  # told again with another weight: the money is the same
    ("contested", GONGPEI, 1),  # told again at another station: whose money it is a person must decide
]
LATE: dict[str, frozenset[str]] = {  # story -> what is told only after the month is on the books
    "late": frozenset({"station_inbound", "station_pickup"}),
    "returned_late": frozenset({"returning", "returned"}),
}


@dataclass(frozen=True, slots=True)
class Scan:
    """What happened, in the programme's word, at a station or at a place that only its sender knows."""

    action: str
    at: datetime
    station: Station | None = None
    place: str = ""
    weight_g: int | None = None


@dataclass(frozen=True, slots=True)
class Push:
    """One push of one sender: a parcel's new scan, or its whole history so far (Kuaidi100), oldest first."""

    feed: str
    brand: str
    waybill_no: str
    scans: tuple[Scan, ...]
    sent_at: datetime  # orders the pushes; nobody reads it afterwards


@dataclass(frozen=True, slots=True)
class Parcel:
    feed: str
    brand: str
    waybill_no: str
    scans: tuple[Scan, ...]
    story: str = ""  # what happened to it, where the demo shows it


@dataclass(frozen=True, slots=True)
class Month:
    """`first` is pushed and put on the books before `late`, so that late truth has something to correct."""

    parcels: tuple[Parcel, ...]
    first: tuple[Push, ...]
    late: tuple[Push, ...]

    def told(self, story: str) -> list[Parcel]:
        return [p for p in self.parcels if p.story == story]


def month(county: County, real: list[RealParcel], seed: int, mix: Mix = FULL) -> Month:
    rng = Random(seed)
    maker = _Maker(county, real, mix, rng)
    parcels = tuple(maker.parcels())
    first, late = _pushes(parcels, county, mix, rng)
    return Month(parcels, tuple(first), tuple(late))


class _Maker:
    """Makes the parcels: numbers never repeat, villages near the county town get more."""

    def __init__(self, county: County, real: list[RealParcel], mix: Mix, rng: Random) -> None:
        self.county, self.real, self.mix, self.rng = county, real, mix, rng
        self.weights = [rng.paretovariate(2.0) for _ in county.villages]
        self.numbers = Counter[str]()

    def parcels(self) -> list[Parcel]:
        made = [self.from_real(parcel) for parcel in self.real]
        for feed, count in self.mix.parcels.items():
            made += [self.usual(feed) for _ in range(count)]
        return made + self.stories()

    def waybill(self, brand: str) -> str:
        prefix, digits = PREFIX[brand]
        self.numbers[brand] += 1
        return f"{prefix}{20_230_700_000 + self.numbers[brand]:0{digits}d}"

    def from_real(self, real: RealParcel) -> Parcel:
        """Exactly as the folding rule says: arrival, inbound, pick-up."""
        feed = FEEDS[real.sender]
        brands = BRANDS_OF[feed]
        brand = brands[real.order_id // 3 % len(brands)]
        village = self.county.villages[real.village]
        scans = (
            Scan("arrived", real.accepted_at, self.county.hub),
            Scan("station_inbound", real.delivered_at, village),
            Scan("station_pickup", real.delivered_at + timedelta(minutes=1), village),
        )
        prefix, digits = PREFIX[brand]
        return Parcel(feed, brand, f"{prefix}{real.order_id:0{digits}d}", scans, "real")

    def usual(self, feed: str) -> Parcel:
        brand = self.rng.choice(BRANDS_OF[feed])
        station = self.rng.choices(self.county.villages, self.weights)[0]
        if self.rng.randrange(1000) < self.mix.at_township:
            station = next(t for t in self.county.townships if t.township_code == station.township_code)
        scans = self.journey(feed, station)
        fate = self.rng.randrange(1000)
        if fate < self.mix.in_town:
            town = tuple(Scan("signed", s.at, None, IN_TOWN) for s in scans if s.action == "station_inbound")
            return Parcel(feed, brand, self.waybill(brand), (*_before_inbound(scans), *town), "in_town")
        if fate < self.mix.in_town + self.mix.in_transit:
            return Parcel(feed, brand, self.waybill(brand), _before_inbound(scans), "in_transit")
        late = self.rng.randrange(1000) < self.mix.late
        return Parcel(feed, brand, self.waybill(brand), scans, "late" if late else "")

    def journey(self, feed: str, station: Station) -> tuple[Scan, ...]:
        """From a far city over the hub to the station; hour and duration of a real parcel, a day of July."""
        like = self.rng.choice(self.real)
        shift = timedelta(minutes=self.rng.randint(-25, 25), seconds=self.rng.randint(0, 59))
        day = datetime(2023, 7, self.rng.randint(1, 31), tzinfo=SHANGHAI)
        at_hub = day + timedelta(hours=like.accepted_at.hour, minutes=like.accepted_at.minute) + shift
        takes = max(like.delivered_at - like.accepted_at, timedelta(minutes=20)) + timedelta(seconds=self.rng.randint(0, 600))
        weight_g = self.rng.choice((180, 350, 500, 850, 1200, 2400))
        scans = [
            Scan("arrived", at_hub, self.county.hub, "", weight_g),
            Scan("station_inbound", at_hub + takes, station, "", weight_g),
        ]
        if feed != KUAIDI100:
            scans.insert(1, Scan("out_for_delivery", at_hub + takes / 8, self.county.hub, "", weight_g))
        if feed != GONGPEI:
            city = self.rng.choice(FAR_CITIES)
            scans.insert(0, Scan("picked_up", at_hub - timedelta(minutes=self.rng.randint(1500, 3600)), None, f"{city}转运中心"))
        if self.rng.randrange(1000) < self.mix.picked_up:
            waited = timedelta(minutes=round(20 + self.rng.expovariate(1 / 420)))
            scans.append(Scan("station_pickup", at_hub + takes + waited, station, "", weight_g))
        return tuple(scans)

    def stories(self) -> list[Parcel]:
        """The parcels that the demo tells about, each at a village where nothing else happens."""
        made: list[Parcel] = []
        for i, (story, feed) in enumerate((story, feed) for story, feed, count in CAST for _ in range(count)):
            village = self.county.villages[ORDINARY.start + i % len(ORDINARY)]
            brand = BRANDS_OF[feed][0]
            scans = tuple(s for s in self.journey(feed, village) if s.action != "station_pickup")
            made.append(Parcel(feed, brand, self.waybill(brand), self.retold(story, scans), story))
        return made + [self.at_unmapped() for _ in range(9)]

    def at_unmapped(self) -> Parcel:
        village = self.county.villages[UNMAPPED]
        return Parcel(KUAIDI100, "yto", self.waybill("yto"), self.journey(KUAIDI100, village), "unmapped")

    def retold(self, story: str, scans: tuple[Scan, ...]) -> tuple[Scan, ...]:
        inbound = scans[-1]
        at, village, day = inbound.at, inbound.station, timedelta(days=1)
        match story:
            case "returned" | "returned_late":
                hub = self.county.hub
                return (*scans, Scan("returning", at + 2 * day, hub), Scan("returned", at + 5 * day, None, "义乌寄件网点"))
            case "refused":
                return (*scans, Scan("refused", at + timedelta(hours=6), village))
            case "transferred":
                return (*scans, Scan("transferred", at + timedelta(hours=20), self.county.hub))
            case "uplink":
                sent = Scan("picked_up", at, village)
                return (sent, Scan("arrived", at + timedelta(hours=9), self.county.hub), Scan("signed", at + 3 * day, None, "杭州西湖网点"))
            case "taken_back":
                return (*scans, Scan("taken_back", at + timedelta(hours=26), village))
            case _:  # conflict, contested: their second telling is in `_contradictions`
                return scans


def _before_inbound(scans: tuple[Scan, ...]) -> tuple[Scan, ...]:
    return tuple(s for s in scans if s.action not in ("station_inbound", "station_pickup"))


# Pushes


def _pushes(parcels: tuple[Parcel, ...], county: County, mix: Mix, rng: Random) -> tuple[list[Push], list[Push]]:
    first, late = list[Push](), list[Push]()
    for parcel in parcels:
        for push in _told(parcel, mix, rng):
            (late if push.scans[-1].action in LATE.get(parcel.story, ()) else first).append(push)
        late += _contradictions(parcel, county)
    first = _delayed(first, mix, rng)
    first += _repeated(first, late, mix, rng)
    return sorted(first, key=_order), sorted(late, key=_order)


def _order(push: Push) -> tuple[datetime, str, str, str, int]:
    return push.sent_at, push.feed, push.brand, push.waybill_no, len(push.scans)


def _told(parcel: Parcel, mix: Mix, rng: Random) -> list[Push]:
    """What its senders tell of a parcel when nothing goes wrong on the way."""
    if parcel.feed == KUAIDI100:
        return _snapshots(parcel, rng)
    told = [_push(parcel, parcel.feed, (scan,)) for scan in parcel.scans]
    if parcel.feed == ZTO and not parcel.story and rng.randrange(1000) < mix.also_by_scanners:
        seen = [replace(s, at=s.at + timedelta(minutes=2)) for s in parcel.scans if s.action in ("arrived", "station_inbound")]
        told += [_push(parcel, GONGPEI, (scan,)) for scan in seen]
    return told


def _snapshots(parcel: Parcel, rng: Random) -> list[Push]:
    """Kuaidi100 tells the whole history each time: half of the parcels once before the end."""
    ends = [len(parcel.scans)]
    if len(parcel.scans) > 2 and (parcel.story or rng.randrange(2)):
        ends.insert(0, len(parcel.scans) - 1)
    return [_push(parcel, KUAIDI100, parcel.scans[:end]) for end in ends]


def _push(parcel: Parcel, feed: str, scans: tuple[Scan, ...]) -> Push:
    return Push(feed, parcel.brand, parcel.waybill_no, scans, scans[-1].at + timedelta(seconds=30))


def _contradictions(parcel: Parcel, county: County) -> list[Push]:
    """The same scan once more under its own id, with other facts: two contents of one event."""
    inbound = parcel.scans[-1]
    match parcel.story:
        case "conflict":
            return [_push(parcel, parcel.feed, (replace(inbound, weight_g=(inbound.weight_g or 0) + 90),))]
        case "contested":
            return [_push(parcel, parcel.feed, (replace(inbound, station=county.villages[ORDINARY.start - 1]),))]
        case _:
            return []


def _delayed(pushes: list[Push], mix: Mix, rng: Random) -> list[Push]:
    """Some pushes come hours or days late, after later scans of the same parcel."""
    last: dict[tuple[str, str], datetime] = {}
    for push in pushes:
        key = push.brand, push.waybill_no
        last[key] = max(push.sent_at, last.get(key, push.sent_at))
    may = [i for i, push in enumerate(pushes) if push.feed != KUAIDI100 and push.sent_at < last[push.brand, push.waybill_no]]
    scans = sum(len(p.scans) for p in pushes if p.feed != KUAIDI100 or p.sent_at == last[p.brand, p.waybill_no])
    chosen = set(rng.sample(may, min(len(may), scans * mix.out_of_order // 1000)))
    return [
        replace(push, sent_at=last[push.brand, push.waybill_no] + timedelta(minutes=rng.randint(1, 600))) if i in chosen else push
        for i, push in enumerate(pushes)
    ]


def _repeated(first: list[Push], late: list[Push], mix: Mix, rng: Random) -> list[Push]:
    """As many single scans again as make the duplicates' share of all that is received; snapshots repeat by themselves."""
    told = first + late
    received = sum(len(push.scans) for push in told)
    distinct = len({(push.feed, push.brand, push.waybill_no, scan) for push in told for scan in push.scans})
    wanted = (distinct * 1000 // (1000 - mix.duplicates)) - received
    single = [push for push in first if push.feed != KUAIDI100]
    chosen = rng.sample(single, max(0, min(wanted, len(single))))
    return [replace(push, sent_at=push.sent_at + timedelta(minutes=rng.randint(3, 90))) for push in chosen]
