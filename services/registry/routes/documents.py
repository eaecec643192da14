"""Photographs and papers: docs/registry-documents.md."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas_documents as schemas
from services.registry.domain.documents import JPEG, MAX_BYTES, MEDIA_TYPES, PDF, PNG, WEBP
from services.registry.routes import database
from services.registry.schemas import Note
from services.registry.service import documents
from services.registry.service.documents import Vault
from shared.auth import Principal, requires
from shared.contracts.registry import DocumentKind
from shared.http import read_body, reply
from shared.openapi import problems
from shared.problems import Problem

router = APIRouter(tags=["documents 照片与证件"])
DOCUMENTS = "/v1/documents"
SUFFIXES = {JPEG: "jpg", PNG: "png", WEBP: "webp", PDF: "pdf"}
BYTES: dict[str, Any] = {name: {"schema": {"type": "string", "format": "binary"}} for name in MEDIA_TYPES}


def _vault(request: Request) -> Vault:
    found: Vault = request.app.state.vault
    return found


@router.post(
    DOCUMENTS,
    summary="New document 上传照片或证件",
    status_code=201,
    response_model=schemas.DocumentAnswer,
    responses=problems(409, 413, 415) | {200: {"model": schemas.DocumentAnswer, "description": "these bytes are there already 已有此文件"}},
    openapi_extra={"requestBody": {"required": True, "content": BYTES}},
)
async def add_document(
    request: Request, query: Annotated[schemas.DocumentQuery, Query()], principal: Annotated[Principal, requires("documents:write")]
) -> Response:
    """The bytes themselves, up to 5 MiB. They are kept as they came, encrypted, under the hash of what was sent."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        known = ", ".join(MEDIA_TYPES)
        raise Problem(415, "body.type", f"请上传图片或 PDF（{known}）。", f"Send a picture or a PDF ({known}).")
    data = await read_body(request, MAX_BYTES)
    told, new = await documents.take(database(request), _vault(request), principal, data, media_type, query.kind)
    return reply(request, told, status=201 if new else 200)


@router.get(
    "/v1/documents/{document_id}",
    summary="One document 一份照片或证件",
    response_class=Response,
    responses=problems(404) | {200: {"content": BYTES}},
)
async def get_document(
    request: Request,
    principal: Annotated[Principal, requires("registry:read")],
    document_id: str,
    reason: Annotated[Note | None, Query(description="why a person's paper is read (`identity`); it is recorded")] = None,
) -> Response:
    """The bytes as they were sent. A person's paper needs `documents:identity` and a reason, and each reading is recorded."""
    found = await documents.find(database(request), principal, document_id)
    headers = {
        "Content-Disposition": f'attachment; filename="{found.kind}-{found.sha256.hex()[:12]}.{SUFFIXES[found.media_type]}"',
        "Cache-Control": "private, no-cache",
        "ETag": f'"{found.sha256.hex()}"',
    }
    if found.kind is DocumentKind.IDENTITY:
        headers = {"Content-Disposition": headers["Content-Disposition"], "Cache-Control": "private, no-store"}
    elif headers["ETag"] in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
        return Response(None, 304, headers)
    data = await documents.opened(database(request), _vault(request), principal, found, reason)
    return Response(data, headers=headers, media_type=found.media_type)
