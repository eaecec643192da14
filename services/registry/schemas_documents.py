"""HTTP shapes of photographs, papers, and what a filing is handed in with."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.registry import DocumentKind
from shared.values import Instant

MAX_PHOTOS = 20  # of a station
MAX_GIVEN = 20  # materials of one request
DocumentId = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class DocumentQuery(BaseModel):
    kind: DocumentKind = Field(description="what it is of")


class DocumentAnswer(BaseModel):
    """`recorded_at`: when these bytes first came."""

    document_id: str
    media_type: str
    size: int = Field(description="bytes")
    kind: DocumentKind
    recorded_at: Instant


class Material(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: DocumentKind
    document_id: DocumentId


class StationPhotos(BaseModel):
    """All of them, in order; an empty list: none any more."""

    model_config = ConfigDict(extra="forbid")

    photos: list[DocumentId] = Field(max_length=MAX_PHOTOS)
