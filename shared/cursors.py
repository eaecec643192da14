"""Cursors that nobody can make but us: signed, for one question, and good for a day.

What is in a cursor is no secret and never trusted anyway; the signature keeps clients from building on it, and the end keeps a revision
that was pinned from being asked for ever.
"""

import base64
import hmac
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from fastapi import Depends, Request
from starlette.responses import Response

from shared.http import bad_cursor, next_link, reply
from shared.problems import Problem

TTL_S = 86_400
_MAC_BYTES = 16
_OF_A_PAGE = frozenset({"cursor", "limit"})  # what may change from page to page


class Cursors:
    """`key`: a secret that all processes of the service share."""

    def __init__(self, key: bytes, now_s: Callable[[], float] = time.time) -> None:
        self._key, self._now_s = key, now_s

    def seal(self, question: str, cursor: str) -> str:
        ends = f"{int(self._now_s()) + TTL_S:x}"
        return f"{cursor}.{ends}.{self._mac(question, cursor, ends)}"

    def open(self, question: str, sealed: str) -> str:
        """Raises Problem: 422 for what we never issued to this question, 410 for what we issued too long ago."""
        cursor, _, rest = sealed.partition(".")
        ends, _, mac = rest.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(question, cursor, ends).encode()):
            raise bad_cursor()
        if int(ends, 16) < self._now_s():
            raise Problem(
                410,
                "cursor.expired",
                "游标已过期（一天），请从第一页重新开始。",
                "This cursor was good for a day and has expired: begin with the first page.",
            )
        return cursor

    def _mac(self, question: str, cursor: str, ends: str) -> str:
        mac = hmac.digest(self._key, "\n".join((question, cursor, ends)).encode(), sha256)[:_MAC_BYTES]
        return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def question_of(request: Request) -> str:
    """What was asked, whatever the page."""
    asked = sorted((name, value) for name, value in request.query_params.multi_items() if name not in _OF_A_PAGE)
    return repr((request.url.path, asked))


def _opened(request: Request) -> str | None:
    sealed = request.query_params.get("cursor")
    cursors: Cursors = request.app.state.cursors
    return cursors.open(question_of(request), sealed) if sealed is not None else None


OPENED = Depends(_opened)  # the cursor of a page that follows, after the caller was authenticated: `cursor: str | None = OPENED`


def page(request: Request, body: dict[str, Any]) -> Response:
    """The answer, its cursor sealed, and linked."""
    cursors: Cursors = request.app.state.cursors
    if body["next_cursor"] is not None:
        body = body | {"next_cursor": cursors.seal(question_of(request), body["next_cursor"])}
    return reply(request, body, headers=next_link(request, body["next_cursor"]))
