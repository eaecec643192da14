"""One row of a merchant's declaration (申报): what it must say, and what is wrong with it. Pure; docs/declarations.md."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from shared.contracts.scan import BRANDS
from shared.identity import parcel_key
from shared.personal import has_control, is_personal, is_personal_code

from .uplink import plain
from .wording import BRANDS as BRAND_NAMES

MAX_TEXT = 100
MAX_CODE = 64
MAX_FREIGHT_FEN = 1_000_000  # 10,000 yuan: whoever sends more than that in one parcel has mistaken the unit
EARLIEST = date(2015, 1, 1)

# field → the headings that it may have, as people write them
HEADINGS: Mapping[str, tuple[str, ...]] = {
    "brand": ("快递公司", "快递品牌", "快递", "brand"),
    "waybill_no": ("运单号", "快递单号", "单号", "waybill_no"),
    "declared_on": ("寄件日期", "发货日期", "日期", "date"),
    "platform": ("电商平台", "平台", "platform"),
    "order_no": ("订单号", "订单编号", "order_no"),
    "product": ("品名", "产品", "商品名称", "product"),
    "destination": ("目的地", "收货地", "destination"),
    "freight": ("运费", "运费(元)", "实际运费", "freight"),
}
FIELDS = tuple(HEADINGS)

# reason code → what the merchant reads: what is wrong, and what to do
REASONS: Mapping[str, tuple[str, str]] = {
    "field.missing": ("缺少内容，请补填", "is empty: fill it in"),
    "field.too_long": ("内容过长", "is too long"),
    "field.control": ("含有不可见的控制字符，请重新录入", "holds control characters: type it anew"),
    "cell.formula": ("是公式，请填写数值本身", "is a formula: write the value itself"),
    "brand.unknown": ("不认识的快递公司", "is no carrier that we know"),
    "waybill.invalid": ("运单号应为 4 至 32 位字母或数字", "a waybill number has 4 to 32 letters and digits"),
    "waybill.rounded": (
        "运单号被表格软件改成了数字并丢失末位，请把该列设为文本后重新录入",
        "was rounded by the spreadsheet: make the column text, and type it anew",
    ),
    "date.invalid": ("日期无法识别，请写成 2023-07-14", "is no date: write 2023-07-14"),
    "date.out_of_range": ("日期不合理", "lies out of range"),
    "freight.invalid": ("运费应为大于 0 的元数，最多两位小数", "is yuan above 0, with at most two decimals"),
    "freight.too_large": ("运费超过一万元，请核对单位是否为元", "is more than 10,000 yuan: is it in yuan?"),
    "text.personal_data": ("含有电话或证件号码，请删去", "holds somebody's telephone or identity number: remove it"),
    "destination.address": ("只填省、市、县，不要填写街道门牌", "name province, city and county alone, no street or house"),
    "waybill.repeated": ("本文件前面已有此运单", "stands in this file before"),
    "waybill.declared": ("您已申报过此运单", "you have declared it before"),
    "waybill.declared_by_another": ("此运单已由其他主体申报，请联系县里核实", "another applicant has declared it: ask the county"),
    "order.used": ("此订单号已对应另一个运单，一个订单只能申报一件", "the order is another parcel's already: one parcel an order"),
}


class Flaw(Exception):
    """Why a row is refused: `code` of REASONS, and the field that it is about."""

    def __init__(self, code: str, field: str) -> None:
        super().__init__(code, field)
        self.code, self.field = code, field


class Row(NamedTuple):
    """A row that can be read."""

    row_no: int
    parcel_key: bytes
    brand: str
    waybill_no: str
    declared_on: date
    platform: str  # plain, so that an order is the same however its platform is written
    order_no: str
    product: str
    destination: str
    freight_fen: int


class Live(NamedTuple):
    """A row that was accepted before and stands."""

    parcel_key: bytes
    platform: str
    order_no: str
    merchant_id: str


class Verdict(NamedTuple):
    row_no: int
    verdict: str  # accepted, duplicate, refused
    reason_code: str | None
    field: str | None
    row: Row | None


_FORMULA = re.compile(r"^\s*[=+@]|^\s*-(?![0-9.])")
_WAYBILL = re.compile(r"[0-9A-Za-z-]{4,32}")
_DATE = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[ T].*)?")
_YUAN = re.compile(r"(\d{1,9})(?:\.(\d{1,2})0*)?元?")
_ADDRESS = re.compile(r"\d{2,}|号|室|单元|栋|楼|弄|幢")
_EXCEL_EPOCH = date(1899, 12, 30)
_EXCEL_DAYS = range(40_000, 60_000)  # 2009 to 2064


def read(row_no: int, cells: Mapping[str, str], today: date) -> Row:
    """`cells`: field → text as it stands in the file. Raises Flaw for the first thing that is wrong."""
    texts = {field: _text(cells.get(field, ""), field) for field in FIELDS}
    brand = _brand(texts["brand"])
    waybill_no = _waybill(texts["waybill_no"])
    for field in ("product", "destination", "platform"):
        if is_personal(texts[field]):
            raise Flaw("text.personal_data", field)
    if is_personal_code(texts["order_no"]):
        raise Flaw("text.personal_data", "order_no")
    if _ADDRESS.search(texts["destination"].removeprefix(_code(texts["destination"]))):
        raise Flaw("destination.address", "destination")
    return Row(
        row_no,
        parcel_key(brand, waybill_no),
        brand,
        waybill_no,
        _day(texts["declared_on"], today),
        plain(texts["platform"]),
        texts["order_no"],
        texts["product"],
        texts["destination"],
        _freight(texts["freight"]),
    )


def _code(destination: str) -> str:
    """A division code that it may begin with."""
    found = re.match(r"\d{6}(?:\d{6})?(?!\d)", destination)
    return found[0] if found else ""


def _text(text: str, field: str) -> str:
    text = unicodedata.normalize("NFKC", text).strip()
    if not text:
        raise Flaw("field.missing", field)
    if has_control(text):
        raise Flaw("field.control", field)
    if len(text) > (MAX_CODE if field in ("waybill_no", "order_no") else MAX_TEXT):
        raise Flaw("field.too_long", field)
    if _FORMULA.match(text):
        raise Flaw("cell.formula", field)
    return text


_BRANDS = {name: brand for brand, name in BRAND_NAMES["zh"].items()} | {brand: brand for brand in BRANDS}
_SUFFIX = re.compile(r"(快递|速递|速运|快运|物流|集团|国际)+$")


def _brand(text: str) -> str:
    name = plain(text)
    for candidate in (name, _SUFFIX.sub("", name), f"中国{_SUFFIX.sub('', name)}"):
        if brand := _BRANDS.get(candidate) or _BRANDS.get(candidate.upper()):
            return brand
    raise Flaw("brand.unknown", "brand")


def _waybill(text: str) -> str:
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?[eE]\+?[0-9]+|[0-9]+\.[0-9]+", text):
        raise Flaw("waybill.rounded", "waybill_no")
    if not _WAYBILL.fullmatch(text):
        raise Flaw("waybill.invalid", "waybill_no")
    return text.upper()


def _day(text: str, today: date) -> date:
    try:
        if found := _DATE.fullmatch(text):
            day = date(*map(int, found.groups()))
        elif re.fullmatch(r"\d{8}", text):
            day = date.fromisoformat(text)
        elif text.isdigit() and len(text) == 5 and int(text) in _EXCEL_DAYS:
            day = _EXCEL_EPOCH + timedelta(days=int(text))
        else:
            raise Flaw("date.invalid", "declared_on")
    except ValueError:
        raise Flaw("date.invalid", "declared_on") from None
    if not EARLIEST <= day <= today:
        raise Flaw("date.out_of_range", "declared_on")
    return day


def _freight(text: str) -> int:
    found = _YUAN.fullmatch(text.replace(",", "").replace("¥", "").strip())
    if not found:
        raise Flaw("freight.invalid", "freight")
    fen = int(found[1]) * 100 + int((found[2] or "0").ljust(2, "0"))
    if fen == 0:
        raise Flaw("freight.invalid", "freight")
    if fen > MAX_FREIGHT_FEN:
        raise Flaw("freight.too_large", "freight")
    return fen


def read_all(rows: Iterable[tuple[int, Mapping[str, str]]], today: date) -> list[Row | Verdict]:
    """Each row as it can be read, or refused."""
    found: list[Row | Verdict] = []
    for row_no, cells in rows:
        try:
            found.append(read(row_no, cells, today))
        except Flaw as flaw:
            found.append(Verdict(row_no, "refused", flaw.code, flaw.field, None))
    return found


def judge(rows: Sequence[Row | Verdict], live: Iterable[Live], merchant_id: str, repeated: frozenset[int]) -> list[Verdict]:
    """In order of the file: one live row a parcel, over all applicants and years, and one parcel an order of a platform.

    `live`: the rows that stand and share a parcel or an order with these; `repeated`: rows whose parcel stands in the file before.
    """
    parcels: dict[bytes, str] = {}
    orders: dict[tuple[str, str], bytes] = {}
    for known in live:
        parcels[known.parcel_key] = known.merchant_id
        orders[known.platform, known.order_no] = known.parcel_key
    verdicts = []
    for row in rows:
        if isinstance(row, Verdict):
            verdicts.append(row)
            continue
        reason, field = _against(row, parcels, orders, merchant_id, row.row_no in repeated)
        if reason is None:
            parcels[row.parcel_key] = merchant_id
            orders[row.platform, row.order_no] = row.parcel_key
        word = "accepted" if reason is None else "duplicate" if reason in ("waybill.repeated", "waybill.declared") else "refused"
        verdicts.append(Verdict(row.row_no, word, reason, field, row))
    return verdicts


def _against(
    row: Row, parcels: Mapping[bytes, str], orders: Mapping[tuple[str, str], bytes], merchant_id: str, repeated: bool
) -> tuple[str | None, str | None]:
    if repeated:
        return "waybill.repeated", "waybill_no"
    if (owner := parcels.get(row.parcel_key)) is not None:
        return ("waybill.declared" if owner == merchant_id else "waybill.declared_by_another"), "waybill_no"
    if orders.get((row.platform, row.order_no), row.parcel_key) != row.parcel_key:
        return "order.used", "order_no"
    return None, None


def repeated_rows(rows: Iterable[Row | Verdict]) -> frozenset[int]:
    """Of the rows whose parcel stands in the same file before."""
    seen: set[bytes] = set()
    found = set()
    for row in rows:
        if isinstance(row, Row):
            if row.parcel_key in seen:
                found.add(row.row_no)
            seen.add(row.parcel_key)
    return frozenset(found)
