"""`python -m services.registry.migrate`: the schema and the log's partition, as the owner; at first, divisions and the programme of 2023
as revision 0. Idempotent."""

import asyncio
from importlib.resources import files

from services.registry import repository
from services.registry.domain import divisions
from services.registry.schemas_targets import NewProgramme
from services.registry.service import programmes
from services.registry.service.documents import refuse_foreign_keyring
from services.registry.service.recording import recording
from services.registry.settings import MigrateSettings
from shared import migrations, process
from shared.contracts.registry import PARTITION, TOPIC
from shared.db import Database
from shared.keyring import Keyring
from shared.log import create_partitions
from shared.log.tables import IS_THERE
from shared.settings import load as settings_of

SYSTEM = "system"
SOURCE = "国家统计局 统计用区划代码, edition 2023; 垣发改字〔2023〕30号"


async def set_up(dsn: str) -> None:
    database = await Database(dsn, max_size=1).open()
    try:
        async with database.write() as tx:
            await create_partitions(tx, TOPIC, PARTITION + 1)
            empty = await repository.newest(tx) is None
        if empty:
            await load(database)
    finally:
        await database.close()


async def load(database: Database) -> None:
    data = files("services.registry").joinpath("data")
    async with recording(database, SYSTEM, SOURCE) as draft:
        for division in divisions.read(data.joinpath("yuanqu_divisions.csv").read_text(encoding="utf-8")):
            draft.put(division)
        programme = NewProgramme.model_validate_json(data.joinpath("programme-2023.json").read_bytes())
        draft.put(programmes.programme_of(f"prg_{draft.revision}", programme))


async def install(dsn: str, keys: str | None = None) -> None:
    """`dsn`: the owner's; `keys`: the keyring, which must then be the one that the database was written with. A mistake changes nothing."""
    await process.first(dsn, lambda database: check(database, keys))
    await asyncio.to_thread(migrations.upgrade, "registry", dsn)
    await set_up(dsn)


async def check(database: Database, keys: str | None) -> None:
    """Raises CannotRun, KeyringError: another server, another installation's keyring."""
    await process.check_database(database)
    if keys:
        async with database.read() as read:
            if await read.fetchval(IS_THERE, "document"):
                await refuse_foreign_keyring(read, Keyring.load(keys))


async def main() -> None:
    settings = settings_of(MigrateSettings)
    await install(settings.owner_database_url, settings.keyring)


if __name__ == "__main__":
    process.run(main)
