"""Whose a station is: what a token may see and change. Another's resource is 404, so that its existence is nobody's business."""

import re

from services.registry.domain.stations import as_a_brand_sees, readable_by
from shared.auth import Principal, lacks_scope
from shared.contracts.registry import Station
from shared.problems import Problem, not_found

COUNTY_ROLES = frozenset({"coordinator", "admin", "postal"})  # not limited to one operator's stations unless their token says so
_ID = re.compile(r"[a-z]{3}_[0-9]{1,19}(_[0-9]{1,3})?")


def operator_limit(principal: Principal) -> str | None:
    """The operator that a writer is limited to; None: nobody. An operator's token that names no operator owns nothing."""
    if claim := principal.tenant("operator"):
        return claim
    return None if principal.roles & COUNTY_ROLES else ""


def may_see(principal: Principal, station: Station) -> bool:
    return readable_by(station, principal.claim_kind, principal.claim)


def seen(principal: Principal, station: Station) -> Station | None:
    """As the caller sees it; None: not at all."""
    if not may_see(principal, station):
        return None
    brand = principal.tenant("brand")
    return as_a_brand_sees(station, brand) if brand else station


def merchant_limit(principal: Principal) -> str | None:
    """The merchant that a caller is limited to, in reading as in writing; None: nobody. Merchants see nothing of each other."""
    return principal.tenant("merchant")


def knows_merchants(principal: Principal) -> bool:
    """Whether a merchant is shown whole: to whoever works on declarations. What it sells, and who owns it, is nobody else's business."""
    return "declarations:read" in principal.scopes


def need(principal: Principal, scope: str) -> None:
    """For a scope that depends on what the body says."""
    if scope not in principal.scopes:
        raise lacks_scope(scope)


def is_id(text: str) -> bool:
    """Whether it can be an id of ours; anything else is not found without asking the database."""
    return _ID.fullmatch(text) is not None


def no_station() -> Problem:
    return not_found("站点", "station", "station.not_found")


def no_filing() -> Problem:
    return not_found("备案", "filing", "filing.not_found")


def no_merchant() -> Problem:
    return not_found("申报主体", "merchant", "merchant.not_found")


def no_operator() -> Problem:
    return not_found("运营企业", "operator", "operator.not_found")
