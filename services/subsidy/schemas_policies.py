"""HTTP shapes of policies."""

from datetime import date

from services.subsidy.schemas import Label, Shape
from shared.values import AsOf, Instant


class Document(Shape):
    document: str
    title: str


class Clause(Shape):
    clause_id: str
    scheme: str
    mode: str
    condition: str
    reason_code: str
    basis: str
    document: str | None
    section: str | None
    quote: str | None
    title: Label
    how: Label | None


class Tier(Shape):
    rate_id: str
    scheme: str
    when: dict[str, str | bool]
    amount_fen: int


class Ceiling(Shape):
    scheme: str
    limit_fen_per_parcel: int


class UplinkPolicy(Shape):
    at_most_fen: int
    min_parcels: int
    min_sales_fen: int
    cap_fen: int
    registered_before: date
    platforms: list[str]
    catalogue: list[str]


class GoldenCase(Shape):
    """A case that travels with the policy: these facts, whatever the others are, come to this."""

    name: str
    facts: dict[str, str | bool | list[str]]
    outcome: str
    reason_codes: list[str]
    amount_fen: int


class PolicyItem(Shape):
    policy_version: str
    county_code: str
    valid_from: Instant
    valid_to: Instant
    status: str
    sha256: str
    rates_status: str
    documents: list[Document]
    clauses: list[Clause]
    tiers: list[Tier]
    tables: dict[str, dict[str, str]]
    ceilings: list[Ceiling]
    published_on: date | None
    not_below: str | None  # the version that 不退坡 compares it with
    exhaustion: dict[str, str]  # by scheme: what happens at a close when a budget is not enough
    uplink: UplinkPolicy | None
    golden: list[GoldenCase]


class Policy(PolicyItem):
    as_of: AsOf


class Policies(Shape):
    items: list[PolicyItem]
    next_cursor: str | None
    as_of: AsOf
