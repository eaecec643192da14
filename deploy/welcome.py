"""What `up` says when all is ready: addresses, tokens, and commands that work as they stand, in another terminal."""

import shlex

from deploy.embedded.installation import SERVICES
from deploy.feed_operations import has_secret
from deploy.platform import READY_TOKENS, ROOT, Access

SANDBOX_FEED = "zto-sandbox"  # where whoever tries something may push: nothing of it reaches the books
JULY = "from=2023-07-01&to=2023-08-01"


def lines(running: Access, parcel: tuple[str, str] | None = None) -> list[str]:
    """`parcel`: brand and waybill number of one of the demo's, where the demo is what runs."""
    urls = running.urls
    addresses = [f"  {service:9} {urls[service]}/docs" for service in SERVICES]
    tokens = [f"  {role:12} {running.token(role)}" for role in READY_TOKENS]
    return [
        *addresses,
        "\n令牌（一天有效）· tokens, good for a day:",
        *tokens,
        "\n试一试 · commands to try, in another terminal:",
        *(f"  {command}" for command in to_try(running, parcel)),
        "",
    ]


def to_try(running: Access, parcel: tuple[str, str] | None) -> list[str]:
    summary = _asked(running, f"/v1/summary?{JULY}&group_by=township", parcel is not None)
    push = tongcun(running, f"push zto --feed {SANDBOX_FEED}", parcel is not None)
    if parcel:
        return [summary, _asked(running, f"/v1/parcels/{parcel[0]}/{parcel[1]}/explain", True), push]
    create = tongcun(running, f"feed create {SANDBOX_FEED} --format zto", False)
    return [summary, push] if has_secret(running, SANDBOX_FEED) else [summary, create, push]


def _asked(running: Access, path: str, demo: bool) -> str:
    token = tongcun(running, "token --role auditor", demo)
    return f'curl -s -H "Authorization: Bearer $({token})" "{running.urls["subsidy"]}{path}"'


def tongcun(running: Access, verb: str, demo: bool) -> str:
    """The command that reaches this installation, from the root of this checkout."""
    var = running.installation.var.parent if demo else running.installation.var
    prefix = "" if var == (ROOT / "var").resolve() else f"TONGCUN_VAR={shlex.quote(str(var))} "
    return f"{prefix}./tongcun {verb}{' --demo' if demo else ''}"
