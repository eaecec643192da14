"""The signature check of sandbox feeds: why a push would be refused, for the engineer who builds it."""

import hashlib
from collections.abc import Sequence
from typing import Any

from services.ingest import schemas
from services.ingest.again import keys_of
from services.ingest.brands import NATIVE
from services.ingest.brands.base import TOKEN, BadSignature, Feed, Mode, RawPush, Unparseable
from services.ingest.domain.signatures import EXPLAINED, diagnose
from services.ingest.service import Ingest, Told, authenticate, now
from shared.problems import Problem, not_found


async def signature(ingest: Ingest, name: str, told: Told) -> schemas.SignatureCheck:
    """Raises Problem: 404, 409 for a feed that is live or has no signature to check, 413."""
    found = await ingest.feeds.find(name)
    if found is None:
        raise not_found("该来源", "feed", "feed.unknown")
    feed, living = found
    if feed.mode != Mode.SANDBOX:
        raise Problem(409, "feed.not_sandbox", "只有沙箱来源可以自检签名。", "Only a sandbox feed's signature can be checked.")
    if feed.format not in NATIVE or NATIVE[feed.format].SCHEMES[0] == TOKEN or living is None:
        raise Problem(409, "feed.unsigned", "该来源的推送没有签名可查。", "The pushes of this feed have no signature to check.")
    if told.body is None:
        raise Problem(413, "body.too_large", "报文过大。", "The body is too large.")
    async with ingest.reader.read() as read:
        _, ever = await keys_of(read, ingest.keyring, name)
    push = RawPush(feed, told.body, told.content_type, now(), None, told.headers, told.query, living)
    return _checked(feed, push, living, [secret for secret in ever if secret not in living])


def _checked(feed: Feed, push: RawPush, living: Sequence[bytes], retired: Sequence[bytes]) -> schemas.SignatureCheck:
    format_: Any = NATIVE[feed.format]
    try:
        if not hasattr(format_, "signed"):  # enciphered: it opens, or it does not
            authenticate(format_, push)
            return _told("signature.good", None)
        text, given = format_.signed(push)
    except Unparseable as e:
        zh, en = f"报文读不出签名（{e.code}）。", f"No signature can be read from the push ({e.code})."
        return schemas.SignatureCheck(good=False, code=e.code, zh=zh, en=en, signed_bytes=None, signed_sha256=None)
    except BadSignature:
        return _told("signature.other", None)
    return _told(diagnose(text, given, living, retired, format_.digest), text)


def _told(code: str, text: bytes | None) -> schemas.SignatureCheck:
    zh, en = EXPLAINED[code]
    return schemas.SignatureCheck(
        good=code == "signature.good",
        code=code,
        zh=zh,
        en=en,
        signed_bytes=None if text is None else len(text),
        signed_sha256=None if text is None else hashlib.sha256(text).hexdigest(),
    )
