"""What must not leave the encrypted inbox: control characters that deceive, and numbers that are somebody's. Pure."""

import re
import unicodedata
from functools import lru_cache

# NUL ends up nowhere (PostgreSQL refuses it), control and bidirectional characters deceive whoever reads a log or a table.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# A mobile number, a landline with its area code or an identity card, however it is spaced: such a text is somebody's, not a place's, and
# must not leave the encrypted inbox.
_GAP = "[\\s+()\\-.·\u2010-\u2015\u2212\u200b-\u200d\u2060\ufeff]{0,2}"
_MOBILE = rf"(?:86{_GAP})?1{_GAP}[3-9](?:{_GAP}[0-9]){{9}}"
_LANDLINE = rf"(?:86{_GAP})?0{_GAP}(?:10|2[0-9]|[3-9][0-9]{{2}}){_GAP}[2-9](?:{_GAP}[0-9]){{6,7}}"
_CARD = rf"[1-9](?:{_GAP}[0-9]){{16}}{_GAP}[0-9Xx]"
_IN_TEXT = re.compile(rf"(?<![0-9])(?:{_MOBILE}|{_LANDLINE}|{_CARD})(?![0-9])")
# In a code the same digits may be part of a longer one (`YQ-13800138000`, `2023-1380013-8000-22`): only what stands alone is somebody's.
_IN_CODE = re.compile(rf"(?<![0-9A-Za-z])(?<![0-9A-Za-z][-_.])(?:{_MOBILE}|{_LANDLINE}|{_CARD})(?![-_.]?[0-9A-Za-z])")
_SHORTEST = 10  # characters of a telephone number with its area code
_LONGEST = 13  # digits of one, with 86: a longer run of digits alone is an order's number


def has_control(text: str) -> bool:
    return _CONTROL.search(text) is not None


@lru_cache(maxsize=4_096)  # a county has some hundred sites
def is_personal(text: str) -> bool:
    """Whether a name or a description holds somebody's number; full-width digits and other forms count as the plain ones."""
    plain = _plain(text)
    return len(plain) >= _SHORTEST and _IN_TEXT.search(plain) is not None


@lru_cache(maxsize=4_096)
def is_personal_code(text: str) -> bool:
    """The same of a code or an order number, which may be long and numeric in its own right."""
    plain = _plain(text)
    if len(plain) < _SHORTEST or (len(plain) > _LONGEST and plain.isdigit()):
        return False
    return _IN_CODE.search(plain) is not None


def _plain(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)
