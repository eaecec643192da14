"""Rounding of gates, and the pace."""

from datetime import date, datetime

import pytest

from services.registry.domain.progress import Forecast, forecast, needed
from shared.calendar import SHANGHAI


@pytest.mark.parametrize(
    ("count", "percent", "whole"), [(1, 50, 1), (3, 50, 2), (10, 50, 5), (14, 50, 7), (14, 90, 13), (10, 90, 9), (10, 100, 10), (3, 1, 1)]
)
def test_a_share_is_whole_stations_at_least(count: int, percent: int, whole: int) -> None:
    assert needed(count, percent) == whole


@pytest.mark.parametrize(
    ("count", "done", "at", "told"),
    [
        (10, 5, datetime(2023, 3, 31, tzinfo=SHANGHAI), Forecast(5.0, date(2023, 4, 30))),
        (10, 10, datetime(2023, 3, 31, tzinfo=SHANGHAI), Forecast(10.0, date(2023, 3, 31))),
        (10, 12, datetime(2023, 3, 31, tzinfo=SHANGHAI), Forecast(12.0, date(2023, 3, 31))),
        (10, 0, datetime(2023, 3, 31, tzinfo=SHANGHAI), None),
        (10, 5, datetime(2023, 3, 1, tzinfo=SHANGHAI), None),  # the window begins
        (10_000, 1, datetime(2023, 12, 31, tzinfo=SHANGHAI), Forecast(0.1, None)),  # centuries
    ],
)
def test_the_pace_is_a_straight_line(count: int, done: int, at: datetime, told: Forecast | None) -> None:
    assert forecast(count, done, date(2023, 3, 1), at) == told
