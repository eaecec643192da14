"""Whether a name is meant by what somebody typed: a part of it, or its pinyin, whole, by initials, or mixed ("shangwang", "swc", "shangw").

Every reading of a character counts (长: zhang, chang), since nobody should have to know which one a dictionary of phrases prefers.
"""

import os
import re
import unicodedata
from functools import lru_cache

os.environ.setdefault("PYPINYIN_NO_PHRASES", "true")  # its phrases would take 50 MB, and tell which reading is the likeliest
from pypinyin import Style, pinyin

_TYPED = re.compile(r"[a-z]+\Z")
_BETWEEN = re.compile(r"[\s'’·-]+")
MAX_TYPED = 100


def meant(typed: str, *names: str) -> bool:
    """Upper and lower case, full and half width are one; blanks and apostrophes between syllables do not count."""
    text = _folded(typed).strip()
    if any(text in _folded(name) for name in names):
        return True
    letters = _BETWEEN.sub("", text)
    return bool(_TYPED.match(letters)) and any(_spelt(letters[:MAX_TYPED], name) for name in names)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _spelt(letters: str, name: str) -> bool:
    """Whether some run of characters is spelt so, each by a beginning of one of its readings."""
    syllables = _syllables(name)
    for first in range(len(syllables)):
        ends = {0}  # how many letters may be used up before the next character
        for readings in syllables[first:]:
            ends = {end + length for end in ends for reading in readings for length in _shared(letters[end:], reading)}
            if len(letters) in ends:
                return True
            if not ends:
                break
    return False


def _shared(letters: str, reading: str) -> range:
    """The lengths of the beginnings that both have, from one letter on."""
    length = 0
    while length < min(len(letters), len(reading)) and letters[length] == reading[length]:
        length += 1
    return range(1, length + 1)


@lru_cache(maxsize=20_000)  # a county's names, in their versions
def _syllables(name: str) -> tuple[tuple[str, ...], ...]:
    return tuple(_readings(character) for character in _folded(name))


@lru_cache(maxsize=10_000)
def _readings(character: str) -> tuple[str, ...]:
    return tuple(pinyin(character, style=Style.NORMAL, heteronym=True)[0])
