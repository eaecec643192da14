"""The form of an answer, for the tests of ingest's contract."""

from typing import Any

AS_OF = {
    "valid_at": None, "known_at": "2023-08-01T08:00:00+08:00", "watermark": None, "revision": None, "registry_revision": None,
    "pending_reassessments": None,
    "set_aside": None,
}  # fmt: skip


def shape(value: Any) -> Any:
    """Field names and JSON types; null and text of the same field count as one (`null` means unknown)."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "scalar" if value is None or isinstance(value, str) else type(value).__name__
