"""`python -m deploy.compose.keys DIRECTORY`: make the secrets of an installation, with nothing but this image (deploy/compose/setup)."""

import os
import secrets
import sys
from pathlib import Path

from deploy.compose.secrets import CLUSTER_ID, DSNS, HOST, ISSUER, JWKS, KEYRING, SERVICE_TOKEN, SUPERUSER, BadSecret, check
from deploy.databases import SERVICES, Passwords
from shared import auth, keyring
from shared.keyring import KeyringError

READABLE = 0o444  # by each container's user; the directory around them is closed
TOKEN_S = 3 * 366 * 86_400


def make(directory: Path) -> None:
    """All of them at the first time; later the service token alone. Raises BadSecret where something that data depends on is missing."""
    if (directory / CLUSTER_ID).exists():  # written last
        check(directory, [SUPERUSER, *DSNS, KEYRING, ISSUER, JWKS])
    else:
        _make_all(directory)
    issuer = (directory / ISSUER).read_text()
    token = auth.issue(issuer, subject="subsidy-worker", roles=["service"], ttl_s=TOKEN_S)
    _write(directory / SERVICE_TOKEN, token)


def _make_all(directory: Path) -> None:
    _write(directory / SUPERUSER, secrets.token_hex(32))
    for service in SERVICES:
        for role in Passwords._fields:
            _write(directory / f"{service}-{role}", f"postgresql://{service}_{role}:{secrets.token_hex(32)}@{HOST}/{service}")
    (directory / KEYRING).unlink(missing_ok=True)
    keyring.create(directory / KEYRING)
    (directory / KEYRING).chmod(READABLE)
    private, public = auth.generate_keys()
    _write(directory / ISSUER, private)
    _write(directory / JWKS, public)
    _write(directory / CLUSTER_ID, _cluster_id())


def _cluster_id() -> str:
    """A Kafka UUID: 16 bytes, base64 for URLs. One that begins with a dash would be taken for an option."""
    while (made := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return made


def _write(path: Path, text: str) -> None:
    """All or nothing, and durable."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, READABLE)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.chmod(READABLE)
    new.replace(path)


def main(directory: Path) -> int:
    try:
        make(directory)
    except (BadSecret, KeyringError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
