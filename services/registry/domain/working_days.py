"""Working days by the State Council's calendar, make-up days included (国务院办公厅关于节假日安排的通知, as the library `chinesecalendar`
publishes them). The plan of a year is announced in November of the year before: beyond what the library knows nobody can count."""

from datetime import date, timedelta

from chinese_calendar import is_workday
from chinese_calendar.constants import holidays, workdays

STARTS = date(min(min(holidays), min(workdays)).year, 1, 1)
ENDS = date(max(max(holidays), max(workdays)).year, 12, 31)  # the last day that is known


def nth_after(day: date, count: int) -> date | None:
    """The `count`-th working day after `day`, which itself does not count; None where the calendar is not known that far."""
    while count:
        day += timedelta(days=1)
        if not STARTS <= day <= ENDS:
            return None
        count -= is_workday(day)
    return day
