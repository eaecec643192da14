"""The log's reads and reports: `shared.log` with the registry's topic."""

import msgspec

from services.registry import schemas
from shared import log
from shared.contracts.registry import TOPIC
from shared.db import Database
from shared.log.report import NAME
from shared.problems import invalid, not_found


async def page(database: Database, partition: int, query: schemas.LogQuery) -> schemas.LogPage:
    async with database.read() as read:
        head = await log.head(read, TOPIC, partition) if 0 <= partition < 2**31 else None
        if head is None:
            raise not_found("分区", "partition", "log.partition_not_found")
        rows = await log.read_log(read, TOPIC, partition, query.from_position, query.limit)
    items = [
        schemas.LogItem(position=r["position"], appended_at=r["appended_at"], value=r["value"].decode(), chain=r["chain"].hex())
        for r in rows
    ]
    return schemas.LogPage(
        items=items,
        next_position=items[-1].position + 1 if items else query.from_position,
        head=head.next_position,
        origin=head.origin.hex(),
    )


async def report(database: Database, name: str, body: bytes) -> log.Report:
    try:
        return await log.heard(database, name, TOPIC, log.positions_from_json(body))
    except (msgspec.MsgspecError, ValueError, log.PartitionMismatch) as e:  # all three say in their text what is wrong
        raise invalid("", "log.report_invalid", f"报告无效：{e}", f"The report is not valid: {e}") from None


async def consumers(database: Database) -> schemas.ConsumerList:
    async with database.read() as read:
        return schemas.ConsumerList(items=[schemas.ConsumerItem(**dict(r)) for r in await log.consumers(read, TOPIC)])


async def remove(database: Database, name: str) -> None:
    async with database.write() as tx:
        found = NAME.fullmatch(name) and await log.remove_consumer(tx, TOPIC, name)
    if not found:
        raise not_found("消费者", "consumer", "log.consumer_not_found")


async def reopen(database: Database, partition: int) -> None:
    async with database.write() as tx:
        if not 0 <= partition < 2**31 or not await log.reopen(tx, TOPIC, partition):
            raise not_found("已关闭的分区", "closed partition", "log.partition_not_found")
