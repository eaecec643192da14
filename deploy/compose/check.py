"""`python -m deploy.compose.check`: before anything starts, whether the secrets are whole and the volumes this installation's.

Only looks. Exit code 2 and one line where something is in the way: nothing has been changed then.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.compose import secrets
from shared.db import POSTGRES_MAJOR
from shared.keyring import KeyringError

VOLUMES = Path("/volumes")  # `postgres` and `kafka`, read-only
SECRETS = [secrets.SUPERUSER, *secrets.DSNS, secrets.KEYRING, secrets.JWKS]
PLACES = ("PG_VERSION", "data/PG_VERSION", "*/PG_VERSION", "*/docker/PG_VERSION", "*/data/PG_VERSION")  # of the images so far


class Foreign(Exception):
    """One line: whose volume it is, and what to do."""


def check(directory: Path, volumes: Path, cluster_id: str) -> None:
    """Raises BadSecret, KeyringError, Foreign."""
    secrets.check(directory, SECRETS)
    secrets.check_token(directory)
    for version in postgres_versions(volumes / "postgres"):
        if version != str(POSTGRES_MAJOR):
            raise Foreign(
                f"the volume of PostgreSQL holds data of version {version}, Tongcun needs {POSTGRES_MAJOR}: dump it with that version and "
                f"restore it into an empty volume of {POSTGRES_MAJOR}, or begin anew with docker compose down -v"
            )
    found = kafka_cluster(volumes / "kafka")
    if found and found != cluster_id:
        raise Foreign(
            f"the volume of Kafka belongs to the cluster {found}, this installation is {cluster_id}: put TONGCUN_CLUSTER_ID in .env back, "
            "or remove that volume (docker volume rm tongcun_kafka): the logs in PostgreSQL fill it again"
        )


def postgres_versions(volume: Path) -> Iterator[str]:
    """Of every data directory in the volume; a link that the image makes leads to the same ones."""
    for path in sorted({path.resolve() for place in PLACES for path in volume.glob(place)}):
        yield path.read_text().strip()


def kafka_cluster(volume: Path) -> str | None:
    """None for a volume that Kafka has not formatted yet."""
    path = volume / "meta.properties"
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition("=")[2].strip() for line in lines if line.startswith("cluster.id=")), None)


def main() -> int:
    try:
        check(secrets.DIRECTORY, VOLUMES, os.environ["CLUSTER_ID"])
    except (secrets.BadSecret, KeyringError, Foreign) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
