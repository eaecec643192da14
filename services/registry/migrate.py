"""`python -m services.registry.migrate`: schema, the log's partition and the divisions as revision 0, as the owner. Idempotent."""

import asyncio
from importlib.resources import files

from services.registry import repository
from services.registry.domain import divisions
from services.registry.service.recording import recording
from services.registry.settings import MigrateSettings
from shared import migrations, process
from shared.contracts.registry import PARTITION, TOPIC
from shared.db import Database
from shared.log import create_partitions
from shared.settings import load

SYSTEM = "system"
SOURCE = "国家统计局 统计用区划代码, edition 2023"


async def set_up(dsn: str) -> None:
    database = await Database(dsn, max_size=1).open()
    try:
        async with database.write() as tx:
            await create_partitions(tx, TOPIC, PARTITION + 1)
            empty = await repository.newest(tx) is None
        if empty:
            await load_divisions(database)
    finally:
        await database.close()


async def load_divisions(database: Database) -> None:
    table = files("services.registry").joinpath("data/yuanqu_divisions.csv").read_text(encoding="utf-8")
    async with recording(database, SYSTEM, SOURCE) as draft:
        for division in divisions.read(table):
            draft.put(division)


async def install(dsn: str) -> None:
    """`dsn`: the owner's. A mistake changes nothing."""
    await process.first(dsn, process.check_database)
    await asyncio.to_thread(migrations.upgrade, "registry", dsn)
    await set_up(dsn)


async def main() -> None:
    await install(load(MigrateSettings).owner_database_url)


if __name__ == "__main__":
    process.run(main)
