"""The site normaliser: how the name or code that a sender gives a place becomes something that can be looked up.

Used by registry (an alias) and subsidy (a scan), so it exists once. A change of the rule is a new VERSION and a re-assessment.
"""

import unicodedata
from hashlib import sha256

import msgspec

VERSION = 1
_SUFFIXES = ("店", "站", "点")


def normalise(text: str) -> str:
    """NFKC, no white space, lower case, one trailing 店, 站 or 点 dropped (unless nothing else is left)."""
    folded = "".join(unicodedata.normalize("NFKC", text).split()).lower()
    return folded[:-1] if len(folded) > 1 and folded.endswith(_SUFFIXES) else folded


def site_id(namespace: str, site_code: str | None, site_name: str | None) -> bytes | None:
    """16 bytes that stand for a site: its code if it has one, else its name, in its namespace; None if the scan names no place."""
    kind, text = ("code", site_code) if site_code else ("name", site_name)
    if not text or not (plain := normalise(text)):
        return None
    return sha256(msgspec.json.encode([VERSION, namespace, kind, plain])).digest()[:16]
