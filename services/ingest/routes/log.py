"""The scans log over HTTP: for whoever recomputes, and for its consumers' reports (design §4)."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from services.ingest import reading, schemas
from services.ingest.routes import as_of, ingest
from shared import log
from shared.auth import requires
from shared.contracts.scan import TOPIC
from shared.http import DEFAULT_LIMIT, Limit, read_body, reply
from shared.log.report import NAME
from shared.openapi import REPORT_BODY, problems
from shared.problems import not_found

router = APIRouter(tags=["log 编号日志"])

MAX_REPORT_BYTES = 1 << 20
Consumer = Annotated[str, Path(pattern=f"^{NAME.pattern}$")]


@router.put(
    "/v1/log/consumers/{name}",
    summary="A consumer's report 消费者报告位置",
    response_model=schemas.LogReport,
    responses=problems(409, body=True),
    dependencies=[requires("log:report")],
    openapi_extra=REPORT_BODY,
)
async def report(request: Request, name: Consumer) -> Response:
    """A consumer says where it is and learns the heads. A report that the log does not confirm closes the partition."""
    positions = reading.positions(await read_body(request, MAX_REPORT_BYTES))
    return reply(request, await reading.heard(ingest(request).database, name, positions))


@router.get(
    "/v1/log/consumers",
    summary="Consumers and their lag 消费者与滞后",
    response_model=schemas.LogConsumers,
    responses=problems(),
    dependencies=[requires("log:read")],
)
async def consumers(request: Request) -> Response:
    """Each consumer's place and its exact lag."""
    async with ingest(request).reader.read() as read:
        rows, now = await log.consumers(read, TOPIC), await as_of(read)
    return reply(request, {"items": [dict(row) for row in rows], "next_cursor": None, "as_of": now})


@router.delete(
    "/v1/log/consumers/{name}",
    summary="Remove a consumer 删除消费者",
    status_code=204,
    responses=problems(404),
    dependencies=[requires("log:admin")],
)
async def remove_consumer(request: Request, name: Consumer) -> Response:
    """The only way in which a consumer ends; one that still reports is there again a second later."""
    async with ingest(request).database.write() as tx:
        if not await log.remove_consumer(tx, TOPIC, name):
            raise not_found("该消费者", "consumer")
    return Response(status_code=204)


@router.post(
    "/v1/log/{partition}/reopen",
    summary="Reopen a partition 重开分区",
    status_code=204,
    responses=problems(404),
    dependencies=[requires("log:admin")],
)
async def reopen(request: Request, partition: Annotated[int, Path(ge=0, lt=4096)]) -> Response:
    """A partition that a report has closed takes entries again. Only once the log holds what its readers have: else it closes again."""
    async with ingest(request).database.write() as tx:
        if not await log.reopen(tx, TOPIC, partition):
            raise not_found("已关闭的分区", "closed partition")
    return Response(status_code=204)


@router.get(
    "/v1/log/{partition}",
    summary="Read the log 读取编号日志",
    response_model=schemas.LogPage,
    responses=problems(404),
    dependencies=[requires("log:read")],
)
async def read_log(
    request: Request,
    partition: Annotated[int, Path(ge=0, lt=4096)],
    from_position: Annotated[int, Query(ge=0, lt=2**62)] = 0,
    limit: Limit = DEFAULT_LIMIT,
) -> Response:
    """What the log holds; `value` is the stored JSON text, so that its hash can be checked against `chain`."""
    async with ingest(request).reader.read() as read:
        return reply(request, await reading.log_page(read, partition, from_position, limit))
