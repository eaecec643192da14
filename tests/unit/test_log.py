"""The pure rules of the numbered log: chain and header, patience, watermark, the relay's moves, the report's JSON."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import httpx
import msgspec
import pytest

from shared import kafka
from shared.log import Diverged, Position, Positions, Report, ReportFailed, Stalled, http_reporter, positions_from_json, report_to_json
from shared.log.chain import HEADER, extend, link, read_link, select
from shared.log.consume import MAX_PATIENCE_S, PATIENCE_S, Patience, sign_of_life
from shared.log.follow import MAX_PENDING, Watermark
from shared.log.relay import Cursor, asked, lost, sent
from shared.log.running import supervise

ORIGIN = sha256(b"origin").digest()
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass
class Carried:
    value: bytes | None
    headers: list[tuple[str, bytes]]


def records(*values: bytes, origin: bytes = ORIGIN) -> list[Carried]:
    found, chain = [], origin
    for position, value in enumerate(values):
        chain = extend(chain, value)
        found.append(Carried(value, [(HEADER, link(position, chain))]))
    return found


class TestChain:
    def test_is_the_hash_of_the_previous_chain_and_the_hash_of_the_value(self) -> None:
        assert extend(ORIGIN, b"v") == sha256(ORIGIN + sha256(b"v").digest()).digest()

    def test_the_header_carries_position_and_half_of_the_chain(self) -> None:
        assert link(812, ORIGIN) == (812).to_bytes(8, "big") + ORIGIN[:16]
        assert read_link([("trace", b"x"), (HEADER, link(812, ORIGIN))]) == (812, ORIGIN[:16])

    @pytest.mark.parametrize("headers", [[], [("other", b"x")], [(HEADER, b"")], [(HEADER, b"short")], [(HEADER, b"x" * 25)]])
    def test_a_record_without_our_header_is_not_of_the_log(self, headers: list[tuple[str, bytes]]) -> None:
        assert read_link(headers) == (-1, b"")


class TestSelect:
    def test_takes_what_continues(self) -> None:
        a, b, c = records(b"a", b"b", b"c")
        assert select([a, b, c], 0, ORIGIN) == ([a, b, c], 3, extend(extend(extend(ORIGIN, b"a"), b"b"), b"c"), 2)

    def test_skips_repeats_and_gaps_and_strangers(self) -> None:
        a, b, _, d = records(b"a", b"b", b"c", b"d")
        stranger = Carried(b"?", [])
        after_a = extend(ORIGIN, b"a")
        assert select([a, d, stranger, b, b, a, d], 1, after_a) == ([b], 2, extend(after_a, b"b"), 3)
        assert select([d], 1, after_a) == ([], 1, after_a, 3)
        assert select([], 1, after_a) == ([], 1, after_a, -1)

    def test_another_log_never_matches(self) -> None:
        with pytest.raises(Diverged, match="position 0"):
            select(records(b"a", origin=b"\0" * 32), 0, ORIGIN)

    def test_a_value_changed_on_the_way_shows(self) -> None:
        a, b = records(b"a", b"b")
        for changed in (b"B", b"", None):
            with pytest.raises(Diverged, match="position 1"):
                select([a, replace(b, value=changed)], 0, ORIGIN)


class TestPatience:
    def test_ends_only_by_the_time_up_to_which_the_broker_has_answered(self) -> None:
        patience = Patience(since=100.0)
        assert not patience.exhausted(now=200.0, broker_answered=0.0)
        assert not patience.exhausted(now=200.0, broker_answered=100.0 + PATIENCE_S)
        assert patience.exhausted(now=200.0, broker_answered=100.1 + PATIENCE_S)
        assert not patience.exhausted(now=200.0, broker_answered=100.1 + PATIENCE_S), "it begins anew"

    def test_doubles_with_each_ask_to_a_limit_and_is_restored_by_what_comes(self) -> None:
        patience = Patience(since=0.0)
        for _ in range(20):
            patience.asked()
        assert patience.limit_s == MAX_PATIENCE_S
        patience.satisfied(now=1.0)
        assert (patience.since, patience.limit_s) == (1.0, PATIENCE_S)


class TestSignOfLife:
    def test_a_busy_broker_has_a_chance_only_when_it_answers_for_the_partition(self) -> None:
        assert sign_of_life(now=10.0, delivered=9.9, polled=2.0, answered=9.5) == 2.0

    def test_an_idle_one_by_any_answer(self) -> None:
        assert sign_of_life(now=10.0, delivered=9.0 - PATIENCE_S, polled=2.0, answered=9.5) == 9.5
        assert sign_of_life(now=10.0, delivered=0.0, polled=9.9, answered=9.5) == 9.9


class TestWatermark:
    @staticmethod
    def report(second: int, *heads: int, parted: tuple[int, ...] = ()) -> Report:
        return Report(list(heads), list(heads), [], list(parted), NOON + timedelta(seconds=second))

    def test_rises_to_the_newest_moment_whose_heads_are_all_reached(self) -> None:
        mark = Watermark()
        assert mark.heard([0, 0], self.report(0, 5, 5)) is None
        assert mark.heard([5, 4], self.report(1, 6, 5)) is None
        assert mark.heard([5, 5], self.report(2, 9, 9)) == NOON
        assert mark.heard([6, 5], self.report(3, 9, 9)) == NOON + timedelta(seconds=1)

    def test_heads_just_told_are_not_reached_before_the_next_report(self) -> None:
        mark = Watermark()
        assert mark.heard([5], self.report(0, 5)) is None
        assert mark.heard([5], self.report(1, 5)) == NOON

    def test_nothing_counts_that_was_told_before_the_histories_parted(self) -> None:
        mark = Watermark()
        mark.heard([5], self.report(0, 5))
        assert mark.heard([5], self.report(1, 3, parted=(0,))) is None
        assert mark.heard([5], self.report(2, 3)) is None

    def test_what_waits_is_bounded(self) -> None:
        mark = Watermark()
        for second in range(5 * MAX_PENDING):
            mark.heard([0], self.report(second, 1))
        assert len(mark._pending) <= MAX_PENDING
        assert mark.heard([1], self.report(9999, 1)) is not None


CURSOR = Cursor(
    0, next_position=100, kafka_offset=99, answered={"subsidy": 1}, version=7, head=150, closed=False, readers={"subsidy": (40, 1)}
)


class TestRelayMoves:
    def test_on_after_what_was_acknowledged(self) -> None:
        move = sent(CURSOR, count=50, first_offset=100)
        assert (move.version, move.next_position, move.kafka_offset, move.sent) == (7, 150, 149, 50)

    @pytest.mark.parametrize("first_offset", [0, 99])
    def test_an_offset_that_does_not_rise_means_a_new_topic_back_to_the_slowest_reader(self, first_offset: int) -> None:
        move = sent(CURSOR, count=50, first_offset=first_offset)
        assert (move.next_position, move.kafka_offset, move.sent) == (40, -1, 0)

    def test_a_lost_topic_that_nobody_has_read_begins_at_0(self) -> None:
        assert lost(replace(CURSOR, readers={})).next_position == 0

    def test_an_answered_ask_moves_nothing(self) -> None:
        assert asked(CURSOR) is None

    def test_back_to_the_lowest_asker_but_what_we_know_of_kafka_stays(self) -> None:
        readers = {"subsidy": (40, 2), "other": (60, 1), "slow": (10, 0)}
        move = asked(replace(CURSOR, readers=readers))
        assert move is not None
        assert (move.next_position, move.kafka_offset, move.asks) == (40, 99, {"subsidy": 2, "other": 1, "slow": 0})

    def test_never_forward(self) -> None:
        move = asked(replace(CURSOR, readers={"subsidy": (120, 2)}))
        assert move is not None
        assert move.next_position == 100

    def test_a_closed_partition_is_not_published(self) -> None:
        assert CURSOR.behind
        assert not replace(CURSOR, closed=True).behind


POSITION = Position(0, 812, "ab" * 32, 3)
REPORT = Report([900], [880], ["cd" * 32], [], NOON)


class TestReportOverHttp:
    def test_positions_are_validated(self) -> None:
        body = msgspec.json.encode(Positions([POSITION, Position(1, 0, None, 0)]))
        assert positions_from_json(body) == [POSITION, Position(1, 0, None, 0)]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"partition": -1},
            {"partition": 4096},
            {"next_position": -1},
            {"next_position": 2**63},
            {"chain": "xyz"},
            {"asks": "1"},
            {"more": 1},
        ],
    )
    def test_wrong_positions_are_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(msgspec.ValidationError):
            positions_from_json(msgspec.json.encode({"positions": [msgspec.to_builtins(POSITION) | wrong]}))
        with pytest.raises(msgspec.ValidationError):
            positions_from_json(b'{"positions": []}')

    async def test_put_with_a_token_and_back(self) -> None:
        seen: list[httpx.Request] = []

        async def writer(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return httpx.Response(200, content=report_to_json(REPORT))

        async with httpx.AsyncClient(transport=httpx.MockTransport(writer)) as client:
            report = http_reporter(client, "http://ingest/v1/log/consumers/subsidy", lambda: "token")
            assert await report([POSITION]) == REPORT
        (request,) = seen
        assert (request.method, request.headers["authorization"]) == ("PUT", "Bearer token")
        assert positions_from_json(request.content) == [POSITION]

    @pytest.mark.parametrize(
        "answer", [httpx.Response(503), httpx.Response(403), httpx.Response(200, content=b"{}"), httpx.ConnectError("away")]
    )
    async def test_every_other_answer_is_a_failed_report(self, answer: httpx.Response | Exception) -> None:
        def writer(request: httpx.Request) -> httpx.Response:
            if isinstance(answer, Exception):
                raise answer
            return answer

        async with httpx.AsyncClient(transport=httpx.MockTransport(writer)) as client:
            with pytest.raises(ReportFailed, match="http://ingest"):
                await http_reporter(client, "http://ingest/", lambda: "token")([POSITION])


def test_kafka_clients_never_use_the_settings_that_lose_data() -> None:
    assert kafka.PRODUCER["acks"] == "all"
    assert kafka.CONSUMER["enable_auto_commit"] is False
    assert kafka.CONSUMER["auto_offset_reset"] == "earliest"


async def test_what_swallows_a_cancellation_holds_nobody_up() -> None:
    """As asyncio.wait_for does before Python 3.12, where what it waits for ends at the same moment: the relay would run on for ever."""
    swallowed = asyncio.Event()

    async def deaf() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            swallowed.set()
        raise TimeoutError

    async def stalls() -> None:
        await asyncio.sleep(0.01)
        raise Stalled("nothing moved")

    with pytest.raises(Stalled):
        await asyncio.wait_for(supervise(asyncio.Event(), {"deaf": deaf, "watch": stalls}), 5)
    assert swallowed.is_set()
