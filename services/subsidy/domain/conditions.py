"""A clause's condition: CEL over the fact schema, compiled and then tried on every value of the facts that it reads.

CEL has no static types here, but the facts are of finite range, so trying is proving: a condition that passes can never fail at work.
"""

import re
from itertools import product
from typing import Any

import cel

from .facts import NAMES, ROOTS, SCHEMA, FactValue
from .policy import PolicyError

_LITERAL = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_REFERENCE = re.compile(rf"\b({'|'.join(sorted(ROOTS))})\b(?:\s*\.\s*([A-Za-z_]\w*))?")


def compile_condition(condition: str) -> tuple[Any, tuple[str, ...]]:
    """(program, the facts that it reads), or a PolicyError that has no place yet."""
    try:
        program = cel.compile(condition)
    except ValueError as error:
        raise PolicyError("policy.condition.syntax", str(error).splitlines()[0]) from error
    reads = _facts_read(condition, program.variables())
    _try_all(condition, program, reads)
    return program, reads


def _facts_read(condition: str, variables: list[str]) -> tuple[str, ...]:
    named = {f"{root}.{leaf}" if leaf else root for root, leaf in _REFERENCE.findall(_LITERAL.sub("''", condition))}
    unknown = (named | (set(variables) - ROOTS)) - set(NAMES)
    if unknown:
        raise PolicyError("policy.condition.unknown_fact", f"no such fact: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return tuple(name for name in NAMES if name in named)


def _try_all(condition: str, program: Any, reads: tuple[str, ...]) -> None:
    """What a condition does not read cannot change it, so only the facts that it reads are varied."""
    results = {_try(condition, program, dict(zip(reads, values, strict=True))) for values in product(*(SCHEMA[name] for name in reads))}
    varied = any(len(SCHEMA[name]) > 1 for name in reads)
    if len(results) == 1 and (varied or results == {False}):
        raise PolicyError(
            "policy.condition.constant", f"`{condition}` is {str(results.pop()).lower()} whatever the facts; compare with values that occur"
        )


def _try(condition: str, program: Any, values: dict[str, FactValue]) -> bool:
    nested: dict[str, dict[str, FactValue]] = {root: {} for root in ROOTS}
    for name, value in values.items():
        root, leaf = name.split(".")
        nested[root][leaf] = value
    try:
        result = program.execute(nested)
    except (TypeError, ValueError, KeyError, ArithmeticError, RuntimeError) as error:
        raise PolicyError("policy.condition.type", f"`{condition}` fails where {values}: {str(error).splitlines()[0]}") from error
    if not isinstance(result, bool):
        raise PolicyError("policy.condition.not_bool", f"`{condition}` gives {result!r} where {values}; a condition is true or false")
    return result
