"""What a filing is handed in with 备案材料, and what of it is missing. Pure.

Source: 《快递末端网点备案暂行规定》 art. 6. Only told: the postal administration decides whether a filing is complete (art. 7).
"""

from collections.abc import Mapping

from msgspec.structs import replace

from services.registry.domain.refusals import Conflict
from shared.contracts.registry import DocumentKind, FilerType, Filing, Material

MAX_MATERIALS = 40  # of one filing
_OF_EACH = (DocumentKind.LICENCE, DocumentKind.IDENTITY, DocumentKind.PHOTO)
NEEDED: Mapping[FilerType, tuple[DocumentKind, ...]] = {
    FilerType.ENTERPRISE: _OF_EACH,
    FilerType.BRANCH: (*_OF_EACH, DocumentKind.AUTHORISATION),
}


def missing(filing: Filing) -> list[DocumentKind]:
    """In the order of the article."""
    there = {material.kind for material in filing.materials}
    return [kind for kind in NEEDED[filing.filer_type] if kind not in there]


def added(filing: Filing, material: Material) -> Filing:
    """The filing with one more; as it was where it is there already."""
    if material in filing.materials:
        return filing
    if len(filing.materials) >= MAX_MATERIALS:
        raise Conflict(
            "filing.too_many_materials",
            f"一件备案最多 {MAX_MATERIALS} 份材料，请合并后再传。",
            f"A filing has at most {MAX_MATERIALS} materials: join some of them.",
        )
    return replace(filing, materials=(*filing.materials, material))
