"""Sends the month as its senders would: signed, over HTTP, a few at a time; each answer is read in the sender's own words."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from deploy.client import Refused, unreachable
from deploy.demo.show import Counting
from deploy.demo.wire import FORMAT_OF, Letter
from services.ingest.brands.wire import RETRY_STATUS

AT_ONCE = 8
ATTEMPTS = 6  # a sender that is told to come again does, with a growing pause
FIRST_PAUSE_S = 0.2
SAYS_STORED = {"zto": "status", "kuaidi100": "result", "gongpei": "success"}  # the field of each acknowledgement that says so


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender was told. `stored`: its own words say that the push was kept."""

    status: int
    text: str
    stored: bool
    receipt_id: str | None


@dataclass
class Sender:
    """`secrets`: of each feed."""

    http: httpx.AsyncClient
    ingest_url: str
    secrets: dict[str, bytes]
    unexpected: list[str] = field(default_factory=list)

    async def send_all(self, letters: Iterable[Letter], count: Counting) -> None:
        """Every one must be stored; one that is not is kept in `unexpected`."""
        waiting = iter(letters)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._work(waiting, count))

    async def _work(self, waiting: Iterator[Letter], count: Counting) -> None:
        for letter in waiting:
            answer = await self.send(letter)
            if not answer.stored:
                self.unexpected.append(f"{letter.feed}: HTTP {answer.status} {answer.text}")
            count()

    async def send(self, letter: Letter) -> Answer:
        body, content_type = letter.wire(self.secrets[letter.feed])
        pause_s = FIRST_PAUSE_S
        for attempts_left in reversed(range(ATTEMPTS)):
            answer = await self._post(letter.feed, body, content_type)
            if answer.status != RETRY_STATUS or not attempts_left:
                return answer
            await asyncio.sleep(pause_s)
            pause_s *= 2
        raise AssertionError("the last attempt returns")

    async def _post(self, feed: str, body: bytes, content_type: str) -> Answer:
        try:
            got = await self.http.post(f"{self.ingest_url}/v1/push/{feed}", content=body, headers={"Content-Type": content_type})
        except httpx.TransportError as error:
            raise unreachable(self.ingest_url, error) from None
        if got.status_code >= 500 and got.status_code != RETRY_STATUS:
            raise Refused(f"{feed}: HTTP {got.status_code}: {got.text[:200]}")
        return Answer(got.status_code, got.text, _stored(FORMAT_OF[feed], got.text), got.headers.get("receipt-id"))


def _stored(format_name: str, text: str) -> bool:
    try:
        acknowledgement: Any = json.loads(text)
    except ValueError:
        return False
    return isinstance(acknowledgement, dict) and acknowledgement.get(SAYS_STORED[format_name]) is True
