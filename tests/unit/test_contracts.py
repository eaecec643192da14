"""The messages: their published schemas are those of the code, and a value that we write is one that the schema takes."""

import json
from datetime import UTC, date, datetime

import jsonschema
import msgspec
import pytest

from shared.contracts import registry, scan, schemas

SCHEMAS = schemas.generate()
T = datetime(2023, 7, 14, 1, 12, 3, tzinfo=UTC)


def scan_event(**changes: object) -> scan.ScanEvent:
    given: dict[str, object] = {
        "event_id": "6f0c1d2e-7a41-8b0e-9c55-1f2a3b4c5d6e", "content": "9d" * 32, "verdict": "accepted", "brand": "zto",
        "waybill_no": "73100196611386", "raw_action": "INBOUND", "scanned_at": T, "site_namespace": "zto", "site_code": None,
        "site_name": "上王村便民服务点", "origin": None, "destination": None, "goods": None, "order_no": None, "weight_g": 850,
        "retracts": scan.Retracts(previous_action="station_inbound"), "action": "station_inbound", "mapping_version": 1,
        "feed": "zto-yuanqu", "receipt_id": "rcp_a3", "received_at": T, "verified": "digest", "payload_sha256": "00" * 32,
    }  # fmt: skip
    return msgspec.convert(given | changes, scan.ScanEvent)


STATION = registry.Station(
    version=1,
    station_id="stn_42",
    level=registry.Level.VILLAGE,
    segments=(
        registry.StationSegment(
            valid_from=T, valid_to=None, name="上王村", division_code="140827100200", township_code="140827100000", operator_id="opr_1",
            brands=("zto",), operating_status=registry.OperatingStatus.OPEN, lat=35.29, lng=111.67,
        ),
    ),
    aliases=(registry.Alias(alias_id="als_5", namespace="zto", site_code=None, site_name="上王村", valid_from=T, valid_to=None),),
    filings=(
        registry.Filing(
            filing_id="fil_7", filer_id="opr_1", covers_brands=("zto",), authority="运城市邮政管理局", opened_on=date(2023, 5, 30),
            submitted_at=T, decided_at=None,
            segments=(registry.FilingSegment(valid_from=T, valid_to=None, status=registry.FilingStatus.FILED, receipt_no="DEMO-7"),),
        ),
    ),
)  # fmt: skip
MERCHANT = registry.Merchant(
    version=2,
    merchant_id="mch_9",
    segments=(
        registry.MerchantSegment(
            valid_from=T, valid_to=None, name="垣曲县山里果业有限公司", kind=registry.MerchantKind.ENTERPRISE,
            registered_on=date(2021, 4, 6), division_code="140827100000", licence_no=None,
            shops=(registry.Shop(platform="淘宝", shop="山里果业旗舰店", approved=True),),
            qualification=registry.Qualification.APPROVED, reason=None,
        ),
    ),
    sales=(
        registry.Sales(year=2023, sales_fen=18_600_000, document="平台对账单 2023", status=registry.SalesStatus.DECLARED, reason=None),
    ),
)  # fmt: skip
CHANGE = registry.RegistryChange(recorded_at=T, actor="system", reason=None, records=(STATION, MERCHANT))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_published_schema_is_the_code_s(name: str) -> None:
    published = schemas.FOLDER / name
    assert published.read_text(encoding="utf-8") == SCHEMAS[name], "run: python -m shared.contracts.schemas"


@pytest.mark.parametrize(("topic", "message"), [(scan.TOPIC, scan_event()), (registry.TOPIC, CHANGE)])
def test_what_we_write_fits_the_schema_and_reads_back(topic: str, message: msgspec.Struct) -> None:
    value = msgspec.json.encode(message)
    schema = json.loads(SCHEMAS[f"{topic}.schema.json"])
    jsonschema.Draft202012Validator(schema).validate(json.loads(value))
    assert msgspec.json.decode(value, type=type(message)) == message


def test_a_merchant_has_its_own_kind_of_record() -> None:
    assert registry.record_id(MERCHANT) == ("merchant", "mch_9")


def test_a_message_of_another_version_is_refused() -> None:
    value = json.loads(msgspec.json.encode(scan_event())) | {"v": 2}
    with pytest.raises(msgspec.ValidationError):
        scan.decode_scan(json.dumps(value))
