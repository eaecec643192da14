"""A numbered log over HTTP (docs/design.md §4), alike in every service that has one: for whoever recomputes, and for consumers' reports."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from shared import log
from shared.auth import requires
from shared.db import Database
from shared.http import read_body, reply
from shared.log.report import NAME
from shared.log.tables import MAX_PARTITIONS
from shared.openapi import REPORT_BODY, problems
from shared.problems import invalid, not_found
from shared.values import DEFAULT_LIMIT, AsOf, Instant, Limit

MAX_REPORT_BYTES = 1 << 20
NOW = "select now()"  # the beginning of the transaction that reads

DatabaseOf = Callable[[Request], Database]
Consumer = Annotated[str, Path(pattern=f"^{NAME.pattern}$")]
Partition = Annotated[int, Path(ge=0, lt=MAX_PARTITIONS)]


class LogEntry(BaseModel):
    position: int
    appended_at: Instant
    value: str
    chain: str


class LogPage(BaseModel):
    items: list[LogEntry]
    next_position: int
    head: int
    origin: str = Field(description="hex; the chain before position 0, a random id of the log")


class LogReport(BaseModel):
    """As `shared.log.report.Report`; the lists are indexed by partition."""

    heads: list[int]
    published: list[int]
    origins: list[str]
    parted: list[int]
    now: Instant


class LogConsumer(BaseModel):
    consumer: str
    partition: int
    next_position: int
    lag: int
    asks: int
    seen_at: Instant


class LogConsumers(BaseModel):
    items: list[LogConsumer]
    next_cursor: str | None
    as_of: AsOf


def log_router(topic: str, *, writing: DatabaseOf, reading: DatabaseOf) -> APIRouter:
    """The operations on the log of `topic`. `writing` and `reading`: the databases of the running application; they may be one."""
    router = APIRouter(tags=["log 编号日志"])

    @router.put(
        "/v1/log/consumers/{name}",
        summary="A consumer's report 消费者报告位置",
        response_model=LogReport,
        responses=problems(body=True),
        dependencies=[requires("log:report")],
        openapi_extra=REPORT_BODY,
    )
    async def report(request: Request, name: Consumer) -> Response:
        """A consumer says where it is and learns the heads. A report that the log does not confirm closes the partition."""
        return reply(request, await _heard(writing(request), topic, name, await read_body(request, MAX_REPORT_BYTES)))

    @router.get(
        "/v1/log/consumers",
        summary="Consumers and their lag 消费者与滞后",
        response_model=LogConsumers,
        responses=problems(),
        dependencies=[requires("log:read")],
    )
    async def consumers(request: Request) -> Response:
        """Each consumer's place and its exact lag."""
        async with reading(request).read() as read:
            rows, now = await log.consumers(read, topic), await read.fetchval(NOW)
        return reply(request, {"items": [dict(row) for row in rows], "next_cursor": None, "as_of": AsOf(known_at=now)})

    @router.delete(
        "/v1/log/consumers/{name}",
        summary="Remove a consumer 删除消费者",
        status_code=204,
        responses=problems(404),
        dependencies=[requires("log:admin")],
    )
    async def remove_consumer(request: Request, name: Consumer) -> Response:
        """The only way in which a consumer ends; one that still reports is there again a second later."""
        async with writing(request).write() as tx:
            if not await log.remove_consumer(tx, topic, name):
                raise not_found("该消费者", "consumer", "log.consumer_not_found")
        return Response(status_code=204)

    @router.post(
        "/v1/log/{partition}/reopen",
        summary="Reopen a partition 重开分区",
        status_code=204,
        responses=problems(404),
        dependencies=[requires("log:admin")],
    )
    async def reopen(request: Request, partition: Partition) -> Response:
        """A partition that a report has closed takes entries again. Only once the log holds what its readers have: else it closes again."""
        async with writing(request).write() as tx:
            if not await log.reopen(tx, topic, partition):
                raise not_found("已关闭的分区", "closed partition", "log.partition_not_found")
        return Response(status_code=204)

    @router.get(
        "/v1/log/{partition}",
        summary="Read the log 读取编号日志",
        response_model=LogPage,
        responses=problems(404),
        dependencies=[requires("log:read")],
    )
    async def read_log(
        request: Request,
        partition: Partition,
        from_position: Annotated[int, Query(ge=0, lt=2**62)] = 0,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Response:
        """What the log holds; `value` is the stored JSON text, so that its hash can be checked against `chain`."""
        return reply(request, await _page(reading(request), topic, partition, from_position, limit))

    return router


async def _heard(database: Database, topic: str, name: str, body: bytes) -> log.Report:
    try:
        return await log.heard(database, name, topic, log.positions_from_json(body))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, log.PartitionMismatch) as e:  # each says in its text what is wrong
        said = str(e)[:200]
        raise invalid("", "log.report_invalid", f"这不是有效的位置报告：{said}", f"This is no report of positions: {said}") from None


async def _page(database: Database, topic: str, partition: int, from_position: int, limit: int) -> LogPage:
    async with database.read() as read:
        head = await log.head(read, topic, partition)
        if head is None:
            raise not_found("该分区", "partition", "log.partition_not_found")
        rows = await log.read_log(read, partition, from_position, limit)
    items = [
        LogEntry(position=r["position"], appended_at=r["appended_at"], value=r["value"].decode(), chain=r["chain"].hex()) for r in rows
    ]
    following = items[-1].position + 1 if items else from_position
    return LogPage(items=items, next_position=following, head=head.next_position, origin=head.origin.hex())
