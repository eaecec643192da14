"""Photographs and papers: kept encrypted, once, for whom they concern; materials of a filing and photos of a station name them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from services.registry.api import check_start
from services.registry.migrate import install
from services.registry.service import documents as service
from shared import keyring
from shared.calendar import SHANGHAI
from shared.keyring import Keyring, KeyringError
from tests import media
from tests.conftest import MakeDatabase
from tests.registry_api import Registry, day, filing_body, running

JPEG, PNG, WEBP, PDF = "image/jpeg", "image/png", "image/webp", "application/pdf"
REASON = {"reason": "核对备案材料"}
AHEAD = (datetime.now(SHANGHAI) + timedelta(days=100)).replace(hour=0, minute=0, second=0, microsecond=0).isoformat()


@pytest.fixture(scope="module")
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


async def put(
    registry: Registry, data: bytes, media_type: str = PNG, kind: str = "photo", role: str = "operator", key: str = "", **claim: str
) -> httpx.Response:
    headers = registry.token(role, **claim) | {"Content-Type": media_type} | ({"Idempotency-Key": key} if key else {})
    return await registry.client.post("/v1/documents", params={"kind": kind}, content=data, headers=headers)


async def sent(registry: Registry, data: bytes, media_type: str = PNG, kind: str = "photo", role: str = "operator", **claim: str) -> str:
    answer = await put(registry, data, media_type, kind, role, **claim)
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["document_id"])


async def look(registry: Registry, document_id: str, role: str, reason: dict[str, str] | None = None, **claim: str) -> httpx.Response:
    headers = registry.token(role, **claim)
    return await registry.client.get(f"/v1/documents/{document_id}", params=reason or {}, headers=headers)


def codes(answer: httpx.Response) -> list[str]:
    return [answer.json()["code"], *(e["code"] for e in answer.json()["errors"])]


async def rows(registry: Registry, query: str, *args: object) -> list[tuple[Any, ...]]:
    async with registry.database.read() as read:
        return [tuple(row) for row in await read.fetch(query, *args)]


# in, and out again


@pytest.mark.parametrize(
    ("data", "media_type", "suffix"),
    [
        (media.JPEG, JPEG, "jpg"), (media.png(pixels=b"1"), PNG, "png"), (media.WEBP, WEBP, "webp"), (media.pdf("1"), PDF, "pdf"),
    ],
)  # fmt: skip
async def test_bytes_come_back_as_they_went(registry: Registry, data: bytes, media_type: str, suffix: str) -> None:
    answer = await put(registry, data, f"{media_type.upper()}; charset=binary", "other", "coordinator")
    told = answer.json()
    assert answer.status_code == 201
    assert told == {
        "document_id": f"sha256:{hashlib.sha256(data).hexdigest()}", "media_type": media_type, "size": len(data), "kind": "other",
        "recorded_at": told["recorded_at"],
    }  # fmt: skip
    got = await look(registry, told["document_id"], "auditor")
    assert (got.status_code, got.content, got.headers["content-type"]) == (200, data, media_type)
    assert got.headers["content-disposition"] == f'attachment; filename="other-{told["document_id"][7:19]}.{suffix}"'
    assert (got.headers["x-content-type-options"], got.headers["cache-control"]) == ("nosniff", "private, no-cache")
    head = await registry.client.head(f"/v1/documents/{told['document_id']}", headers=registry.token("auditor"))
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(data)))
    again = {"If-None-Match": got.headers["etag"]} | registry.token("auditor")
    assert (await registry.client.get(f"/v1/documents/{told['document_id']}", headers=again)).status_code == 304


async def test_the_same_bytes_are_one_document_whoever_sends_them(registry: Registry) -> None:
    data = media.pdf("同一份")
    first = await put(registry, data, PDF, "licence", operator="opr_91")
    second = await put(registry, data, PDF, "licence", operator="opr_91")
    other = await put(registry, data, PDF, "licence", operator="opr_92")
    assert [first.status_code, second.status_code, other.status_code] == [201, 200, 200]
    assert first.json() == second.json() == other.json()
    as_other_kind = await put(registry, data, PDF, "authorisation", operator="opr_91")
    assert (as_other_kind.status_code, codes(as_other_kind)) == (409, ["document.other_kind"])
    digest = hashlib.sha256(data).digest()
    assert await rows(registry, "select by, operator_id from document_upload where sha256 = $1 order by 2", digest) == [
        ("test:operator", "opr_91"), ("test:operator", "opr_92"),
    ]  # fmt: skip
    for operator in ("opr_91", "opr_92"):
        assert (await look(registry, first.json()["document_id"], "operator", operator=operator)).content == data
    at_once = media.pdf("同时")
    answers = await asyncio.gather(*(put(registry, at_once, PDF, "licence", "coordinator") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]


async def test_an_upload_is_asked_again_under_its_key(registry: Registry) -> None:
    data = media.png(pixels=b"key")
    first = await put(registry, data, key="photo-1", operator="opr_91")
    again = await put(registry, data, key="photo-1", operator="opr_91")
    assert (first.status_code, again.status_code, again.headers["idempotency-replayed"]) == (201, 201, "true")
    assert again.json() == first.json()
    other = await put(registry, media.png(pixels=b"another"), key="photo-1", operator="opr_91")
    assert (other.status_code, codes(other)) == (422, ["idempotency.other_request"])


# what is not taken


@pytest.mark.parametrize(
    ("data", "media_type", "kind", "status", "code"),
    [
        (b"", PNG, "photo", 422, "document.empty"),
        (media.png()[:-5], PNG, "photo", 422, "document.damaged"),
        (media.JPEG[:-2], JPEG, "photo", 422, "document.damaged"),
        (media.pdf()[:-30], PDF, "licence", 422, "document.damaged"),
        (media.JPEG, PNG, "photo", 422, "document.other_type"),
        (media.pdf(), JPEG, "licence", 422, "document.other_type"),
        (b"<html><script>alert(1)</script></html>", JPEG, "photo", 422, "document.unknown_type"),
        (media.png(20_000, 20_000), PNG, "photo", 422, "document.dimensions"),
        (media.pdf(), PDF, "photo", 422, "document.photo_is_picture"),
        (media.png(), "image/gif", "photo", 415, "body.type"),
        (media.png(), "application/json", "photo", 415, "body.type"),
        (media.png(), "", "photo", 415, "body.type"),
        (media.png(), PNG, "selfie", 422, "enum"),
        (media.png(), PNG, "", 422, "enum"),
        (media.png() + bytes(5 << 20), PNG, "photo", 413, "body.too_large"),
    ],
)
async def test_what_is_wrong_is_told_and_not_kept(
    registry: Registry, data: bytes, media_type: str, kind: str, status: int, code: str
) -> None:
    before = await rows(registry, "select count(*) from document")
    answer = await put(registry, data, media_type, kind, "coordinator")
    assert (answer.status_code, code in codes(answer)) == (status, True), answer.text
    assert await rows(registry, "select count(*) from document") == before


async def test_a_document_of_just_the_limit_is_taken_and_the_limit_is_told(registry: Registry) -> None:
    largest = media.JPEG + bytes((5 << 20) - len(media.JPEG))
    assert (await put(registry, largest, JPEG, "photo", "coordinator")).status_code == 201
    document_id = f"sha256:{hashlib.sha256(largest).hexdigest()}"
    assert (await look(registry, document_id, "dashboard")).content == largest
    more = await put(registry, largest + b"\x00", JPEG, "photo", "coordinator")
    assert (more.status_code, "5242880" in more.json()["detail"]) == (413, True)


async def test_who_may_not_send_may_not(registry: Registry) -> None:
    for role in ("brand", "merchant", "township", "finance", "auditor", "dashboard"):
        answer = await put(registry, media.png(), PNG, "photo", role)
        assert (answer.status_code, codes(answer)) == (403, ["scope.missing"]), role
    assert (await put(registry, media.png(), PNG, "photo", "service")).status_code == 403
    missing = await registry.client.post("/v1/documents", content=media.png(), headers=registry.token("admin") | {"Content-Type": PNG})
    assert (missing.status_code, "missing" in codes(missing)) == (422, True)


# whose it is to see


async def test_a_photo_is_for_whoever_sees_the_register_and_a_paper_is_not(registry: Registry) -> None:
    photo = await sent(registry, media.png(pixels=b"premises"), operator="opr_91")
    for role in ("brand", "merchant", "township", "dashboard", "finance", "reviewer", "postal", "operator"):
        assert (await look(registry, photo, role)).status_code == 200, role
    for kind in ("licence", "authorisation", "other"):
        paper = await sent(registry, media.pdf(kind), PDF, kind, operator="opr_91")
        for role in ("coordinator", "admin", "postal", "reviewer", "auditor"):
            assert (await look(registry, paper, role)).status_code == 200, (kind, role)
        assert (await look(registry, paper, "operator", operator="opr_91")).status_code == 200
        refused = [await look(registry, paper, "operator", operator="opr_92")]
        refused += [await look(registry, paper, role) for role in ("brand", "merchant", "township", "dashboard", "finance")]
        refused.append(await look(registry, paper, "reviewer", township="140827100000"))
        assert {(answer.status_code, *codes(answer)) for answer in refused} == {(404, "document.not_found")}
    for nothing in (f"sha256:{'0' * 64}", "sha256:0", f"SHA256:{photo[7:]}", photo[7:], "%00", "x" * 300):
        assert (await look(registry, nothing, "admin")).status_code == 404, nothing


async def test_a_persons_paper_is_read_for_a_reason_and_each_reading_is_written_down(registry: Registry) -> None:
    data = media.pdf("负责人")
    paper = await sent(registry, data, PDF, "identity", operator="opr_91")
    readings = "select by, why from document_reading where sha256 = $1 order by reading_id"
    digest = hashlib.sha256(data).digest()
    for role in ("auditor", "reviewer"):
        answer = await look(registry, paper, role, REASON)
        assert (answer.status_code, codes(answer)) == (403, ["scope.missing"]), role
    assert (await look(registry, paper, "operator", REASON, operator="opr_91")).status_code == 403, "who sent it has it"
    assert (await look(registry, paper, "operator", REASON, operator="opr_92")).status_code == 404
    for role in ("brand", "dashboard", "township", "finance"):
        assert (await look(registry, paper, role, REASON)).status_code == 404, role
    for reason, code in (({}, "document.reason_required"), ({"reason": " "}, "text.blank"), ({"reason": "核" * 501}, "string_too_long")):
        answer = await look(registry, paper, "coordinator", reason)
        assert (answer.status_code, code in codes(answer)) == (422, True), answer.text
    assert await rows(registry, readings, digest) == [], "nobody has read it so far"
    for role in ("coordinator", "postal", "admin"):
        answer = await look(registry, paper, role, REASON | {"reason": f"{REASON['reason']} {role}"})
        assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (200, data, "private, no-store"), role
        assert "etag" not in answer.headers
    assert await rows(registry, readings, digest) == [(f"test:{r}", f"核对备案材料 {r}") for r in ("coordinator", "postal", "admin")]


# at rest


async def test_nothing_at_rest_is_plain_or_can_be_changed(registry: Registry) -> None:
    mark = b"plain-words-of-a-licence"
    await sent(registry, media.pdf(mark.decode()), PDF, "licence", operator="opr_91")
    dumped = [str(row[0]) for table in TABLES for row in await rows(registry, f"select t::text from {table} t")]
    assert sum(len(text) for text in dumped) > 1000
    for words in (mark.hex(), mark.decode(), b"%PDF-".hex(), b"IHDR".hex(), b"JFIF".hex()):
        assert not any(words in text for text in dumped), words
    ciphertexts = await rows(registry, "select distinct substring(body for 12) from document")
    assert len(ciphertexts) == (await rows(registry, "select count(*) from document"))[0][0], "a nonce of its own each"
    for table in ("document", "document_upload", "document_reading"):
        for statement in (f"delete from {table}", f"update {table} set sha256 = sha256", f"truncate {table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with registry.database.write() as tx:
                    await tx.execute(statement)


TABLES = ("document", "document_upload", "document_reading", "log", "snapshot", "kept_answer", "revision")


async def test_a_body_that_was_moved_to_another_document_does_not_open(make_database: MakeDatabase) -> None:
    async with running(make_database) as registry:
        one, other = [await sent(registry, media.pdf(words), PDF, "other", operator="opr_1") for words in ("一", "二")]
        owner = await asyncpg.connect(registry.owner_dsn)
        body = await owner.fetchval("select body from document where sha256 = $1", bytes.fromhex(one[7:]))
        await owner.execute("update document set body = $1 where sha256 = $2", body, bytes.fromhex(other[7:]))
        await owner.close()
        with pytest.raises(KeyringError, match="belongs to another row"):  # the client of an application in this process sees it
            await look(registry, other, "coordinator")


async def test_a_rotated_keyring_opens_what_it_closed_and_no_other_keyring_starts(make_database: MakeDatabase, tmp_path: Path) -> None:
    ring = tmp_path / "keyring.json"
    keyring.create(ring)
    async with running(make_database) as registry:
        app = registry.client._transport.app  # type: ignore[attr-defined]
        app.state.vault = service.Vault(Keyring.load(ring))
        before = await sent(registry, media.pdf("以前"), PDF, "other", "coordinator")
        old = ring.read_bytes()
        name = keyring.rotate(ring)
        app.state.vault = service.Vault(Keyring.load(ring))  # as after a new start
        after = await sent(registry, media.pdf("以后"), PDF, "other", "coordinator")
        assert [(await look(registry, id_, "auditor")).content for id_ in (before, after)] == [media.pdf("以前"), media.pdf("以后")]
        assert (name,) in await rows(registry, "select key_id from document")
        await check_start(registry.database, Keyring.load(ring))
        await install(registry.owner_dsn, str(ring))
        other = tmp_path / "other.json"
        keyring.create(other)
        (tmp_path / "restored.json").write_bytes(old)
        for wrong in (tmp_path / "restored.json", other):  # of before the rotation, of another installation
            with pytest.raises(KeyringError, match=r"does not open the documents of key .* restore the keyring"):
                await check_start(registry.database, Keyring.load(wrong))
            with pytest.raises(KeyringError, match="restore the keyring"):
                await install(registry.owner_dsn, str(wrong))


# materials of a filing


async def materials(registry: Registry, filing_id: str, expect: int = 200, role: str = "operator", **body: str) -> Any:
    claim = {"operator": body.pop("operator")} if role == "operator" else {}
    return await registry.call("POST", f"/v1/filings/{filing_id}/materials", body, role=role, expect=expect, **claim)


async def test_materials_of_a_filing_and_what_is_missing(registry: Registry) -> None:
    operator = await registry.operator()
    station = await registry.station(operator_id=operator)
    ids = {
        "licence": await sent(registry, media.pdf("执照"), PDF, "licence", operator=operator),
        "identity": await sent(registry, media.pdf("身份"), PDF, "identity", operator=operator),
        "photo": await sent(registry, media.png(pixels=b"inside"), operator=operator),
        "authorisation": await sent(registry, media.pdf("授权"), PDF, "authorisation", operator=operator),
    }
    given = [{"kind": "licence", "document_id": ids["licence"]}] * 2
    body = filing_body(filer_id=operator, filer_type="branch", materials=given)
    path = f"/v1/stations/{station}/filings"
    opened = await registry.call("POST", path, body, role="operator", operator=operator, expect=201)
    filing = opened["filing_id"]
    assert (opened["filer_type"], opened["materials"]) == ("branch", given[:1])
    assert opened["missing_materials"] == ["identity", "photo", "authorisation"]
    for kind in ("photo", "identity"):
        told = await materials(registry, filing, operator=operator, kind=kind, document_id=ids[kind])
    assert (told["missing_materials"], told["status"], told["as_of"]["revision"]) == (["authorisation"], "draft", told["as_of"]["revision"])
    again = await materials(registry, filing, operator=operator, kind="photo", document_id=ids["photo"])
    assert again["as_of"]["revision"] == told["as_of"]["revision"], "what is recorded already makes no revision"
    whole = await materials(registry, filing, role="coordinator", kind="authorisation", document_id=ids["authorisation"])
    assert (whole["missing_materials"], [m["kind"] for m in whole["materials"]]) == ([], ["licence", "photo", "identity", "authorisation"])
    [item] = (await registry.call("GET", path, role="brand", brand="zto"))["items"]
    assert (item["materials"], item["missing_materials"]) == (whole["materials"], [])
    [then] = (await registry.get(path, known_at=opened["as_of"]["known_at"]))["items"]
    assert then["missing_materials"] == ["identity", "photo", "authorisation"], "as it was known then"
    moved = await registry.move(filing, "submitted", day(6, 8))
    assert (moved["materials"], moved["missing_materials"]) == (whole["materials"], [])
    log = "".join(item["value"] for item in (await registry.get("/v1/log/0", limit=1000))["items"])
    assert ids["identity"] in log
    assert "%PDF" not in log
    assert media.pdf("身份").hex()[:64] not in log


async def test_a_filing_without_materials_is_an_enterprises_and_refused_nothing(registry: Registry) -> None:
    operator = await registry.operator()
    station = await registry.station(operator_id=operator)
    filing = await registry.filing(station, operator, status="submitted")
    filed = await registry.move(filing, "filed", day(6, 12), receipt_no="R-ohne")
    assert (filed["status"], filed["filer_type"], filed["materials"]) == ("filed", "enterprise", [])
    assert filed["missing_materials"] == ["licence", "identity", "photo"]
    ahead = await registry.station(operator_id=operator, name="明年", effective_at=AHEAD)
    later = await registry.filing(ahead, operator, opened_on=AHEAD[:10], effective_at=AHEAD)
    licence = await sent(registry, media.pdf("明年"), PDF, "licence", operator=operator)
    told = await materials(registry, later, operator=operator, kind="licence", document_id=licence)
    assert (told["missing_materials"], told["as_of"]["valid_at"]) == (["identity", "photo"], AHEAD)


async def test_a_material_that_is_not_there_not_of_its_kind_or_anothers_is_refused(registry: Registry) -> None:
    mine, theirs = await registry.operator(), await registry.operator()
    station = await registry.station(operator_id=mine, name="材料站")
    filing = await registry.filing(station, mine)
    licence = await sent(registry, media.pdf("他人执照"), PDF, "licence", operator=theirs)
    own = await sent(registry, media.pdf("本人执照"), PDF, "licence", operator=mine)
    before = (await registry.get("/v1/stations"))["as_of"]["revision"]
    wrong: list[tuple[dict[str, str], str]] = [
        ({"kind": "licence", "document_id": f"sha256:{'1' * 64}"}, "document.unknown"),
        ({"kind": "licence", "document_id": licence}, "document.unknown"),
        ({"kind": "authorisation", "document_id": own}, "document.other_kind"),
        ({"kind": "licence", "document_id": "sha256:1"}, "string_pattern_mismatch"),
        ({"kind": "selfie", "document_id": own}, "enum"),
        ({"kind": "licence"}, "missing"),
        ({"kind": "licence", "document_id": own, "name": "x"}, "extra_forbidden"),
    ]
    for body, code in wrong:
        answer = await materials(registry, filing, 422, operator=mine, **body)
        assert [e["code"] for e in answer["errors"]] == [code], body
        if "." in code:
            opened = filing_body(filer_id=mine, materials=[body])
            path = f"/v1/stations/{station}/filings"
            refused = await registry.call("POST", path, opened, role="operator", operator=mine, expect=422)
            assert [(e["pointer"], e["code"]) for e in refused["errors"]] == [("/materials/0/document_id", code)]
    await materials(registry, filing, 404, operator=theirs, kind="licence", document_id=licence)
    await materials(registry, "fil_999999", 404, operator=mine, kind="licence", document_id=own)
    await materials(registry, filing, 403, role="postal", kind="licence", document_id=own)
    assert (await registry.get("/v1/stations"))["as_of"]["revision"] == before


# photos of a station


async def photos(registry: Registry, station: str, ids: list[str], expect: int = 200, role: str = "operator", **claim: str) -> Any:
    return await registry.call("POST", f"/v1/stations/{station}/photos", {"photos": ids}, role=role, expect=expect, **claim)


async def test_photos_of_a_station(registry: Registry) -> None:
    mine, theirs = await registry.operator(), await registry.operator()
    station = await registry.station(operator_id=mine, name="照片站")
    front, inside = [await sent(registry, media.png(pixels=words), operator=mine) for words in (b"front", b"within")]
    assert (await registry.get(f"/v1/stations/{station}"))["photos"] == []
    told = await photos(registry, station, [front, inside, front], operator=mine)
    assert told["photos"] == [front, inside]
    shown = await registry.call("GET", f"/v1/stations/{station}", role="brand", brand="zto")
    assert (shown["photos"], shown["version"]) == ([front, inside], 2)
    again = await photos(registry, station, [front, inside], role="coordinator")
    assert (again["version"], again["photos"]) == (2, [front, inside])
    assert (await photos(registry, station, [], operator=mine))["photos"] == []
    before = await registry.get(f"/v1/stations/{station}", known_at=told["as_of"]["known_at"])
    assert before["photos"] == [front, inside]
    licence = await sent(registry, media.pdf("站点执照"), PDF, "licence", operator=mine)
    for ids, code in (
        ([front, licence], "document.other_kind"),
        ([f"sha256:{'2' * 64}"], "document.unknown"),
        (["x"], "string_pattern_mismatch"),
        ([front] * 21, "too_long"),
    ):
        answer = await photos(registry, station, ids, 422, operator=mine)
        assert [e["code"] for e in answer["errors"]] == [code], ids
    await photos(registry, station, [front], 404, operator=theirs)
    await photos(registry, station, [front], 403, role="postal")
    await photos(registry, "stn_999999", [front], 404, role="admin")
    await registry.call("PATCH", f"/v1/stations/{station}", {"operator_id": theirs, "effective_at": day(9, 1)})
    await photos(registry, station, [front], 404, operator=mine)
    assert (await photos(registry, station, [front], operator=theirs))["photos"] == [front]
    planned = await registry.station(name="筹建站", effective_at=AHEAD)
    assert (await photos(registry, planned, [front], role="admin"))["photos"] == [front]
