"""JSON Schema of what travels on Kafka, generated from the code: `python -m shared.contracts.schemas` writes docs/events/.

A test compares the files with the code, so a message cannot change without its published schema.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from shared.contracts import registry, scan

FOLDER = Path(__file__).parents[2] / "docs" / "events"
MESSAGES: dict[str, Any] = {scan.TOPIC: scan.ScanEvent, registry.TOPIC: registry.RegistryChange}


def generate() -> dict[str, str]:
    """File name -> JSON Schema (draft 2020-12) as text."""
    return {f"{topic}.schema.json": _text(topic, message) for topic, message in MESSAGES.items()}


def _text(topic: str, message: Any) -> str:
    (schema,), definitions = msgspec.json.schema_components([message], ref_template="#/$defs/{name}")
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:tongcun:event:{topic}",
        **schema,
        "$defs": definitions,
    }
    return json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in generate().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
