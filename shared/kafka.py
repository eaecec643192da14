"""Kafka clients with safe settings, made in one place, and no call without a timeout.

aiokafka's defaults lose data (`acks=1`, auto-commit, `auto_offset_reset=latest`), and its idempotent producer neither times out
(aio-libs/aiokafka#1101) nor starts against the embedded broker. Repeats are harmless here: the numbered log skips them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError

START_S = 15  # to connect, find the cluster and its topics
STOP_S = 5  # a client that does not stop is abandoned: `stop()` may hang on a broker that was born again
ANSWERS_S = 3  # a broker that takes longer to say hello counts as silent
MAX_BATCH_BYTES = 1 << 20  # Kafka's own default limit of one batch
GROWN_S = 3
MAX_REPLICAS = 3  # where there are as many brokers
TOPIC_EXISTS = 36  # error code of CreateTopics

PRODUCER: dict[str, Any] = {
    "acks": "all",
    "enable_idempotence": False,
    "request_timeout_ms": 5_000,
    "metadata_max_age_ms": 5_000,  # a topic that was born again is seen soon
    "max_batch_size": MAX_BATCH_BYTES,
    "linger_ms": 0,
}
SESSION_S = 6  # a member of a group that is silent for longer has lost its partitions; Kafka's brokers take no less
CONSUMER: dict[str, Any] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "metadata_max_age_ms": 5_000,
    "request_timeout_ms": 10_000,
    "fetch_max_wait_ms": 100,  # a partition that missed the pending fetch waits at most this long
    "max_partition_fetch_bytes": 4 << 20,  # one transaction's worth; memory: partitions × twice this
    "session_timeout_ms": SESSION_S * 1000,
    "heartbeat_interval_ms": 1_000,  # how soon the others notice that somebody came or went
    "max_poll_interval_ms": 10**12,  # a worker that has no partition polls nothing, and must stay; our own watchdog sees who hangs
}


class TopicMismatch(Exception):
    """The topic has fewer partitions than the log: recreate it, or run against the broker that belongs to this installation."""


async def quietly(work: Awaitable[object], within_s: float = STOP_S) -> bool:
    """Whether `work` ended well in time. Only for what may fail without loss: closing a client, asking whether a broker answers."""
    try:
        async with asyncio.timeout(within_s):
            await work
    except (KafkaError, OSError, TimeoutError, RuntimeError, asyncio.CancelledError):
        task = asyncio.current_task()
        if task and task.cancelling():
            raise
        return False
    return True


@contextlib.asynccontextmanager
async def started(client: Any, stop: str = "stop") -> AsyncIterator[Any]:
    starting = asyncio.create_task(client.start())
    stopped = False
    try:
        async with asyncio.timeout(START_S):
            await asyncio.shield(starting)
        yield client
    finally:
        try:
            if not starting.done():  # cancelled, it would leave its first connection open; soon one of its own time-outs ends it
                await quietly(starting)
            stopped = await quietly(getattr(client, stop)())
        finally:  # also when we are cancelled meanwhile
            if not stopped:
                await _abandon(client)


async def _abandon(client: Any) -> None:
    """A client that does not stop: what runs inside it tries for ever, and connects again, unless it is ended first."""
    if isinstance(client, AIOKafkaProducer):
        await quietly(client._sender.close())
        await quietly(client.client.close())
        return
    if isinstance(client, AIOKafkaConsumer):
        await _abandon_group(client._coordinator)
        if client._fetcher:
            await quietly(client._fetcher.close())
    await quietly(client._client.close())


async def _abandon_group(coordinator: Any) -> None:
    """Else its heartbeat would keep, as a member that takes nothing, the partitions that others should have."""
    for name in ("_coordination_task", "_commit_refresh_task", "_heartbeat_task"):  # the first might start the others again
        if task := getattr(coordinator, name, None):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def producer(bootstrap: str) -> contextlib.AbstractAsyncContextManager[AIOKafkaProducer]:
    return started(AIOKafkaProducer(bootstrap_servers=bootstrap, **PRODUCER))


def consumer(bootstrap: str, group: str) -> contextlib.AbstractAsyncContextManager[AIOKafkaConsumer]:
    """It may subscribe or be assigned its partitions; either way the truth stands in PostgreSQL, and the group's offsets only mirror it."""
    return started(AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, **CONSUMER))


def _admin(bootstrap: str, answers_s: int = 5) -> AIOKafkaAdminClient:
    return AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=answers_s * 1000)


async def ensure_topic(bootstrap: str, topic: str, partitions: int) -> None:
    """Find the topic with enough partitions, create it, or let it grow.

    Before any client of it: the embedded broker takes records for a topic that does not exist, and Kafka (`auto.create.topics.enable`)
    makes one with a single partition as soon as a live client asks for one that was deleted. To ask for all topics makes none, and needs
    no right to create where the topic is there. Growing is safe: we choose the partition, not Kafka.
    """
    async with started(_admin(bootstrap), "close") as admin, asyncio.timeout(START_S):
        there = await _partitions(admin, topic)
        if there == 0:
            there = await _create(admin, topic, partitions)
        if there < partitions:
            with contextlib.suppress(IncompatibleBrokerVersion):  # the embedded broker cannot
                await admin.create_partitions({topic: NewPartitions(partitions)})
                there = await _grown(admin, topic, partitions)
    if there < partitions:
        raise TopicMismatch(f"topic {topic} has {there} partitions, the log {partitions}: recreate the topic, the log fills it again")


async def _grown(admin: AIOKafkaAdminClient, topic: str, partitions: int) -> int:
    """A broker under load tells of what it has just been given a moment later."""
    for _ in range(GROWN_S * 10):
        if (there := await _partitions(admin, topic)) >= partitions:
            return there
        await asyncio.sleep(0.1)
    return there


async def _create(admin: AIOKafkaAdminClient, topic: str, partitions: int) -> int:
    replicas = min(MAX_REPLICAS, len((await admin.describe_cluster())["brokers"]))
    answer = await admin.create_topics([NewTopic(topic, partitions, replicas, topic_configs={"retention.ms": "-1"})])
    for error in answer.topic_errors:
        if error[1] == TOPIC_EXISTS:  # somebody else was first, perhaps with another number
            return await _partitions(admin, topic)
        if error[1]:
            raise KafkaError(f"cannot create topic {topic}: error {error[1]}")
    return partitions


async def _partitions(admin: AIOKafkaAdminClient, topic: str) -> int:
    """0: there is no such topic."""
    return next((len(found["partitions"]) for found in await admin.describe_topics() if found["topic"] == topic), 0)


async def count_partitions(bootstrap: str, topic: str) -> int | None:
    """0: there is no such topic; None: the broker does not answer."""
    try:
        async with asyncio.timeout(ANSWERS_S), started(_admin(bootstrap), "close") as admin:
            return await _partitions(admin, topic)
    except (KafkaError, OSError, TimeoutError):
        return None


async def answers(bootstrap: str) -> bool:
    """Whether a new client gets an answer: a live one may hang on a dead connection without saying so."""
    return await quietly(_hello(bootstrap), ANSWERS_S)


async def _hello(bootstrap: str) -> None:
    async with started(_admin(bootstrap, ANSWERS_S), "close"):
        pass
