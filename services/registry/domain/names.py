"""When two names are one: as a reader compares them."""

import unicodedata


def plain(name: str) -> str:
    """Full-width or half-width, spaces and case make no other name."""
    return "".join(unicodedata.normalize("NFKC", name).split()).casefold()
