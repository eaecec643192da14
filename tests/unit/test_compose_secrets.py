"""What an installation by docker-compose is given, and what is found wrong with it before anything starts."""

import json
import re
from pathlib import Path

import pytest

from deploy.compose import keys, secrets
from deploy.compose.check import Foreign, check
from deploy.compose.secrets import BadSecret
from deploy.embedded.supervisor import CannotStart
from deploy.platform import Elsewhere
from shared import auth
from shared.auth import Verifier
from shared.keyring import KeyringError


@pytest.fixture
def made(tmp_path: Path) -> Path:
    directory = tmp_path / "secrets"
    directory.mkdir()
    keys.make(directory)
    return directory


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    for name in ("postgres", "kafka"):
        (tmp_path / "volumes" / name).mkdir(parents=True)
    return tmp_path / "volumes"


def overwritten(path: Path, text: str) -> None:
    path.chmod(0o644)
    path.write_text(text)


def cluster_id(made: Path) -> str:
    return (made / "cluster-id").read_text()


def test_what_was_made_is_whole(made: Path, volumes: Path) -> None:
    check(made, volumes, cluster_id(made))


def test_a_kafka_cluster_id_is_no_option_of_its_tools(tmp_path: Path) -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", keys._cluster_id()) for _ in range(200))


async def test_the_service_token_is_good_for_the_key_set(made: Path) -> None:
    principal = await Verifier(str(made / "jwks.json"), auth.ISSUER).authenticate((made / "service-token").read_text())
    assert principal.roles == {"service"}


def test_made_again_only_the_token_is_new(made: Path) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    keys.make(made)
    after = {path.name: path.read_bytes() for path in made.iterdir()}
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} <= {"service-token"}


def test_an_interrupted_making_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "keyring.json").write_text("half")
    keys.make(tmp_path)
    secrets.check(tmp_path, ["keyring.json"])


@pytest.mark.parametrize("name", ["postgres", "ingest-app", "subsidy-owner", "issuer.pem", "jwks.json"])
def test_what_data_depends_on_is_never_made_twice(made: Path, name: str) -> None:
    (made / name).unlink()
    with pytest.raises(BadSecret, match=f"{name} cannot be read .*: restore it from your copy"):
        keys.make(made)
    assert not (made / name).exists()


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("postgres", "", "is empty: restore it"),
        ("ingest-app", "postgresql://ingest_owner:abc@postgres/ingest", "is no postgresql://ingest_app:PASSWORD@HOST/ingest"),
        ("registry-owner", "postgresql://registry_owner:a'b@postgres/registry", "is no postgresql://registry_owner:PASSWORD"),
        ("subsidy-app", "https://subsidy_app:abc@postgres/subsidy", "is no postgresql://subsidy_app:PASSWORD"),
        ("service-token", "x.y.z", "is no token: deploy/compose/setup"),
        ("jwks.json", "\n", "is empty"),
    ],
)
def test_a_damaged_secret_is_named(made: Path, volumes: Path, name: str, text: str, says: str) -> None:
    overwritten(made / name, text)
    with pytest.raises(BadSecret, match=re.escape(says)) as refused:
        check(made, volumes, cluster_id(made))
    assert str(made / name) in str(refused.value)


def test_a_damaged_keyring_is_named(made: Path, volumes: Path) -> None:
    overwritten(made / "keyring.json", json.dumps({"current": "key_1", "keys": {}}))
    with pytest.raises(KeyringError, match=r"keyring\.json names a current key that it does not hold"):
        check(made, volumes, cluster_id(made))


def test_a_token_that_is_about_to_end_is_named(made: Path, volumes: Path) -> None:
    ends_in_s = secrets.SPARE_S - 60
    token = auth.issue((made / "issuer.pem").read_text(), subject="subsidy-worker", roles=["service"], ttl_s=ends_in_s)
    overwritten(made / "service-token", token)
    with pytest.raises(BadSecret, match="ends within 30 days"):
        check(made, volumes, cluster_id(made))


# The volumes


@pytest.mark.parametrize("place", ["PG_VERSION", "data/PG_VERSION", "17/docker/PG_VERSION", "17/data/PG_VERSION", "18/docker/PG_VERSION"])
def test_data_of_another_major_version_are_refused_wherever_its_image_kept_them(made: Path, volumes: Path, place: str) -> None:
    path = volumes / "postgres" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("17\n")
    with pytest.raises(Foreign, match="holds data of version 17, Tongcun needs 18: dump it with that version"):
        check(made, volumes, cluster_id(made))


def test_our_own_volumes_are_accepted(made: Path, volumes: Path) -> None:
    data = volumes / "postgres/18/docker"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18\n")
    (volumes / "postgres/data").symlink_to(".")  # as the official image has it
    (volumes / "kafka/meta.properties").write_text(f"#\nversion=1\ncluster.id={cluster_id(made)}\nnode.id=1\n")
    check(made, volumes, cluster_id(made))


def test_kafka_of_another_cluster_is_refused(made: Path, volumes: Path) -> None:
    (volumes / "kafka/meta.properties").write_text("cluster.id=5L6g3nShT-eMCtK--X86sw\n")
    with pytest.raises(Foreign, match=r"belongs to the cluster 5L6g3nShT-eMCtK--X86sw, .* TONGCUN_CLUSTER_ID in \.env back"):
        check(made, volumes, cluster_id(made))


# The tools' way to a stack that runs


def test_a_platform_elsewhere_is_named_whole_or_not_at_all(tmp_path: Path) -> None:
    urls = {f"TONGCUN_{service}_URL": f"http://{service.lower()}:81/" for service in ("INGEST", "REGISTRY", "SUBSIDY")}
    assert Elsewhere.read({}) is None
    assert Elsewhere.read(urls) is None
    there = Elsewhere.read(urls | {"TONGCUN_ISSUER_KEY": str(tmp_path / "issuer.pem")})
    assert there is not None
    assert there.urls["registry"] == "http://registry:81"
    with pytest.raises(CannotStart, match="TONGCUN_SUBSIDY_URL is not"):
        Elsewhere.read({k: v for k, v in urls.items() if "SUBSIDY" not in k} | {"TONGCUN_ISSUER_KEY": "x"})
