"""The senders' formats: one module each (verify, parse, acknowledge, sign), and the canonical API's own."""

from collections.abc import Mapping

from services.ingest.brands import gongpei, kuaidi100, zto
from services.ingest.brands.base import Format

CANONICAL_FORMAT = "canonical"  # POST /v1/scans: its secret is a JWT
TOKEN_FORMATS = frozenset({"kuaidi100"})  # their senders may be unable to sign: POST /v1/push/{feed}/{token}
NATIVE: Mapping[str, Format] = {"zto": zto, "kuaidi100": kuaidi100, "gongpei": gongpei}
FORMATS = (*NATIVE, CANONICAL_FORMAT)
