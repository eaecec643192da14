"""The baseline of 2022 一特色三标准, as far as the register's facts tell it, and what has gone backwards since. Pure.

Its official wording is not public. By Jincheng's plan of 2022 (ntv.cn 2022/03/800235): every township a standardised station, every
village a standardised outlet, every village served at least once a day; 一特色, each place's own feature, is nothing that a register
could tell.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from shared.calendar import SHANGHAI
from shared.contracts.registry import Division, DivisionSegment, Level, OperatingStatus, Station, StationSegment
from shared.standing import at

SOURCE = "垣发改字〔2023〕30号 三；晋城市2022年方案（ntv.cn 2022/03/800235），按其推定"
MEASURED_AT = datetime(2022, 12, 31, 23, 59, 59, tzinfo=SHANGHAI)  # 在2022年实现…全覆盖的基础上
DAILY = 7  # services a week
Criterion = Literal["township_station", "village_outlet", "daily_service"]
TITLES: dict[Criterion, tuple[str, str]] = {
    "township_station": ("乡镇有快递综合服务站在运营", "An open station in the township"),
    "village_outlet": ("村有快递便民服务点在运营", "An open outlet in the village"),
    "daily_service": ("村每天一频次以上寄递服务", "The village is served at least once a day"),
}


_TOWNSHIP: tuple[tuple[Criterion, Level], ...] = (("township_station", Level.TOWNSHIP),)
_VILLAGE: tuple[tuple[Criterion, Level], ...] = (("village_outlet", Level.VILLAGE), ("daily_service", Level.VILLAGE))
_CRITERIA = {"town": _TOWNSHIP, "township": _TOWNSHIP, "village": _VILLAGE}


class Found(NamedTuple):
    criterion: Criterion
    division_code: str
    division: DivisionSegment  # as it is at the moment
    then: bool | None  # null: nobody has recorded what would tell
    now: bool | None

    @property
    def regressed(self) -> bool:
        return self.then is True and self.now is False


def found(divisions: Iterable[Division], stations: Sequence[Station], moment: datetime) -> list[Found]:
    """Every township and village that is one at the moment, against what it had at the end of 2022."""
    placed: dict[tuple[str, str], list[Station]] = {}
    for station in stations:
        for segment in station.segments:
            place = segment.township_code if station.level is Level.TOWNSHIP else segment.division_code
            if place and station not in (of := placed.setdefault((station.level, place), [])):
                of.append(station)
    told = []
    for division in divisions:
        then = at(division.segments, moment)
        for criterion, level in _CRITERIA.get(then.kind, ()) if then else ():
            assert then is not None
            told.append(_found(criterion, level, division.code, then, placed, moment))
    return told


def _found(
    criterion: Criterion, level: Level, code: str, segment: DivisionSegment, placed: dict[tuple[str, str], list[Station]], moment: datetime
) -> Found:
    stations = placed.get((level, code), [])
    judge = _served if criterion == "daily_service" else _open
    then, now = (judge(_standing_there(stations, level, code, m)) for m in (MEASURED_AT, moment))
    return Found(criterion, code, segment, then, now)


def _standing_there(stations: Iterable[Station], level: Level, code: str, moment: datetime) -> list[StationSegment]:
    segments = (at(s.segments, moment) for s in stations)
    return [s for s in segments if s and code == (s.township_code if level is Level.TOWNSHIP else s.division_code)]


def _open(segments: Iterable[StationSegment]) -> bool:
    return any(s.operating_status is OperatingStatus.OPEN for s in segments)


def _served(segments: Iterable[StationSegment]) -> bool | None:
    told = [s.services_per_week for s in segments if s.operating_status is OperatingStatus.OPEN]
    if None in told:
        return True if any(n is not None and n >= DAILY for n in told) else None
    return any(n is not None and n >= DAILY for n in told)
