"""Whose rows a token may see: one place that turns a tenant claim into restrictions."""

from typing import NamedTuple

from shared.auth import Principal, lacks_tenant

NOBODY = "-"  # matches no brand, beneficiary or township: a tenant that has no rows of this kind


class Tenant(NamedTuple):
    """Null: no restriction."""

    brand: str | None = None
    beneficiary_id: str | None = None
    township_code: str | None = None
    masked: bool = False

    @property
    def restriction(self) -> tuple[str | None, str | None, str | None]:
        """The three parameters of every list statement."""
        return self[:3]

    def may_see(self, brand: str, beneficiaries: set[str | None], townships: set[str | None]) -> bool:
        """Whether one parcel is the tenant's. `beneficiaries`: all that it was ever posted to, since a line stays its beneficiary's to see;
        `townships`: that of its latest assessment."""
        return (
            self.brand in (None, brand)
            and (self.beneficiary_id is None or self.beneficiary_id in beneficiaries)
            and (self.township_code is None or self.township_code in townships)
        )


def tenant_of(principal: Principal) -> Tenant:
    """Operators and merchants are beneficiaries; a feed is a sender, and has no rows of its own in the books.

    Who must be a tenant and names none sees nothing, although such a token is refused before it comes here.
    """
    if lacks_tenant(principal.roles, principal.claim_kind):
        return Tenant(NOBODY, NOBODY, NOBODY, principal.masked)
    match principal.claim_kind:
        case None:
            return Tenant(masked=principal.masked)
        case "brand":
            return Tenant(brand=principal.claim, masked=principal.masked)
        case "operator" | "merchant":
            return Tenant(beneficiary_id=principal.claim, masked=principal.masked)
        case "township":
            return Tenant(township_code=principal.claim, masked=principal.masked)
        case _:
            return Tenant(brand=NOBODY, masked=principal.masked)
