"""The shapes of what could not be read from the scans log."""

from services.subsidy.schemas import PageQuery, Several, Shape
from shared.values import AsOf, Instant


class SetAsideQuery(PageQuery):
    reason_code: Several | None = None


class Value(Shape):
    """One position of the log. Its value is not shown; whoever may read the log gets it by `GET /v1/log/{partition}` of ingest."""

    partition: int
    position: int
    reason_code: str
    zh: str
    en: str
    detail: str
    sha256: str
    size_bytes: int
    revision: int
    recorded_at: Instant
    read_revision: int | None  # since when it is evidence


class Values(Shape):
    items: list[Value]
    next_cursor: str | None
    as_of: AsOf


class Asked(Shape):
    partitions: int  # in which something is still set aside
    as_of: AsOf
