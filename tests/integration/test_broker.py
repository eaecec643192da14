"""The broker under its supervisor, whichever was chosen: killed, born again, stopped and started."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.embedded.broker import Broker
from deploy.embedded.installation import Installation
from deploy.embedded.runtime import chosen_broker
from deploy.embedded.supervisor import Supervisor


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Broker]:
    """One that the test may break, with a topic."""
    installation = Installation(tmp_path / "var")
    installation.make_directories()
    supervisor = Supervisor(installation.run, lambda _line: None)
    try:
        broker = chosen_broker()(installation, supervisor)
        await broker.start()
        await _create_topic(broker.bootstrap)
        yield broker
    finally:
        await supervisor.close()


async def test_a_killed_one_comes_back_by_itself_with_what_it_keeps(own: Broker) -> None:
    killed = own.pid
    assert killed
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(own.ready_within_s):
        while own.pid in (None, killed) or not await own._answers():
            await asyncio.sleep(0.02)
    assert await _topics(own.bootstrap) == ({"kept"} if own.keeps else set())


async def test_it_is_born_again_empty_at_the_same_address_with_the_same_id(own: Broker) -> None:
    before = own.bootstrap, own.cluster_id
    await own.kill()
    assert own.pid is None
    await own.restart()
    assert (own.bootstrap, own.cluster_id) == before
    assert await _topics(own.bootstrap) == set()


async def test_stopped_in_order_and_started_it_has_what_it_keeps(own: Broker) -> None:
    await own.stop()
    await own.start()
    assert await _topics(own.bootstrap) == ({"kept"} if own.keeps else set())


async def _create_topic(bootstrap: str) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        await client.create_topics([NewTopic("kept", 1, 1)])
    finally:
        await client.close()
    assert await _topics(bootstrap) == {"kept"}


async def _topics(bootstrap: str) -> set[str]:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        return set(await client.list_topics())
    finally:
        await client.close()
