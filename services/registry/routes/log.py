"""The registry's numbered log over HTTP: for whoever recomputes, and for its consumers' reports (design §4)."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from services.registry import schemas
from services.registry.routes import database
from services.registry.service import log
from shared.auth import requires
from shared.http import read_body, reply
from shared.log.report import NAME
from shared.openapi import REPORT_BODY, problems

router = APIRouter(tags=["log 编号日志"])
Consumer = Annotated[str, Path(pattern=f"^{NAME.pattern}$")]


@router.put(
    "/v1/log/consumers/{name}",
    summary="A consumer's report 消费者报告位置",
    response_model=schemas.LogReport,
    responses=problems(body=True),
    dependencies=[requires("log:report")],
    openapi_extra=REPORT_BODY,
)
async def report(request: Request, name: Consumer) -> Response:
    """A consumer says where it is and learns the heads."""
    body = await read_body(request, schemas.MAX_BODY_BYTES)
    return reply(request, await log.report(database(request), name, body))


@router.get(
    "/v1/log/consumers",
    summary="Consumers and their lag 消费者与滞后",
    response_model=schemas.ConsumerList,
    responses=problems(),
    dependencies=[requires("log:read")],
)
async def list_consumers(request: Request) -> Response:
    """Each consumer's place and its exact lag."""
    return reply(request, await log.consumers(database(request)))


@router.get(
    "/v1/log/{partition}",
    summary="Read the log 读取编号日志",
    response_model=schemas.LogPage,
    responses=problems(404),
    dependencies=[requires("log:read")],
)
async def read_log(request: Request, partition: int, query: Annotated[schemas.LogQuery, Query()]) -> Response:
    """What the log holds; `value` is the stored JSON text, so that its hash can be checked against `chain`."""
    return reply(request, await log.page(database(request), partition, query))


@router.post(
    "/v1/log/{partition}/reopen",
    summary="Reopen a partition 重开分区",
    status_code=204,
    responses=problems(404),
    dependencies=[requires("log:admin")],
)
async def reopen(request: Request, partition: int) -> Response:
    """A partition that a report has closed takes entries again. Only once the log holds what its readers have: else it closes again."""
    await log.reopen(database(request), partition)
    return Response(status_code=204)


@router.delete(
    "/v1/log/consumers/{name}",
    summary="Remove a consumer 删除消费者",
    status_code=204,
    responses=problems(404),
    dependencies=[requires("log:admin")],
)
async def remove_consumer(request: Request, name: Consumer) -> Response:
    """The only way in which a consumer ends."""
    await log.remove(database(request), name)
    return Response(status_code=204)
