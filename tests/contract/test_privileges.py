"""Who may do what: every operation of the three APIs, asked by every role, against privileges.csv, which people have read.

`x`: not refused for want of a right (what then is wrong with the empty request does not matter); `-`: 403. `scopes`: what the OpenAPI says
that it needs; which more a transition of a filing needs, its body says. An operation without a row fails. `signed`: a sender's signature is
the authentication. What a role may do with others' records is another matter (404), tested where the records are.
"""

import csv
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared import auth
from shared.auth import ROLES, TENANT_ROLES
from tests.conftest import MakeDatabase
from tests.contract.applications import BUILT

REVIEWED = Path(__file__).with_name("privileges.csv")
VALUES = {"date": "2023-07-14", "period": "2023-07", "year": "2023", "partition": "0", "brand": "zto", "revision": "1"}  # of paths


def reviewed(service: str) -> dict[str, dict[str, str]]:
    """{operation: {"scopes": …, role: answer}}"""
    with REVIEWED.open(encoding="utf-8", newline="") as file:
        return {row.pop("operation"): row for row in csv.DictReader(file) if row.pop("api") == service}


def path_of(template: str) -> str:
    for name in [part.partition("}")[0] for part in template.split("{")[1:]]:
        template = template.replace("{" + name + "}", VALUES.get(name, "nothing-1"))
    return template


@pytest.mark.parametrize("service", sorted(BUILT))
async def test_every_operation_refuses_whom_it_should(service: str, make_database: MakeDatabase, tmp_path: Path) -> None:
    app, private = await BUILT[service](await make_database(service), tmp_path)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service", headers={"If-Match": "*"}) as client,
    ):
        found = {
            f"{method.upper()} {path}": await asked(client, private, method, path_of(path), operation)
            for path, methods in app.openapi()["paths"].items()
            for method, operation in methods.items()
        }
    assert found == reviewed(service), json.dumps(found, indent=1)


async def asked(client: httpx.AsyncClient, private: str, method: str, path: str, operation: dict[str, Any]) -> dict[str, str]:
    """{"scopes": …, role: "x" | "-" | "signed"}, and nobody without a token."""
    if not operation.get("security"):
        return dict.fromkeys(ROLES, "signed") | {"scopes": ""}
    body: dict[str, Any] | None = {} if "requestBody" in operation else None
    nobody = await client.request(method, path, json=body)
    assert nobody.status_code == 401, (method, path, nobody.text)
    answers = {"scopes": " ".join(s for need in operation["security"] for scopes in need.values() for s in scopes)}
    for role in ROLES:
        claim = (TENANT_ROLES[role][0], "nobody") if role in TENANT_ROLES else None
        token = auth.issue(private, subject=f"test:{role}", roles=[role], ttl_s=60, claim=claim)
        answer = await client.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code < 500, (role, method, path, answer.text)
        assert answer.status_code != 401, (role, method, path, answer.text)
        answers[role] = "-" if answer.status_code == 403 and answer.json()["code"] == "scope.missing" else "x"
    return answers
