"""What every record of the registry's log is, and what several kinds of them speak of."""

from enum import StrEnum

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """A snapshot; `type` says of what. Segments are in order of `valid_from`, do not overlap and may leave gaps."""

    version: int  # 1, 2 … of this record


class Level(StrEnum):
    """Of a station."""

    COUNTY_HUB = "county_hub"
    TOWNSHIP = "township"
    VILLAGE = "village"
