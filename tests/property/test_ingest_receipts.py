"""What is kept of a receipt tells the receipt that was answered."""

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.items import Identified, Item, Unreadable, identify
from services.ingest.domain.receipts import Counts, keep, read, tell

AT = datetime.fromisoformat("2023-07-14T09:12:03+08:00")
texts = st.text(st.characters(codec="utf-8"), max_size=20)


def scan(number: int) -> Identified:
    item = Item(0, "zto", f"7310{number:04}", "INBOUND", AT, AT.isoformat(), None, None, "station_inbound", 1, (str(number),))
    return identify(item, "live", "f", "zto")


items = st.lists(st.builds(scan, st.integers(0, 99)) | st.builds(Unreadable, st.just(0), texts, texts), max_size=12)


@given(items, st.sampled_from(["quarantined", "rejected"]), st.data())
def test_a_receipt_is_read_as_it_was_told(items: list[Identified | Unreadable], unreadable: str, data: st.DataObject) -> None:
    readable = sum(isinstance(item, Identified) for item in items)
    words = data.draw(st.lists(st.sampled_from(["accepted", "duplicate", "conflict"]), min_size=readable, max_size=readable))
    told = tell(items, words, unreadable)
    assert read(keep(items, told)) == told
    assert [item.index for item in told] == list(range(len(items)))
    counts = Counts.of(told)
    assert counts.received == len(items) == counts.accepted + counts.duplicate + counts.conflict + counts.quarantined + counts.rejected
