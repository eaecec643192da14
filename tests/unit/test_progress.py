"""Rounding of gates, and the pace."""

from datetime import date, datetime

import pytest

from services.registry.domain.progress import Forecast, Period, forecast, needed
from shared.calendar import SHANGHAI
from shared.contracts.programme import Counts, Due, Target
from shared.contracts.registry import Level


@pytest.mark.parametrize(
    ("count", "percent", "whole"), [(1, 50, 1), (3, 50, 2), (10, 50, 5), (14, 50, 7), (14, 90, 13), (10, 90, 9), (10, 100, 10), (3, 1, 1)]
)
def test_a_share_is_whole_stations_at_least(count: int, percent: int, whole: int) -> None:
    assert needed(count, percent) == whole


def at(month: int, day: int) -> datetime:
    return datetime(2023, month, day, tzinfo=SHANGHAI)


@pytest.mark.parametrize(
    ("count", "done", "moment", "told"),
    [
        (10, 5, at(3, 31), Forecast(5.0, date(2023, 4, 30))),
        (10, 10, at(3, 31), Forecast(10.0, date(2023, 3, 20))),  # the day on which the tenth was there
        (10, 12, at(3, 31), Forecast(12.0, date(2023, 3, 20))),
        (10, 10, at(12, 31), Forecast(0.98, date(2023, 3, 20))),  # nor is it later because somebody asks later
        (10, 0, at(3, 31), None),
        (10, 5, at(3, 1), None),  # the window begins
        (10_000, 1, at(12, 31), Forecast(0.1, None)),  # centuries
    ],
)
def test_the_pace_is_a_straight_line(count: int, done: int, moment: datetime, told: Forecast | None) -> None:
    due = Due(due_on=date(2023, 11, 30), source="x", quote="x")
    target = Target(level=Level.VILLAGE, count=count, counts=Counts.FILED, starts_on=date(2023, 3, 1), dues=(due,))
    periods = [Period(at(3, 11 + i), None) for i in range(done)]
    assert forecast(target, periods, moment) == told
