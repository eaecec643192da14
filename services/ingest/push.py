"""Push a sender's payload as the sender would: signed, in its envelope (`tongcun push zto sample.json`)."""

from typing import Any, NamedTuple

import httpx

from services.ingest.brands import NATIVE

TIMEOUT_S = 20  # as long as the couriers' own clients wait


class Pushed(NamedTuple):
    """`acknowledgement`: the answer's body in the sender's words."""

    status: int
    acknowledgement: str
    receipt_id: str | None


def sample(format_: str) -> Any:
    """A payload of that format, for a first try."""
    return NATIVE[format_].SAMPLE


def push(client: httpx.Client, feed: str, format_: str, payload: Any, secret: str) -> Pushed:
    """Raises httpx.HTTPError when ingest does not answer, KeyError for a format that is not pushed natively."""
    wire = NATIVE[format_].sign(payload, secret.encode())
    answer = client.post(f"/v1/push/{feed}", content=wire.body, headers={"content-type": wire.content_type}, timeout=TIMEOUT_S)
    return Pushed(answer.status_code, answer.text, answer.headers.get("receipt-id"))
