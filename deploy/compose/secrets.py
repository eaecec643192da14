"""Which secrets an installation by docker-compose has, one file each, and whether they are whole."""

import time
from pathlib import Path
from urllib.parse import urlsplit

import jwt

from deploy.databases import SERVICES, Passwords
from shared.keyring import Keyring

DIRECTORY = Path("/run/secrets")  # where compose puts them
SUPERUSER, KEYRING, ISSUER, JWKS, SERVICE_TOKEN, CLUSTER_ID = (
    "postgres", "keyring.json", "issuer.pem", "jwks.json", "service-token", "cluster-id",
)  # fmt: skip
DSNS = tuple(f"{service}-{role}" for service in SERVICES for role in Passwords._fields)
HOST = "postgres:5432"  # in the stack
SPARE_S = 30 * 86_400  # a token that ends sooner is to be issued anew
MISSING = (
    "restore it from your copy of the directory; to begin anew, without any data: docker compose down -v, remove the directory, "
    "run deploy/compose/setup"
)


class BadSecret(Exception):
    """One line that says which file is missing or damaged, and what to do."""


def check(directory: Path, names: list[str]) -> None:
    """Raises BadSecret, KeyringError."""
    for name in names:
        if not read(directory, name):
            raise BadSecret(f"the secret {directory / name} is empty: {MISSING}")
    for name in set(names) & set(DSNS):
        passwords_of(directory, name.partition("-")[0])
    if KEYRING in names:
        Keyring.load(directory / KEYRING)


def read(directory: Path, name: str) -> str:
    try:
        return (directory / name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise BadSecret(f"the secret {directory / name} cannot be read ({type(e).__name__}): {MISSING}") from None


def passwords_of(directory: Path, service: str) -> Passwords:
    """Of the service's two roles, from their DSNs."""
    return Passwords(*(_password(directory, service, role) for role in Passwords._fields))


def _password(directory: Path, service: str, role: str) -> str:
    """What `databases.create` is to set: it must need no quoting."""
    name = f"{service}-{role}"
    parts = urlsplit(read(directory, name))
    if parts.scheme != "postgresql" or parts.username != f"{service}_{role}" or not (parts.password or "").isalnum():
        raise BadSecret(f"the secret {directory / name} is no postgresql://{service}_{role}:PASSWORD@HOST/{service}: {MISSING}")
    return str(parts.password)


def check_token(directory: Path) -> None:
    """The subsidy worker reports with it: once it has ended, no lag is known and no watermark rises."""
    try:
        expires_at = jwt.decode(read(directory, SERVICE_TOKEN), options={"verify_signature": False})["exp"]
    except (jwt.PyJWTError, KeyError):
        raise BadSecret(f"the secret {directory / SERVICE_TOKEN} is no token: deploy/compose/setup issues another") from None
    if expires_at < time.time() + SPARE_S:
        raise BadSecret(f"the token in {directory / SERVICE_TOKEN} ends within 30 days, or has ended: deploy/compose/setup issues another")
