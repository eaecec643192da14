"""The subsidy calendar is Asia/Shanghai; instants are stored in UTC and shown with +08:00."""

from datetime import date, datetime, timedelta, timezone

# China has had no daylight saving time since 1991; a fixed offset needs no time-zone database on the machine.
SHANGHAI = timezone(timedelta(hours=8))


def shanghai_day(at: datetime) -> date:
    """The Shanghai day that an instant belongs to: a scan at 16:30Z on 31 December belongs to the next year."""
    return at.astimezone(SHANGHAI).date()


def day_start(day: date) -> datetime:
    """The instant at which a Shanghai day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)


def month_of(day: date) -> str:
    """'2023-07': the name of a posting period."""
    return f"{day.year:04d}-{day.month:02d}"


def next_month(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"


def rfc3339(at: datetime) -> str:
    """RFC 3339 with +08:00; fractions only where there are some."""
    return at.astimezone(SHANGHAI).isoformat()
