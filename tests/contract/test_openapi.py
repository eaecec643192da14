"""The three OpenAPI documents keep one rule: what every operation names, and how errors look."""

import re
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.installation import Dsns
from services.ingest import api as ingest
from services.registry import api as registry
from services.registry.settings import Settings as RegistrySettings
from services.subsidy import api as subsidy
from services.subsidy.settings import Settings as SubsidySettings
from shared.problems import MEDIA_TYPE
from tests.ingest_support import NOWHERE, configured

NOT_OPENED = "postgresql://nobody@127.0.0.1:9/nothing"
PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
CREATES_ITS_PATH = ("put", "/v1/log/consumers/{name}")  # a consumer is there once it reports: no 404
TABLES = {"text/csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}  # which have no schema
PICTURES = {"image/jpeg", "image/png", "image/webp", "application/pdf"}
SIGNED = ("/v1/push/{feed}", "/v1/push/{feed}/{token}")  # in the senders' own words, without our tokens


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Nothing is opened for a document."""
    directory = tmp_path_factory.mktemp("openapi")
    _, settings = configured(directory, Dsns(NOT_OPENED, NOT_OPENED))
    known: Any = {"database_url": NOT_OPENED, "kafka_bootstrap": NOWHERE, "jwks": str(Path(directory) / "jwks.json")}
    entered = RegistrySettings(**known, keyring=settings.keyring)
    apps = (ingest.build(settings), registry.build(entered), subsidy.build(SubsidySettings(**known)))
    return [app.openapi() for app in apps]


def operations(documents: list[dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    found = [(m, path, op) for d in documents for path, methods in d["paths"].items() for m, op in methods.items()]
    assert len(found) > 40
    return found


def test_every_secured_operation_says_how_it_refuses(documents: list[dict[str, Any]]) -> None:
    for method, path, operation in operations(documents):
        wanted = {"422"} if path in SIGNED else {"401", "403", "422", "503"}
        wanted |= {"404"} if "{" in path and (method, path) != CREATES_ITS_PATH else set()
        wanted |= {"400", "413", "415"} if list(operation.get("requestBody", {}).get("content", ())) == ["application/json"] else set()
        assert wanted <= set(operation["responses"]), (method, path, wanted - set(operation["responses"]))
        assert bool(operation.get("security")) == (path not in SIGNED), path


def test_every_error_is_the_one_problem(documents: list[dict[str, Any]]) -> None:
    for method, path, operation in operations(documents):
        for status, answer in operation["responses"].items():
            if status >= "400" and (path not in SIGNED or status < "500"):
                assert answer["content"] == PROBLEM, (method, path, status)
    shapes = [d["components"]["schemas"] for d in documents]
    assert all("HTTPValidationError" not in schemas for schemas in shapes)
    assert shapes[0]["Problem"] == shapes[1]["Problem"] == shapes[2]["Problem"]
    assert set(shapes[0]["Problem"]["required"]) == {"type", "title", "status", "code", "detail", "errors", "trace_id"}


def test_every_reference_leads_somewhere(documents: list[dict[str, Any]]) -> None:
    for document in documents:
        names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
        assert names <= set(document["components"]["schemas"])


def test_every_operation_has_a_summary_in_both_languages(documents: list[dict[str, Any]]) -> None:
    for method, path, operation in operations(documents):
        assert re.search(r"[a-z] .*[\u4e00-\u9fff]", operation["summary"]), (method, path, operation["summary"])


def test_every_answer_that_has_a_body_has_a_schema(documents: list[dict[str, Any]]) -> None:
    for method, path, operation in operations(documents):
        for status in {"200", "201"} & set(operation["responses"]):
            content = operation["responses"][status]["content"]
            if path not in SIGNED and not set(content) <= TABLES | PICTURES:
                assert content["application/json"]["schema"], (method, path)
