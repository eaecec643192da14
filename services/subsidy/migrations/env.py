"""Alembic's entry for the subsidy books."""

import re

from services.subsidy.models import metadata
from shared import migrations

_HASH_PARTITION = re.compile(r"_p\d+$")  # children of a hash-partitioned table: made by the migration, no tables of the model


def _ours(name: str | None, kind: str, parents: object) -> bool:
    return not (kind == "table" and name and _HASH_PARTITION.search(name))


migrations.run(metadata, _ours)
