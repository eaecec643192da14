"""The senders' formats: one module each (verify, parse, acknowledge, sign), and the canonical API's own."""

from collections.abc import Mapping

from services.ingest.brands import cainiao, ems, gongpei, jd, jt, kdniao, kuaidi100, sf, sto, yto, yunda, zto
from services.ingest.brands.base import Format

CANONICAL_FORMAT = "canonical"  # POST /v1/scans: its secret is a JWT, or what it signs its webhooks with
NATIVE: Mapping[str, Format] = {
    "zto": zto,
    "yto": yto,
    "sto": sto,
    "yunda": yunda,
    "jt": jt,
    "sf": sf,
    "jd": jd,
    "ems": ems,
    "cainiao": cainiao,
    "kuaidi100": kuaidi100,
    "kdniao": kdniao,
    "gongpei": gongpei,
}
FORMATS = (*NATIVE, CANONICAL_FORMAT)
ONE_BRAND = frozenset({"ems"})  # the push does not say whose parcel it is: the feed does
SECRET_BYTES_OF: Mapping[str, int] = {"ems": 12}  # 16 characters of Base64: an SM4 key


def can_sign(format_: Format, secret: str) -> bool:
    """Whether a push of that format could be signed with it."""
    try:
        format_.sign(format_.SAMPLE, secret.encode())
    except ValueError:
        return False
    return True
