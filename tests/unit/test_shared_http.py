"""What every API answers alike: problems, limits, ETags, cursors, tokens."""

import asyncio
import contextlib
import http.client as client_of_old
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import asyncpg
import httpx
import jwt
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from shared import auth, bodies, http, process, values
from shared.problems import Problem

PRIVATE, JWKS = auth.generate_keys()


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: values.SafeText(10)  # type: ignore[valid-type]


class Limits(BaseModel):
    count: int = Field(1, ge=1, lt=10)
    mode: Literal["live", "paused"] = "live"
    name: values.SafeText(10) = "a"  # type: ignore[valid-type]
    code: str = Field("00", pattern="^[0-9]{2}$")
    at: values.Moment | None = None
    on: values.Day | None = None
    whole: values.Whole | None = Field(None, strict=True)
    names: list[str] = Field([], max_length=2)


@contextlib.asynccontextmanager
async def nothing(_app: FastAPI) -> AsyncIterator[None]:
    yield


async def well() -> None: ...


async def away() -> None:
    raise ConnectionRefusedError


def app_with(tmp_path: Path) -> FastAPI:
    router = APIRouter()

    @router.get("/thing")
    async def thing(request: Request, cursor: values.CursorParam = None, limit: values.Limit = 100) -> Response:
        state = http.decode_cursor(cursor) if cursor else {}
        return http.reply(request, {"at": datetime(2023, 7, 14, 1, 0, tzinfo=UTC), "state": state, "as_of": {"revision": id(request)}})

    @router.post("/thing")
    async def make(request: Request, body: Body) -> Response:
        return http.reply(request, body)

    @router.post("/limits")
    async def limits(request: Request, body: Limits) -> Response:
        return http.reply(request, body)

    @router.get("/things/{number}")
    async def one(request: Request, number: int) -> Response:
        return http.reply(request, number)

    @router.post("/things/search")
    async def search(request: Request) -> Response:
        return http.reply(request, [])

    @router.post("/raw")
    async def raw(request: Request) -> Response:
        return http.reply(request, {"size": len(await http.read_body(request, 1000))})

    @router.get("/secret")
    async def secret(request: Request, who: auth.Principal = auth.requires("log:read")) -> Response:
        return http.reply(request, {"subject": who.subject, "claim": who.claim})

    @router.get("/fails/{how}")
    async def fails(how: str) -> Response:
        errors: dict[str, Exception] = {
            "lost": asyncpg.InternalClientError("x"),
            "refused": ConnectionRefusedError(),
            "bug": RuntimeError("secret words"),
        }
        raise errors.get(how, Problem(409, "taken", "被占用", "taken"))

    app = http.create_app(
        service="x", title="X 服务", description="d", lifespan=nothing, routers=[router], checks={"a": well, "b": away}, max_body_bytes=1000
    )
    (tmp_path / "jwks.json").write_text(JWKS)
    app.state.verifier = auth.Verifier(str(tmp_path / "jwks.json"))
    return app


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app_with(tmp_path), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as c:
        yield c


def token(**changes: Any) -> dict[str, str]:
    given: dict[str, Any] = {"subject": "ann", "roles": ["auditor"], "ttl_s": 60} | changes
    return {"Authorization": "Bearer " + auth.issue(PRIVATE, **given)}


async def test_the_etag_ignores_as_of_and_answers_304(client: httpx.AsyncClient) -> None:
    first = await client.get("/thing")
    assert first.json()["at"] == "2023-07-14T09:00:00+08:00"
    again = await client.get("/thing", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_problems_speak_the_readers_language(client: httpx.AsyncClient) -> None:
    zh, en = await client.get("/nowhere"), await client.get("/nowhere", headers={"Accept-Language": "en-GB, zh;q=0.5"})
    assert (zh.status_code, zh.headers["content-type"], zh.json()["detail"]) == (
        404,
        "application/problem+json",
        "没有这个地址，可用的地址见 /docs。",
    )
    assert en.json()["detail"] == "There is nothing at this address; /docs lists what there is."
    assert len(en.json()["trace_id"]) == 32


@pytest.mark.parametrize(
    ("method", "path", "kwargs", "status", "code"),
    [
        ("PUT", "/thing", {}, 405, "method_not_allowed"),
        ("POST", "/thing", {"content": b"{", "headers": {"content-type": "application/json"}}, 400, "json.invalid"),
        ("POST", "/thing", {"json": {"name": "a\u0000b"}}, 422, "request.invalid"),
        ("POST", "/thing", {"json": {"name": "a", "more": 1}}, 422, "request.invalid"),
        ("POST", "/thing", {"json": {"name": "x" * 2000}}, 413, "body.too_large"),
        ("POST", "/raw", {"content": b"x" * 1001}, 413, "body.too_large"),
        ("POST", "/thing", {"content": b"a=1", "headers": {"content-type": "text/plain"}}, 415, "body.not_json"),
        ("POST", "/thing?dry_run=1", {"json": {"name": "a"}}, 422, "request.invalid"),
        ("GET", "/thing?limt=1", {}, 422, "request.invalid"),
        ("HEAD", "/raw", {}, 405, None),
        ("GET", "/thing?limit=1001", {}, 422, "request.invalid"),
        ("GET", "/thing?cursor=%%%", {}, 422, "request.invalid"),
        ("GET", "/thing?cursor=W10", {}, 422, "request.invalid"),
        ("GET", "/secret", {}, 401, "token.missing"),
        ("GET", "/secret", {"headers": {"Authorization": "Bearer x.y.z"}}, 401, "token.invalid"),
        ("GET", "/secret", {"headers": {"Authorization": "Bearer " + "x" * 5000}}, 401, "token.invalid"),
        ("GET", "/fails/lost", {}, 503, "database.unavailable"),
        ("GET", "/fails/refused", {}, 503, "database.unavailable"),
        ("GET", "/fails/bug", {}, 500, "internal"),
        ("GET", "/fails/other", {}, 409, "taken"),
        ("GET", "/readyz", {}, 503, None),
    ],
)
async def test_every_error_is_a_problem(
    client: httpx.AsyncClient, method: str, path: str, kwargs: dict[str, Any], status: int, code: str | None
) -> None:
    answer = await client.request(method, path, **kwargs)
    told = answer.json().get("code") if answer.content else None
    assert (answer.status_code, told) == (status, code)
    assert "secret words" not in answer.text


async def test_a_mistake_is_told_in_chinese_and_english(client: httpx.AsyncClient) -> None:
    zh = await client.post("/thing", json={})
    en = await client.post("/thing", json={}, headers={"Accept-Language": "en"})
    assert zh.json()["errors"] == [{"pointer": "/name", "code": "missing", "detail": "缺少此项。"}]
    assert en.json()["errors"][0]["detail"] == "Field required"


@pytest.mark.parametrize(
    ("field", "value", "zh", "en"),
    [
        ("count", 0, "不得小于 1。", "Input should be greater than or equal to 1"),
        ("count", 10, "应小于 10。", "Input should be less than 10"),
        ("mode", "on", "不在允许的取值之内，可用：'live'、'paused'。", "Input should be 'live' or 'paused'"),
        ("name", "a\u0000b", "不得含控制字符。", "control characters are not allowed"),
        ("name", "x" * 11, "文字过长，最多 10 个字符。", "String should have at most 10 characters"),
        ("code", "{x}", "文字格式不对，应符合 ^[0-9]{2}$。", "String should match pattern '^[0-9]{2}$'"),
        ("at", "1999-01-01T00:00:00+08:00", "时间须在 2000 年至 2100 年之间。", "must lie between 2000 and 2100"),
        ("at", "1689296400", "应写明日期，如 2023-07-01。", "must be written out, as 2023-07-01"),
        ("at", 1689296400, "应写明日期，如 2023-07-01。", "must be written out, as 2023-07-01"),
        ("on", "0", "应写明日期，如 2023-07-01。", "must be written out, as 2023-07-01"),
        ("whole", 7.5, "应为整数。", "Input should be a valid integer"),
        ("whole", "7", "应为整数。", "Input should be a valid integer"),
        ("names", ["a", "b", "c"], "最多 2 项。", "List should have at most 2 items after validation, not 3"),
    ],
)
async def test_a_mistake_says_what_would_be_right(client: httpx.AsyncClient, field: str, value: object, zh: str, en: str) -> None:
    for language, said in (("zh", zh), ("en", en)):
        answer = await client.post("/limits", json={field: value}, headers={"Accept-Language": language})
        assert [(e["pointer"], e["detail"]) for e in answer.json()["errors"]] == [(f"/{field}", said)]


async def test_an_unknown_query_key_is_told_with_the_known_ones(client: httpx.AsyncClient) -> None:
    answer = await client.get("/thing?limt=1&limit=1&a/b=2", headers={"Accept-Language": "en"})
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [
        ("#query/limt", "query.unknown"),
        ("#query/a~1b", "query.unknown"),
    ]
    assert "there are cursor, limit" in answer.json()["errors"][0]["detail"]
    none = await client.post("/thing?limit=1", json={"name": "a"}, headers={"Accept-Language": "en"})
    assert none.json()["errors"][0]["detail"] == "This operation takes no query: remove it."


async def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    first, later = date(2023, 7, 1), date(2023, 7, 2)
    for good in ((first, later), (None, first), (first, None), (None, None)):
        values.check_range(*good)
    for bad in ((later, first), (first, first)):
        with pytest.raises(Problem) as refused:
            values.check_range(*bad)
        assert [e.pointer for e in refused.value.errors] == ["#query/to"]


async def test_a_whole_number_may_have_a_point_and_a_wrong_method_is_no_wrong_value(client: httpx.AsyncClient) -> None:
    assert (await client.post("/limits", json={"whole": 7.0})).json()["whole"] == 7
    answer = await client.get("/things/search")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert (await client.get("/things/x")).status_code == 422


async def test_head_is_get_without_the_body(client: httpx.AsyncClient) -> None:
    got, head = await client.get("/livez"), await client.head("/livez")
    assert (head.status_code, head.content, head.headers) == (200, b"", got.headers)
    assert (await client.head("/thing", headers={"If-None-Match": (await client.get("/thing")).headers["etag"]})).status_code == 304


@pytest.mark.parametrize(
    ("path", "allow"), [("/thing", "GET, HEAD, POST"), ("/raw", "POST"), ("/things/search", "POST"), ("/livez", "GET, HEAD")]
)
async def test_405_names_every_method_of_the_path(client: httpx.AsyncClient, path: str, allow: str) -> None:
    answer = await client.patch(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    assert allow in answer.json()["detail"]


async def test_without_a_content_type_a_body_is_json(client: httpx.AsyncClient) -> None:
    assert (await client.post("/thing", content=b'{"name": "a"}')).json() == {"name": "a"}
    kind = {"content-type": "application/merge-patch+json; charset=utf-8"}
    assert (await client.post("/thing", content=b'{"name": "a"}', headers=kind)).status_code == 200


@contextlib.asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[int]:
    """The port."""
    with process.listen("127.0.0.1", 0) as bound:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        serving = asyncio.create_task(server._serve([bound]))
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            yield bound.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


async def test_who_sends_too_much_before_it_reads_still_gets_its_answer(tmp_path: Path) -> None:
    """Over real sockets: a connection that is closed with unread bytes is reset, and the answer lost."""
    async with listening(app_with(tmp_path)) as port:
        for path in ("/thing", "/raw"):
            answer = await asyncio.to_thread(_send, port, path, b" " * (12 << 20))
            assert answer == (413, "body.too_large")


async def test_a_body_that_trickles_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "RECEIVE_S", 0.3)
    async with listening(app_with(tmp_path)) as port:
        for path in ("/raw", "/thing"):
            for head in (b"Content-Length: 900", b"Transfer-Encoding: chunked"):
                started = time.monotonic()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\n\r\n" % (path.encode(), head))
                writer.write(b"1\r\n{\r\n" if b"chunked" in head else b"{")
                answer = await asyncio.wait_for(reader.read(), 5)
                writer.close()
                assert answer.startswith(b"HTTP/1.1 408 "), answer
                assert b"body.too_slow" in answer
                assert 0.2 < time.monotonic() - started < 3


def _send(port: int, path: str, body: bytes) -> tuple[int, str]:
    """All of the body, then the answer, as urllib does."""
    connection = client_of_old.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("POST", path, body, {"Content-Type": "application/json", "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["code"]


async def test_a_chunked_body_is_counted_while_it_arrives(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    for path in ("/raw", "/thing"):
        answer = await client.post(path, content=endless(), headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "body.too_large")


async def test_a_role_that_lacks_the_scope_is_refused(client: httpx.AsyncClient) -> None:
    good = await client.get("/secret", headers=token(claim=("township", "140827100000")))
    assert good.json() == {"subject": "ann", "claim": "140827100000"}
    tenant = token(roles=["brand"], claim=("brand", "zto"))
    refused = (await client.get("/secret", headers=tenant)).json()
    assert refused["code"] == "scope.missing"
    assert "auditor" in refused["detail"], "who has it is named"
    assert (await client.get("/secret", headers=token(roles=["brand"]))).json()["code"] == "token.invalid", "it would see all brands"
    assert (await client.get("/secret", headers=token(ttl_s=-10))).json()["code"] == "token.invalid"
    assert (await client.get("/secret", headers=token(roles=["emperor"]))).json()["code"] == "token.invalid"
    stranger, _ = auth.generate_keys()
    other = jwt.encode(
        {"iss": "other", "aud": "tongcun", "sub": "x", "exp": 2**33, "roles": ["admin"]}, PRIVATE, "EdDSA", {"kid": "local-1"}
    )
    assert (await client.get("/secret", headers={"Authorization": f"Bearer {other}"})).json()["code"] == "token.invalid"
    forged = auth.issue(stranger, subject="ann", roles=["auditor"], ttl_s=60)
    assert (await client.get("/secret", headers={"Authorization": f"Bearer {forged}"})).json()["code"] == "token.invalid"


@pytest.mark.parametrize(
    "state",
    [{"n": 2**63}, {"n": -2}, {"n": 1.0}, {"n": float("nan")}, {"n": float("inf")}, {"n": True}, {"t": "\x00"}, {"t": "\ud800"},
     {"l": [0, [2**63]]}, {"d": {}}],
)  # fmt: skip
def test_a_cursor_holds_nothing_that_a_database_would_choke_on(state: dict[str, Any]) -> None:
    with pytest.raises(Problem) as refused:
        http.decode_cursor(http.encode_cursor(state))
    assert [e.pointer for e in refused.value.errors] == ["#query/cursor"]


def test_a_cursor_comes_back_as_it_went() -> None:
    state = {"r": 2**63 - 1, "a": [-1, "垣曲", None], "none": None}
    assert http.decode_cursor(http.encode_cursor(state)) == state
    assert http.decode_page(http.encode_page(7, 100)) == (7, 100)
    assert http.decode_page(None) == (None, 0)
    with pytest.raises(Problem):
        http.decode_page(http.encode_page(7, 2**31))


async def test_what_the_reader_sees_of_the_service(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).json()["checks"] == {"a": "ok", "b": "unreachable (ConnectionRefusedError)"}
    docs = (await client.get("/docs")).text
    assert "log:read" in docs
    assert "<script" not in docs
    await client.get("/thing")
    exposed = (await client.get("/metrics")).text
    assert 'route="/thing"' in exposed
    assert "tongcun_registry_revision_applied" in exposed
    assert "process_resident_memory_bytes" in exposed


async def test_large_bodies_are_heard_in_turns_and_nothing_else_waits() -> None:
    heard, go_on = [], asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append((scope["method"], scope["path"]))
        if scope["path"] == "/large":
            await go_on.wait()
        await Response(None, 204)(scope, receive, send)

    async def caller(request: Request) -> str | None:
        return request.headers.get("authorization")

    transport = httpx.ASGITransport(app=bodies.InTurns(app, "/large", 2, caller))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:

        def post(who: str | None) -> asyncio.Task[httpx.Response]:
            return asyncio.create_task(client.post("/large", headers={"authorization": who} if who else {}))

        slow = [post("one") for _ in range(3)]
        await asyncio.sleep(0.05)
        assert heard.count(("POST", "/large")) == 1, "one of a caller"
        strangers = [post(None) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert heard.count(("POST", "/large")) == 4, "whom nobody knows is refused, and holds no place"
        heard.clear()
        large = [*slow, *strangers, *(post(who) for who in ("two", "three"))]
        await asyncio.sleep(0.05)
        assert heard.count(("POST", "/large")) == 1, "two at once"
        assert (await client.post("/small")).status_code == (await client.get("/small")).status_code == 204
        large.pop().cancel()
        go_on.set()
        assert {answer.status_code for answer in await asyncio.gather(*large)} == {204}
    assert heard.count(("POST", "/large")) == 3
