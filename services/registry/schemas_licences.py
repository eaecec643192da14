"""HTTP shapes of licences."""

from typing import Annotated

from pydantic import Field

from services.registry.schemas import Body, Code, Name, Note
from shared.values import Moment

MAX_AREAS = 100
MAX_SCOPES = 20


class NewLicence(Body):
    """`areas`: division codes, each with all that lies in it; `holder`: the enterprise or branch that the licence names.

    `scope` 业务范围: in the licence's words, e.g. 国内快递; empty: nobody has told, and nothing is checked.
    """

    number: Name
    authority: Name
    holder: Name
    areas: Annotated[list[Code], Field(min_length=1, max_length=MAX_AREAS)]
    scope: list[Name] = Field([], max_length=MAX_SCOPES)
    valid_from: Moment
    valid_to: Moment | None = None


class LicenceEnd(Body):
    """Cancelled, or the branch struck off the register; at `valid_from` itself: it was recorded by mistake."""

    effective_at: Moment
    reason: Note
