"""Standard Webhooks: the published vector, both kinds of key, several at once; everything else is one and the same refusal."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.ingest.brands import webhook
from services.ingest.brands.base import BadSignature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the specification's own vector
BODY = b'{"test": 2432232314}'
NOW = datetime.fromtimestamp(1614265330, UTC)
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_KEY = "whpk_" + b64encode(PRIVATE.public_key().public_bytes_raw()).decode()
PRIVATE_KEY = "whsk_" + b64encode(bytes(range(32))).decode()


def test_the_specifications_vector() -> None:
    kept = webhook.verify(HEADERS, BODY, [SECRET.encode()], NOW)
    assert kept == "\n".join(HEADERS.values()), "what is kept proves it to whoever has the key"
    assert webhook.sign(BODY, SECRET, HEADERS["webhook-id"], 1614265330) == HEADERS


def test_a_public_key_is_enough_to_verify() -> None:
    headers = webhook.sign(BODY, PRIVATE_KEY, "m-1", 1614265330)
    assert headers["webhook-signature"].startswith("v1a,")
    webhook.verify(headers, BODY, [PUBLIC_KEY.encode()], NOW)
    with pytest.raises(BadSignature):
        webhook.verify(headers, BODY + b" ", [PUBLIC_KEY.encode()], NOW)


def test_any_of_several_signatures_with_any_of_several_keys() -> None:
    other = "whsec_" + b64encode(b"x" * 24).decode()
    both = HEADERS | {"webhook-signature": f"v9,what v1,AAAA {HEADERS['webhook-signature']}"}
    webhook.verify(both, BODY, [other.encode(), PUBLIC_KEY.encode(), SECRET.encode()], NOW)
    with pytest.raises(BadSignature):
        webhook.verify(both, BODY, [other.encode(), PUBLIC_KEY.encode()], NOW)


@pytest.mark.parametrize("off_s", [-300, 0, 300])
def test_an_attempt_is_good_for_five_minutes(off_s: int) -> None:
    webhook.verify(HEADERS, BODY, [SECRET.encode()], NOW + timedelta(seconds=off_s))
    with pytest.raises(BadSignature):
        webhook.verify(HEADERS, BODY, [SECRET.encode()], NOW + timedelta(seconds=off_s + (1 if off_s >= 0 else -1) * 301))


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": ""},
        {"webhook-id": "a.b"},
        {"webhook-id": "ключ"},
        {"webhook-id": "x" * 257},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "1" * 400},
        {"webhook-timestamp": "-1614265330"},
        {"webhook-timestamp": "1614265330.0"},
        {"webhook-timestamp": "１６１４２６５３３０"},
        {"webhook-signature": ""},
        {"webhook-signature": "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook-signature": "v1 g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook-signature": "v1,  g0hM9SsE"},
        {"webhook-signature": "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": "v1a,é"},
        {"webhook-signature": " ".join(["v1,AAAA"] * 8 + [HEADERS["webhook-signature"]])},
    ],
)
def test_whatever_is_wrong_is_one_refusal(changed: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        webhook.verify(HEADERS | changed, BODY, [SECRET.encode(), PUBLIC_KEY.encode()], NOW)
    with pytest.raises(BadSignature):
        webhook.verify({}, BODY, [SECRET.encode()], NOW)


@pytest.mark.parametrize(
    ("secret", "good"),
    [
        (SECRET, True),
        (PUBLIC_KEY, True),
        (PRIVATE_KEY, False),  # it is never ours to hold
        ("whsec_" + b64encode(b"x" * 23).decode(), False),
        ("whsec_" + b64encode(b"x" * 65).decode(), False),
        ("whsec_%%%", False),
        ("whpk_" + b64encode(b"x" * 31).decode(), False),
        ("plain", False),
    ],
)
def test_what_a_secret_may_be(secret: str, good: bool) -> None:
    assert webhook.usable(secret) is good
