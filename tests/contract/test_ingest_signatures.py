"""Every verifier against twenty thousand changes of a push on its way: none is believed, none breaks it."""

import random
from dataclasses import replace

import pytest

from services.ingest.brands import NATIVE
from services.ingest.brands.base import BadSignature, Unparseable, Wire
from services.ingest.service import authenticate
from tests.property.test_ingest_formats import SECRET, push

MUTATIONS = 20_000


@pytest.mark.parametrize("format_", NATIVE)
def test_no_change_on_the_way_is_believed(format_: str) -> None:
    """Of a push that verifies after all (what changed was not signed, or a letter's case) every scan is what it was."""
    module, dice = NATIVE[format_], random.Random(format_)
    wire = module.sign(module.SAMPLE, SECRET)
    was, believed = module.parse(push(format_, wire.body, wire.content_type, wire)), 0
    for _ in range(MUTATIONS):
        changed = _changed(wire, dice)
        told = push(format_, changed.body, changed.content_type, changed)
        try:
            authenticate(module, told)
        except (BadSignature, Unparseable):
            continue
        believed += 1
        assert module.parse(told) == was
    assert believed < MUTATIONS / 3, "most changes are of what is signed"


def _changed(wire: Wire, dice: random.Random) -> Wire:
    """One byte of the body (where it is signed), a header, the query or the token is another, gone, doubled, or the rest is cut off."""
    if wire.token is not None:
        return replace(wire, token=_one_off(wire.token.encode(), dice).decode("latin-1"))
    parts = ["body", *(["query"] if wire.query else []), *(["headers"] if wire.headers else [])]
    match dice.choice(parts):
        case "query":
            return replace(wire, query=_one_off(wire.query.encode(), dice).decode("latin-1"))
        case "headers":
            name = dice.choice(list(wire.headers))
            return replace(wire, headers={**wire.headers, name: _one_off(wire.headers[name].encode(), dice).decode("latin-1")})
    return replace(wire, body=_one_off(wire.body, dice))


def _one_off(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    match dice.randrange(5):
        case 0:
            return data[:at] + data[at + 1 :]
        case 1:
            return data[:at] + bytes([dice.randrange(256)]) + data[at:]
        case 2:
            return data[:at] + data[at : at + 1] + data[at:]
        case 3:
            return data[:at]
    return data[:at] + bytes([data[at] ^ dice.randrange(1, 256)]) + data[at + 1 :]
