"""What Schemathesis runs beside its own checks."""

from typing import Any

import schemathesis

# Of a filter that takes several values, separated by commas: what OpenAPI writes as a text.
OF_FILTERS = frozenset({"enum", "too_many"})


@schemathesis.check
def a_refusal_of_what_fits_the_schema_names_a_rule(ctx: Any, response: Any, case: Any) -> None:
    """Our own rules have names with a dot (`division.unknown`); a name without one is a shape that the schema should have told."""
    if response.status_code != 422 or case.meta is None or case.meta.generation.mode.is_negative:
        return
    body = response.json()
    errors = body["errors"]
    assert errors or "." in body["code"], "a refusal that names neither a field nor a rule"
    told = [e for e in errors if "." not in e["code"] and not (e["pointer"].startswith("#query/") and e["code"] in OF_FILTERS)]
    assert not told, f"fits the schema and is refused for its shape: {told}"
