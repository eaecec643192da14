"""The month in its senders' own formats: what ZTO, Kuaidi100 and the county's scanners would put on the wire, and what goes wrong there."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deploy.demo.county import GONGPEI, HUB_ZTO_CODE
from deploy.demo.generator import KUAIDI100, ZTO, Push, Scan
from services.ingest.brands import NATIVE
from shared.calendar import SHANGHAI

SCANS_A_SYNC = 20  # the scanners send what they have collected, oldest first
FORMAT_OF = {ZTO: "zto", KUAIDI100: "kuaidi100", GONGPEI: "gongpei"}

QUARANTINED = "已收下，隔离待人工 · kept, in quarantine for a person"

# Each format's code for the programme's word; the reading back is ingest's own table.
ZTO_CODES = {
    "picked_up": "GOT",
    "arrived": "ARRIVAL",
    "out_for_delivery": "DISPATCH",
    "station_inbound": "INBOUND",
    "station_pickup": "DEPARTURE_SIGNED",
    "signed": "SIGNED",
    "returning": "RETURN_SCAN",
    "returned": "RETURN_SIGNED",
}
KUAIDI100_CODES = {
    "picked_up": ("103", "揽收", "快件在【{}】已揽收"),
    "arrived": ("0", "在途", "快件已到达【{}】"),
    "station_inbound": ("501", "投柜或驿站", "快件已暂存至【{}】，请凭取件码领取"),
    "station_pickup": ("301", "签收", "凭取件码取走，取件地点【{}】"),
    "signed": ("301", "签收", "快件在【{}】签收"),
    "refused": ("14", "拒签", "快件在【{}】被拒收"),
    "transferred": ("7", "转投", "快件在【{}】转交其他公司"),
}
GONGPEI_CODES = {
    "arrived": ("DS", None),
    "out_for_delivery": ("FP", None),
    "station_inbound": ("QS", "127"),
    "station_pickup": ("CK", None),
    "signed": ("QS", "101"),
    "taken_back": ("QH", None),
}
COM = {"yto": "yuantong", "sto": "shentong", "yunda": "yunda", "jt": "jtexpress"}


@dataclass(frozen=True, slots=True)
class Letter:
    """One HTTP push: signed with the feed's secret, or with `wrong_secret`; `raw` replaces the signed body."""

    feed: str
    payload: Any
    wrong_secret: bool = False
    raw: bytes | None = None

    def wire(self, secret: bytes) -> tuple[bytes, str]:
        """(body, content type)"""
        signed = NATIVE[FORMAT_OF[self.feed]].sign(self.payload, b"not-the-secret" if self.wrong_secret else secret)
        return self.raw if self.raw is not None else signed.body, signed.content_type


def letters(pushes: Iterable[Push]) -> Iterator[Letter]:
    """In order of sending; the scanners' scans are collected into syncs."""
    waiting: list[Any] = []
    for push in pushes:
        match push.feed:
            case "zto-yuanqu":
                yield Letter(ZTO, _zto(push.waybill_no, push.scans[0]))
            case "kuaidi100-yuanqu":
                yield Letter(KUAIDI100, _kuaidi100(push))
            case _:
                waiting.append(_gongpei(push.brand, push.waybill_no, push.scans[0]))
        if len(waiting) == SCANS_A_SYNC:
            yield Letter(GONGPEI, waiting)
            waiting = []
    if waiting:
        yield Letter(GONGPEI, waiting)


def _clock(at: datetime) -> str:
    return at.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


def _zto(waybill_no: str, scan: Scan) -> dict[str, Any]:
    """Stations by name only; ZTO's own sites, the county's hub among them, by code and name."""
    at_station = scan.station is not None and scan.station.level != "county_hub"
    name = scan.station.name_for("zto") if scan.station else scan.place
    code = None if at_station else HUB_ZTO_CODE if scan.station else str(int(hashlib.sha256(name.encode()).hexdigest()[:6], 16) % 90000)
    told = {"billCode": waybill_no, "action": ZTO_CODES[scan.action], "actionTime": _clock(scan.at), "facilityName": name}
    returned = {"returnType": "退回"} if scan.action == "returning" else {}
    return told | ({"facilityCode": code} if code else {}) | returned


def _kuaidi100(push: Push) -> dict[str, Any]:
    """The whole history so far, newest first."""
    data = [_moment(scan, push.brand) for scan in reversed(push.scans)]
    result = {
        "message": "ok",
        "state": data[0]["statusCode"],
        "status": "200",
        "ischeck": "0",
        "com": COM[push.brand],
        "nu": push.waybill_no,
    }
    return {"status": "polling", "message": "", "autoCheck": "0", "comOld": "", "comNew": "", "lastResult": result | {"data": data}}


def _moment(scan: Scan, brand: str) -> dict[str, str]:
    code, status, text = KUAIDI100_CODES[scan.action]
    city = f"【{scan.place[:2]}市】" if scan.action == "picked_up" else "【运城市】"
    context = city + text.format(scan.station.name_for(brand) if scan.station else scan.place)
    return {"context": context, "time": _clock(scan.at), "ftime": _clock(scan.at), "status": status, "statusCode": code}


def _gongpei(brand: str, waybill_no: str, scan: Scan) -> dict[str, Any]:
    """`scanId` stays the same when the device sends a scan again, whatever else it says then."""
    code, receiver = GONGPEI_CODES[scan.action]
    identity = hashlib.sha256(f"{brand}|{waybill_no}|{code}|{scan.at.isoformat()}".encode()).hexdigest()[:16]
    told = {
        "scanId": f"GP-{identity}",
        "companyCode": brand.upper(),
        "waybillNo": waybill_no,
        "scanType": code,
        "scanTime": _clock(scan.at),
    }
    if receiver:
        told["receiverCode"] = receiver
    site = {"siteCode": scan.station.site_code, "siteName": scan.station.name} if scan.station else {"siteName": scan.place}
    return told | site | ({"weightGram": scan.weight_g} if scan.weight_g else {})


@dataclass(frozen=True, slots=True)
class Bad:
    """Something that goes wrong on the way. `stored`: whether the sender is told that it was kept. `then`: what becomes of it."""

    zh: str
    en: str
    letter: Letter
    stored: bool
    then: str


def bad_letters(waybill_no: str) -> list[Bad]:
    """Each must be answered clearly and lose nothing."""
    zto = {"billCode": waybill_no, "action": "INBOUND", "actionTime": "2023-07-14 09:12:03", "facilityName": "上王村便民服务点"}
    moved = {"status": "polling", "comOld": "yuantong", "comNew": "shentong"}
    moment = {"context": "【运城市】快件已暂存至【上王村便民服务点】", "ftime": "2023-07-14 09:12:03", "statusCode": "501"}
    history = {"lastResult": {"com": "yuantong", "nu": "YT9000000000001", "data": [moment]}}
    moved_letter = Letter(KUAIDI100, moved | history)
    return [
        Bad("签名错误", "a wrong signature", Letter(ZTO, zto, wrong_secret=True), False, "未入库，已计数 · not stored, counted"),
        Bad("乱码", "garbage", Letter(ZTO, zto, raw=b"\x00\xffnot a form at all"), False, "未入库，已计数 · not stored, counted"),
        Bad("不可能的时间", "an impossible time", Letter(ZTO, zto | {"actionTime": "2023-07-32 25:61:00"}), True, QUARANTINED),
        Bad("单号改属另一品牌", "a number that now belongs to another carrier", moved_letter, True, QUARANTINED),
        Bad("未知扫描码", "an unknown scan code", Letter(ZTO, zto | {"action": "DRONE_DROP"}), True, "原样保留为未知 · kept as unknown"),
    ]
