"""The recomputation compares the county's own policy with the platform's."""

import json
import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from deploy.demo import recompute as recomputation
from deploy.demo.recompute import Disproved, compare_policy

FILE = (Path(recomputation.__file__).parents[2] / "services/subsidy/policies/yuanqu-2023.1.toml").read_bytes()


def as_answered(**other: Any) -> dict[str, Any]:
    """As the platform answers it, in JSON."""
    told = json.loads(json.dumps(tomllib.loads(FILE.decode()), default=lambda at: at.isoformat()))
    return {**told, "sha256": sha256(FILE).hexdigest()} | other


def dearer() -> dict[str, Any]:
    told = as_answered()
    told["tiers"][0]["amount_fen"] += 1
    return told


POLICIES: dict[str, tuple[bytes, list[dict[str, Any]], str]] = {
    "another file": (FILE + b"#", [as_answered()], "sha256"),
    "another hash": (FILE, [as_answered(sha256="00" * 32)], "sha256"),
    "the right hash and another rate": (FILE, [dearer()], "tiers"),
    "the right hash and another end": (FILE, [as_answered(valid_to="2025-01-01T00:00:00+08:00")], "valid_to"),
    "the right hash and no clauses": (FILE, [as_answered(clauses=[])], "clauses"),
    "one that the platform does not have": (FILE, [as_answered(policy_version="yuanqu-2024.1")], "no such policy"),
}


def test_the_countys_policy_is_what_is_paid_by() -> None:
    assert compare_policy(FILE, [as_answered()]) == []


@pytest.mark.parametrize("case", POLICIES)
def test_another_policy_than_the_countys_is_found_out(case: str) -> None:
    file, answered, says = POLICIES[case]
    (difference,) = compare_policy(file, answered)
    assert says in difference


def test_only_the_rate_that_differs_is_shown() -> None:
    (difference,) = compare_policy(FILE, [dearer()])
    assert difference.count("village.filed.far") == 2
    assert "village.filed.near" not in difference


@pytest.mark.parametrize("file", [b"\xff", b"not toml", b"policy_version = 1"])
def test_a_file_that_is_no_policy(file: bytes) -> None:
    with pytest.raises(Disproved, match="no policy"):
        compare_policy(file, [as_answered()])
