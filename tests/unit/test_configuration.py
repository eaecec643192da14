"""Settings: from the environment or a file; what is wrong is one line that says what to do; the documentation is that of the code."""

from pathlib import Path

import pytest

from deploy import configuration
from services.ingest.settings import MigrateSettings
from services.subsidy.settings import WorkerSettings
from shared import settings

GOOD = {"TONGCUN_DATABASE_URL": "postgresql://x", "TONGCUN_KAFKA_BOOTSTRAP": "h:1", "TONGCUN_JWKS": "/jwks"}
WORKER = GOOD | {"TONGCUN_INGEST_URL": "http://h:1", "TONGCUN_REGISTRY_URL": "https://h", "TONGCUN_SERVICE_TOKEN": "a token"}
SECRET = "h1dden"


def test_a_setting_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://from-file\n")
    environ = GOOD | {"TONGCUN_DATABASE_URL_FILE": str(tmp_path / "url"), "TONGCUN_FAILPOINT": "x:1", "PATH": "/bin"}
    del environ["TONGCUN_DATABASE_URL"]
    assert settings.read(settings.ServiceSettings, environ).database_url == "postgresql://from-file"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"TONGCUN_JWKS": None}, "TONGCUN_JWKS is not set: public keys"),
        ({"TONGCUN_PARTITION": "8"}, r"TONGCUN_PARTITION is no setting of Tongcun: did you mean TONGCUN_PARTITIONS\?"),
        ({"TONGCUN_DATABSE_URL_FILE": "/x"}, r"did you mean TONGCUN_DATABASE_URL_FILE\?"),
        ({"TONGCUN_COLOUR": "red"}, "TONGCUN_COLOUR is no setting of Tongcun: remove it"),
        ({"TONGCUN_PARTITIONS": "0"}, "TONGCUN_PARTITIONS: Input should be greater than or equal to 1 .partitions of the scans log"),
        ({"TONGCUN_PORT": "http"}, "TONGCUN_PORT: Input should be a valid integer"),
        ({"TONGCUN_HOST": ""}, "TONGCUN_HOST is empty: give it a value, or remove it"),
        ({"TONGCUN_LOG_LEVEL": "loud"}, "TONGCUN_LOG_LEVEL: Input should be 'debug', 'info', 'warning' or 'error'"),
        ({"TONGCUN_DATABASE_URL": "mysql://x"}, "TONGCUN_DATABASE_URL: write postgresql://"),
        ({"TONGCUN_KAFKA_BOOTSTRAP": "h:1, h:2"}, "TONGCUN_KAFKA_BOOTSTRAP: write host:port"),
        ({"TONGCUN_KAFKA_BOOTSTRAP": "h"}, "TONGCUN_KAFKA_BOOTSTRAP: write host:port"),
        ({"TONGCUN_INGEST_URL": "ingest:8101"}, "TONGCUN_INGEST_URL: write http://host:port"),
        ({"TONGCUN_JWKS": None, "TONGCUN_JWKS_FILE": "/nowhere"}, "TONGCUN_JWKS_FILE names a file that cannot be read: /nowhere"),
        ({"TONGCUN_JWKS": None, "TONGCUN_JWKS_FILE": "/dev/zero"}, "a file of more than 65536 bytes"),
        ({"TONGCUN_JWKS": None, "TONGCUN_JWKS_FILE": "/dev/null"}, "TONGCUN_JWKS_FILE is empty"),
        ({"TONGCUN_JWKS_FILE": "/dev/null"}, "TONGCUN_JWKS is given twice, as a value and as a file .TONGCUN_JWKS_FILE.: keep one"),
        ({"TONGCUN_SCAN_PARTITIONS": "3-"}, "TONGCUN_SCAN_PARTITIONS: '3-' is no list of partitions"),
        ({"TONGCUN_SCAN_PARTITIONS": "0-8"}, "TONGCUN_SCAN_PARTITIONS names partition 8, TONGCUN_PARTITIONS says that there are 8"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(change: dict[str, str | None], words: str) -> None:
    environ = {k: v for k, v in (WORKER | change).items() if v is not None}
    with pytest.raises(settings.SettingsError, match=words) as e:
        settings.read(WorkerSettings, environ)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["TONGCUN_DATABASE_URL", "TONGCUN_SERVICE_TOKEN"])
def test_a_secret_is_never_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    for wrong in ({name: SECRET, f"{name}_FILE": str(tmp_path / "secret")}, {name: SECRET, "TONGCUN_DATABASE_URL": f"my{SECRET}"}):
        with pytest.raises(settings.SettingsError) as e:
            settings.read(WorkerSettings, WORKER | wrong)
        assert SECRET not in str(e.value)


def test_a_process_passes_over_its_neighbours_settings() -> None:
    told = settings.read(MigrateSettings, WORKER | {"TONGCUN_OWNER_DATABASE_URL": "postgresql://o", "TONGCUN_POOL_SIZE": "many"})
    assert told.model_dump() == {"owner_database_url": "postgresql://o", "partitions": 8, "keyring": None}


def test_a_worker_owns_what_it_is_given_or_shares_in_the_group() -> None:
    assert settings.read(WorkerSettings, WORKER | {"TONGCUN_SCAN_PARTITIONS": "0,2-3"}).owned == [0, 2, 3]
    assert settings.read(WorkerSettings, WORKER | {"TONGCUN_SCAN_PARTITIONS": "group"}).owned is None
    assert settings.read(WorkerSettings, WORKER).owned is None


def test_no_start_and_exit_code_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TONGCUN_PRT", "1")
    with pytest.raises(SystemExit) as stopped:
        settings.load(settings.ServiceSettings)
    assert (stopped.value.code, capsys.readouterr().err) == (2, "TONGCUN_PRT is no setting of Tongcun: did you mean TONGCUN_PORT?\n")


def test_every_setting_of_every_process_is_known_to_all() -> None:
    assert {name for _, cls in configuration.PROCESSES for name in cls.model_fields} == settings.NAMES


def test_the_documentation_is_that_of_the_code() -> None:
    assert configuration.PAGE.read_text(encoding="utf-8") == configuration.page(), "run: python -m deploy.configuration"


def test_every_setting_says_what_it_means() -> None:
    fields = [field for _, cls in configuration.PROCESSES for field in cls.model_fields.values()]
    assert all(field.description and "\n" not in field.description for field in fields)
    assert configuration.page().count("*secret* |") == 5, "DSN of the app and of three owners, service token"
