"""The keyring: AES-256-GCM under named keys, for feed secrets, inbox bodies and documents. Each row names the key it was encrypted with.

A missing keyring beside a database with data refuses to start: bodies that nobody can read any more are lost evidence.
"""

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
KEY_BYTES = 32


class KeyringError(Exception):
    """One line that says what is wrong with the keyring and what to do."""


@dataclass(frozen=True)
class Keyring:
    """`current` encrypts; every key decrypts, so that keys can be rotated."""

    current: str
    keys: dict[str, AESGCM]

    @classmethod
    def load(cls, path: str | Path) -> "Keyring":
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            keys = {name: AESGCM(base64.b64decode(key, validate=True)) for name, key in document["keys"].items()}
            current = document["current"]
        except OSError as e:
            raise KeyringError(f"the keyring {path} cannot be read ({e.__class__.__name__}): restore it from its backup") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise KeyringError(f"the keyring {path} is damaged: restore it from its backup") from None
        if current not in keys:
            raise KeyringError(f"the keyring {path} names a current key that it does not hold: restore it from its backup")
        return cls(current, keys)

    def encrypt(self, plain: bytes, aad: bytes) -> tuple[str, bytes]:
        """-> (key id, nonce + ciphertext). `aad` binds the ciphertext to its row: moved to another row it does not decrypt."""
        nonce = os.urandom(NONCE_BYTES)
        return self.current, nonce + self.keys[self.current].encrypt(nonce, plain, aad)

    def decrypt(self, key_id: str, data: bytes, aad: bytes) -> bytes:
        if key_id not in self.keys:
            raise KeyringError(f"the keyring has no key {key_id!r}: restore the keyring that this database was written with")
        try:
            return self.keys[key_id].decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], aad)
        except InvalidTag:
            raise KeyringError(f"what key {key_id!r} should open was changed, or belongs to another row") from None


def rotate(path: str | Path) -> str:
    """Add a fresh key and make it the current one; the others still open what they encrypted. -> its name. Raises KeyringError."""
    Keyring.load(path)  # a damaged keyring is not written over
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    name = _name()
    document = {"current": name, "keys": document["keys"] | {name: _key()}}
    beside = Path(f"{path}.new")
    beside.unlink(missing_ok=True)
    _write(beside, document)
    os.replace(beside, path)
    return name


def create(path: str | Path) -> None:
    """Make a keyring with one fresh key, readable by its owner alone. Never overwrites."""
    name = _name()
    _write(path, {"current": name, "keys": {name: _key()}})


def _name() -> str:
    """Never one that another keyring has: a row tells by it that it was written with another one."""
    return f"key_{os.urandom(4).hex()}"


def _key() -> str:
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def _write(path: str | Path, document: dict[str, object]) -> None:
    """On disk before this returns. Never overwrites."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
