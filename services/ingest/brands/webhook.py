"""Signed pushes of the canonical API, as Standard Webhooks has it: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

What is signed is `id.timestamp.body`, over the bytes as sent: `v1,…` HMAC-SHA256 under a secret `whsec_…`, `v1a,…` Ed25519 under the
private half of a key whose public half, `whpk_…`, is all that we hold: with that a stored signature proves to others, against us, too, what
its sender said. Several signatures may stand side by side, so that keys change over without a lost push. An attempt is good for five
minutes on either side; when the scans happened is another matter.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.ingest.brands.base import BadSignature
from services.ingest.brands.wire import hmac_base64, matches_any

SCHEME = "webhook"
HMAC_PREFIX, PUBLIC_PREFIX, PRIVATE_PREFIX = "whsec_", "whpk_", "whsk_"
TOLERANCE_S = 300
SECRET_BYTES = range(24, 65)
MAX_SIGNATURES = 8
_ID = re.compile(r"[!-\-/-~]{1,256}\Z")  # printable, without the dot that separates it
_TIMESTAMP = re.compile(r"[0-9]{1,12}\Z")


def usable(secret: str) -> bool:
    """Whether it is a `whsec_` of 24 to 64 bytes, or a `whpk_`: a public key."""
    if secret.startswith(HMAC_PREFIX):
        key = _decoded(secret.removeprefix(HMAC_PREFIX))
        return key is not None and len(key) in SECRET_BYTES
    return _public(secret) is not None


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> str:
    """-> what is kept of the signature as evidence: id, timestamp and signatures, a line each. Raises BadSignature, whatever is wrong."""
    told, at, given = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not _ID.match(told) or not _TIMESTAMP.match(at) or abs(now.timestamp() - int(at)) > TOLERANCE_S:
        raise BadSignature
    signed = f"{told}.{at}.".encode() + body
    good = [_made(one, signed, [secret.decode() for secret in secrets]) for one in given.split(" ")[:MAX_SIGNATURES]]
    if not any(good):
        raise BadSignature
    return f"{told}\n{at}\n{given}"


def _made(signature: str, signed: bytes, secrets: Sequence[str]) -> bool:
    version, _, given = signature.partition(",")
    if version == "v1":
        keys = [_decoded(secret.removeprefix(HMAC_PREFIX)) for secret in secrets if secret.startswith(HMAC_PREFIX)]
        return matches_any(given, [hmac_base64(signed, key) for key in keys if key is not None])
    raw = _decoded(given) if version == "v1a" else None
    return raw is not None and any(_signed_by(key, raw, signed) for secret in secrets if (key := _public(secret)) is not None)


def _signed_by(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _public(secret: str) -> Ed25519PublicKey | None:
    raw = _decoded(secret.removeprefix(PUBLIC_PREFIX)) if secret.startswith(PUBLIC_PREFIX) else None
    return Ed25519PublicKey.from_public_bytes(raw) if raw is not None and len(raw) == 32 else None


def _decoded(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return None


def sign(body: bytes, key: str, told: str, at: int) -> dict[str, str]:
    """The headers of a push; `key`: `whsec_…` or `whsk_…`, the private half."""
    signed = f"{told}.{at}.".encode() + body
    if key.startswith(PRIVATE_PREFIX):
        private = Ed25519PrivateKey.from_private_bytes(b64decode(key.removeprefix(PRIVATE_PREFIX)))
        signature = "v1a," + b64encode(private.sign(signed)).decode()
    else:
        signature = "v1," + hmac_base64(signed, b64decode(key.removeprefix(HMAC_PREFIX)))
    return {"webhook-id": told, "webhook-timestamp": str(at), "webhook-signature": signature}
