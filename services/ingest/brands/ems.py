"""EMS and China Post 邮政, 轨迹推送 040002: a form whose `logitcsInterface` (so spelt) is enciphered JSON (domain facts §1.1, §1.8).

`logitcsInterface` = B64(SM4-ECB(json + key)), PKCS#7: the feed's secret is the key, 16 characters, or 24 of Base64 that stand for 16 bytes.
What opens with it, is JSON and ends with it was made by somebody who has it; that is all the protection that is published (a block of
ECB changes alone: who needs more gives the feed the networks that it pushes from). A feed whose `signature` is `token` sends the
JSON in the open to its secret address. Published are the codes of the operations, not the push's own fields: those of the query are read,
one object, an array, or an array under `responseItems`; `deliveryCode` (704) and `failCode` (705) are our profile.

742, 743 and 744 undo the last 702, 704 and 705 of the parcel, 207 and 212 a 203, 304 a 305 (the last two unconfirmed). A 704 says by its
delivery code who received; what a 743 undoes is the 704 with the same code.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import ECB

from services.ingest.brands.base import TOKEN, Ack, BadSignature, Outcome, RawPush, Unparseable, Wire
from services.ingest.brands.wire import FORM, bounded, decode_json, dumps, is_json, json_ack, put_right
from services.ingest.domain.items import Item, Unreadable
from services.ingest.domain.native import (
    Document,
    action_of,
    code,
    permitted,
    place,
    read_each,
    required_code,
    shanghai_time,
    waybill,
    words_for_numbers,
)
from shared.contracts.scan import Action, Retracts

NAME = "邮政 EMS"
BRANDS: Sequence[str] = ("ems", "chinapost")
SCHEMES: Sequence[str] = ("cipher", "token")
MAPPING_VERSION = 1
CODES: Mapping[str, Action] = {
    "203": Action.PICKED_UP,  # 收寄
    "305": Action.DEPARTED,
    "389": Action.DEPARTED,
    "954": Action.ARRIVED,  # 到处理中心
    "713": Action.ARRIVED,  # 到达投递机构
    "702": Action.OUT_FOR_DELIVERY,
    "747": Action.STATION_INBOUND,  # 包裹柜、自提点已接收
    "748": Action.STATION_PICKUP,  # 收件人已取走
    "749": Action.TAKEN_BACK,  # 投递员取走
    "750": Action.TAKEN_BACK,
    "704": Action.SIGNED,
    "704/10": Action.SIGNED,  # 本人
    "704/20": Action.SIGNED_BY_AGENT,  # 他人代收
    "704/30": Action.STATION_INBOUND,  # 自提点: it lies there, nobody has collected it
    "704/50": Action.STATION_INBOUND,  # 包裹柜
    "704/160": Action.SIGNED_BY_AGENT,  # 村（牧、矿）委会签收
    "704/161": Action.SIGNED,  # 家门口
    "705": Action.DELIVERY_FAILED,
    "705/7": Action.REFUSED,  # 拒收
    "708": Action.RETURNING,
    "711": Action.RETURNED,
    "741": Action.RETURNED,
    "207": Action.RETRACTED,
    "212": Action.RETRACTED,
    "304": Action.RETRACTED,
    "742": Action.RETRACTED,
    "743": Action.RETRACTED,
    "744": Action.RETRACTED,
}
UNDOES: Mapping[str, str] = {"207": "203", "212": "203", "304": "305", "742": "702", "743": "704", "744": "705"}
DETAIL: Mapping[str, str] = {"704": "deliveryCode", "743": "deliveryCode", "705": "failCode", "744": "failCode"}
KEY_BYTES = 16

SAMPLE: dict[str, Any] = {
    "waybillNo": "9823071400001",
    "opTime": "2023-07-14 09:12:03",
    "opCode": "747",
    "opName": "自提点已接收",
    "opDesc": "邮件已由上王村便民服务点接收",
    "opOrgCode": "04382002",
    "opOrgName": "上王村便民服务点",
    "opOrgCity": "运城市",
}


def verify(push: RawPush, secrets: Sequence[bytes]) -> str:
    if not any(_opened(push.field_bytes("logitcsInterface"), secret) is not None for secret in secrets):
        raise BadSignature
    return "cipher"


def _key(secret: bytes) -> bytes | None:
    if len(secret) == KEY_BYTES:
        return secret
    try:
        key = b64decode(secret, validate=True)
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES else None


def _opened(told: bytes, secret: bytes) -> bytes | None:
    """The JSON that was enciphered with this secret; None: another one made it."""
    key = _key(secret)
    if key is None:
        return None
    try:
        decryptor = Cipher(SM4(key), ECB()).decryptor()  # noqa: S305 - the sender's choice
        unpadder = padding.PKCS7(128).unpadder()
        plain = unpadder.update(decryptor.update(b64decode(put_right(told), validate=True)) + decryptor.finalize()) + unpadder.finalize()
    except ValueError:  # no Base64, no whole blocks, no padding
        return None
    text = plain[: -len(secret)]
    return text if plain.endswith(secret) and is_json(text) else None


def _json(push: RawPush) -> bytes:
    told = push.field_bytes("logitcsInterface")
    if push.token is not None or push.feed.signature == TOKEN:
        return told
    opened = next((plain for secret in push.secrets if (plain := _opened(told, secret)) is not None), None)
    if opened is None:
        raise Unparseable("body.sealed")  # with a secret that is gone
    return opened


def document(push: RawPush) -> Any:
    return decode_json(_json(push))


def reading(raw: str) -> Action:
    return action_of(raw if raw in CODES else raw.partition("/")[0], CODES)


def parse(push: RawPush) -> list[Item | Unreadable]:
    told, at = document(push), ""
    if isinstance(told, dict) and "responseItems" in told:
        told, at = told["responseItems"], "/responseItems"
    many = isinstance(told, list)
    operations = bounded(told if many else [told])

    def scan(index: int, operation: Document, pointer: str) -> Item:
        return _item(push, index, words_for_numbers(operation), pointer)

    return read_each(operations, [f"{at}/{i}" if many else at for i in range(len(operations))], scan)


def _item(push: RawPush, index: int, operation: Document, at: str) -> Item:
    raw = required_code(operation, "opCode", at)
    detail = code(operation, DETAIL[raw], at) if raw in DETAIL else None
    named = f"{raw}/{detail}" if detail else raw
    sent_at, scanned_text, scanned_at = shanghai_time(operation, "opTime", push.latest, at)
    site_code, site_name = code(operation, "opOrgCode", at), place(operation, "opOrgName", at)
    return Item(
        index=index,
        brand=permitted(push.feed.brands[0], BRANDS, at),
        waybill_no=waybill(operation, "waybillNo", at),
        raw_action=named,
        scanned_at=scanned_at,
        scanned_text=scanned_text,
        site_code=site_code,
        site_name=site_name,
        action=reading(named),
        mapping_version=MAPPING_VERSION,
        identity=(named, sent_at, site_code, site_name),
        retracts=_retracts(raw, detail),
    )


def _retracts(raw: str, detail: str | None) -> Retracts | None:
    undone = UNDOES.get(raw)
    if undone is None:
        return None
    return Retracts(previous_action=reading(f"{undone}/{detail}" if detail else undone))


def acknowledge(push: RawPush, outcome: Outcome, message: str, unread: Sequence[int] = ()) -> Ack:
    code_ = {Outcome.STORED: "00000", Outcome.FAILED: "00001", Outcome.RETRY: "00002"}[outcome]
    return json_ack(outcome, {"retCode": code_, "retMsg": message, "retBody": None, "success": outcome is Outcome.STORED})


def sign(payload: Any, secret: bytes) -> Wire:
    key = _key(secret)
    if key is None:
        raise ValueError(f"an SM4 key has {KEY_BYTES} bytes")
    padder, encryptor = padding.PKCS7(128).padder(), Cipher(SM4(key), ECB()).encryptor()  # noqa: S305
    padded = padder.update(dumps(payload) + secret) + padder.finalize()
    fields = {
        "apiCode": "040002",
        "senderNo": "1100000000000",
        "authorization": "tongcun",
        "timeStamp": "2023-07-14 09:12:04",
        "logitcsInterface": b64encode(encryptor.update(padded) + encryptor.finalize()),
    }
    return Wire(urlencode(fields).encode(), FORM)
