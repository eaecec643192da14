"""Which parcels a parcel's own events name: the way back under a number of its own (domain facts §1.8)."""

import re
from collections.abc import Iterable, Mapping

# By brand, how ingest writes a code that names another waybill; the number is the group.
NAMES: Mapping[str, re.Pattern[str]] = {
    "jd": re.compile(r"200020/([0-9A-Z-]{4,32})\Z"),  # 换单: told of both parcels, each naming the other
}


def related(brand: str, raw_actions: Iterable[str]) -> list[str]:
    """Waybill numbers of the same brand, sorted, each once."""
    pattern = NAMES.get(brand)
    return sorted({named[1] for raw in raw_actions if (named := pattern.match(raw))}) if pattern else []
