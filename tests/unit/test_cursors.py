"""Signed cursors: what we issued to a question opens it for a day, and nothing else does."""

import pytest

from shared.cursors import TTL_S, Cursors
from shared.problems import Problem

NOW = 1_700_000_000.0
CURSORS = Cursors(b"k" * 32, lambda: NOW)


def refused(cursors: Cursors, question: str, sealed: str) -> tuple[int, str]:
    with pytest.raises(Problem) as refusal:
        cursors.open(question, sealed)
    codes = [e.code for e in refusal.value.errors] or [refusal.value.code]
    return refusal.value.status, codes[0]


def test_what_was_sealed_opens_again() -> None:
    assert CURSORS.open("q", CURSORS.seal("q", "eyJyIjoxfQ")) == "eyJyIjoxfQ"
    assert Cursors(b"k" * 32, lambda: NOW + TTL_S).open("q", CURSORS.seal("q", "abc")) == "abc"


def test_after_a_day_it_is_gone() -> None:
    assert refused(Cursors(b"k" * 32, lambda: NOW + TTL_S + 1), "q", CURSORS.seal("q", "abc")) == (410, "cursor.expired")


@pytest.mark.parametrize("change", [lambda s: "x" + s, lambda s: s + "x", lambda s: s.replace(".6", ".7"), lambda s: s.split(".")[0]])
def test_whatever_is_changed_makes_it_another(change: object) -> None:
    assert callable(change)
    assert refused(CURSORS, "q", change(CURSORS.seal("q", "abc"))) == (422, "cursor.invalid")


@pytest.mark.parametrize("text", ["", ".", "..", "a.zz.b", "a.b.c.d", "é.1.2", "\u2028"])
def test_what_was_never_ours_is_refused(text: str) -> None:
    assert refused(CURSORS, "q", text) == (422, "cursor.invalid")


def test_another_question_and_another_installation_refuse_it() -> None:
    sealed = CURSORS.seal("q", "abc")
    assert refused(CURSORS, "other", sealed) == (422, "cursor.invalid")
    assert refused(Cursors(b"j" * 32, lambda: NOW), "q", sealed) == (422, "cursor.invalid")
