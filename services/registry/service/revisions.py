"""Who recorded what, when and why: the revisions themselves, newest first. Nothing of them can be changed."""

from services.registry import repository
from services.registry import schemas_revisions as schemas
from services.registry.service.reads import BEFORE_ALL, pin
from shared.db import Database
from shared.http import bad_cursor, decode_cursor, encode_cursor
from shared.values import check_range


async def revisions(database: Database, query: schemas.RevisionQuery) -> schemas.RevisionList:
    """A page begins below the revision that its cursor names, so that what is recorded meanwhile moves nothing."""
    check_range(query.from_, query.to)
    async with database.read() as read:
        at = await pin(read, None, query.known_at)
        below = at.revision.revision + 1 if at.revision is not BEFORE_ALL else 0
        if query.cursor is not None:
            below = min(below, _below(query.cursor))
        wanted = (query.actor, query.record_id, query.from_, query.to)
        rows = await repository.revisions(read, below, *wanted, query.limit + 1)
    items = [
        schemas.RevisionItem(
            revision=row["revision"],
            recorded_at=row["recorded_at"],
            actor=row["actor"],
            reason=row["reason"],
            records=[
                schemas.ChangedRecord(kind=k, id=i, version=v) for k, i, v in zip(row["kinds"], row["ids"], row["versions"], strict=True)
            ],
        )
        for row in rows[: query.limit]
    ]
    cursor = encode_cursor({"b": items[-1].revision}) if len(rows) > query.limit else None
    return schemas.RevisionList(items=items, next_cursor=cursor, as_of=at.as_of())


def _below(cursor: str) -> int:
    match decode_cursor(cursor):
        case {"b": int(below)} if below >= 0:
            return below
    raise bad_cursor()
