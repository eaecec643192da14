"""Schemathesis against the registry's own OpenAPI: whatever fits the schema is answered, never with a 5xx, in a documented way."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from shared.problems import MEDIA_TYPE
from tests.conftest import MakeDatabase
from tests.registry_api import Registry, running

EXAMPLES = 200  # over all operations


@pytest.fixture(scope="module")
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        operator = await started.operator()
        await started.filing(await started.station(operator_id=operator), operator)
        yield started


@pytest.fixture(scope="module")
async def operations(registry: Registry) -> list[Any]:
    schema = schemathesis.openapi.from_dict((await registry.client.get("/openapi.json")).json())
    found = list(schema.get_all_operations())
    assert all(isinstance(result, Ok) for result in found)
    return [result.ok() for result in found if isinstance(result, Ok)]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_whatever_fits_the_schema_gets_a_documented_answer(registry: Registry, operations: list[Any], data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(operations))
    case = data.draw(operation.as_strategy())
    role = "service" if operation.method.upper() == "PUT" else "admin"  # the report is the service's alone
    sent = case.as_transport_kwargs(base_url="http://registry")
    body = {k: sent[k] for k in ("json", "params") if sent.get(k) is not None}
    answer = await registry.client.request(sent["method"], sent["url"], headers=registry.token(role), **body)
    assert answer.status_code < 500, (sent, answer.text)
    documented = {int(status) for status in operation.definition.raw["responses"]}
    assert answer.status_code in documented | {404}, (sent, answer.text)  # 404: a path parameter that is empty or has a slash
    if answer.is_error:
        assert answer.headers["content-type"] == MEDIA_TYPE
