"""Divisions: from the statistical bureau's table to records, and the names that people read."""

import csv
from datetime import datetime
from io import StringIO

from shared.calendar import SHANGHAI
from shared.contracts.registry import Division, DivisionSegment

EDITION = 2023
VALID_FROM = datetime(2022, 1, 1, tzinfo=SHANGHAI)  # the programme's first year


def read(text: str) -> list[Division]:
    """The records of a file code,name,name_en,level,kind,parent (data/README.md), not recorded yet (version 0)."""
    return [_division(row) for row in csv.DictReader(StringIO(text))]


def _division(row: dict[str, str]) -> Division:
    segment = DivisionSegment(
        valid_from=VALID_FROM,
        valid_to=None,
        name=row["name"],
        name_en=row["name_en"],
        kind=row["kind"],
        parent_code=row["parent"] or None,
        edition=EDITION,
    )
    return Division(version=0, code=row["code"], segments=(segment,))


def short_name(name: str, kind: str) -> str:
    """The place rather than its committee: 上王村委会 → 上王村, 胡家峪社区居委会 → 胡家峪社区."""
    match kind:
        case "village":
            return name.removesuffix("委会")
        case "community":
            return name.removesuffix("居委会")
        case _:
            return name


def county_of(code: str) -> str:
    """The county's code (GB/T 2260: the first six digits)."""
    return code[:6].ljust(12, "0")
