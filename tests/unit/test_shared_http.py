"""What every API answers alike: problems, limits, ETags, cursors, tokens."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import jwt
import pytest
from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from shared import auth, http
from shared.problems import Problem

PRIVATE, JWKS = auth.generate_keys()


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: http.SafeText(10)  # type: ignore[valid-type]


@contextlib.asynccontextmanager
async def nothing(_app: FastAPI) -> AsyncIterator[None]:
    yield


async def well() -> None: ...


async def away() -> None:
    raise ConnectionRefusedError


def app_with(tmp_path: Path) -> FastAPI:
    router = APIRouter()

    @router.get("/thing")
    async def thing(request: Request, cursor: http.CursorParam = None, limit: http.Limit = 100) -> Response:
        state = http.decode_cursor(cursor) if cursor else {}
        return http.reply(request, {"at": datetime(2023, 7, 14, 1, 0, tzinfo=UTC), "state": state, "as_of": {"revision": id(request)}})

    @router.post("/thing")
    async def make(request: Request, body: Body) -> Response:
        return http.reply(request, body)

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
    assert (zh.status_code, zh.headers["content-type"], zh.json()["detail"]) == (404, "application/problem+json", "没有这个地址。")
    assert en.json()["detail"] == "There is nothing at this address."
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
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    assert "secret words" not in answer.text


async def test_a_mistake_is_told_in_chinese_and_english(client: httpx.AsyncClient) -> None:
    zh = await client.post("/thing", json={})
    en = await client.post("/thing", json={}, headers={"Accept-Language": "en"})
    assert zh.json()["errors"] == [{"pointer": "/name", "code": "missing", "detail": "缺少此项。"}]
    assert en.json()["errors"][0]["detail"] == "Field required"


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
    assert (await client.get("/secret", headers=tenant)).json()["code"] == "scope.missing"
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
    assert "tongcun_log_lag" in exposed
    assert "process_resident_memory_bytes" in exposed
