"""What of a sender's document a person may see who mends our reading of it: the words that a format reads, and nobody's name. Pure."""

from typing import Any

from shared.personal import is_personal

MASK = "●"
LONGEST = 8  # signs of a masked value: how long it was is not told
# Texts that a format looks into without keeping them, or that samples have: they name people.
FREE_TEXT = frozenset({
    "desc", "context", "remark", "memo", "name", "description", "operationRemark", "operate_desc", "opDesc", "AcceptStation", "address",
    "message", "reason", "Reason",
})  # fmt: skip


def words_of(sample: Any) -> frozenset[str]:
    """The keys whose values a format's sample shows, without those that hold free text."""
    found: set[str] = set()
    level = [sample]
    while level:
        inner: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                found |= set(part)
                inner += part.values()
            elif isinstance(part, list):
                inner += part
        level = inner
    return frozenset(found) - FREE_TEXT


def masked(document: Any, words: frozenset[str], key: str = "") -> Any:
    """The same with every text masked that does not stand under one of `words`, or that holds somebody's number."""
    if isinstance(document, dict):
        return {name: masked(value, words, name) for name, value in document.items()}
    if isinstance(document, list):
        return [masked(value, words, key) for value in document]
    if document is None or isinstance(document, bool) or (key in words and not is_personal(str(document))):
        return document
    return MASK * min(len(str(document)), LONGEST)
