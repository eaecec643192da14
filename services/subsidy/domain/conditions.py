"""A clause's condition: CEL over the fact schema, compiled and then tried on every value of the facts that it reads.

CEL has no static types here, but the facts are of finite range, so trying is proving: a condition that passes can never fail at work.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import cel

from .facts import SCHEMAS, FactValue, nested, roots
from .policy import PolicyError

MAX_ASSIGNMENTS = 100_000  # of the facts that are read together: what is more is not tried, but refused
_LITERAL = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")


def compile_condition(condition: str, scheme: str) -> tuple[Any, tuple[str, ...]]:
    """(program, the facts that it reads), or a PolicyError that has no place yet. `scheme`: downlink or uplink, whose facts there are."""
    try:
        program = cel.compile(condition)
    except ValueError as error:
        raise PolicyError("policy.condition.syntax", str(error).splitlines()[0]) from error
    reads = _facts_read(condition, scheme, program.variables())
    _try_all(condition, scheme, program, reads)
    return program, reads


def _facts_read(condition: str, scheme: str, variables: list[str]) -> tuple[str, ...]:
    schema, known = SCHEMAS[scheme], roots(scheme)
    reference = re.compile(rf"\b({'|'.join(sorted(known))})\b(?:\s*\.\s*([A-Za-z_]\w*))?")
    named = {f"{root}.{leaf}" if leaf else root for root, leaf in reference.findall(_LITERAL.sub("''", condition))}
    unknown = (named | (set(variables) - known)) - set(schema)
    if unknown:
        raise PolicyError("policy.condition.unknown_fact", f"no such fact: {', '.join(sorted(unknown))}; there are {', '.join(schema)}")
    return tuple(name for name in schema if name in named)


def _try_all(condition: str, scheme: str, program: Any, reads: tuple[str, ...]) -> None:
    """What a condition does not read cannot change it, so only the facts that it reads are varied."""
    ranges = [SCHEMAS[scheme][name] for name in reads]
    if (count := prod(map(len, ranges))) > MAX_ASSIGNMENTS:
        raise PolicyError(
            "policy.facts.too_many",
            f"`{condition}` reads so many facts that {count} cases would have to be tried; at most {MAX_ASSIGNMENTS} are",
        )
    results = {_try(condition, scheme, program, dict(zip(reads, values, strict=True))) for values in product(*ranges)}
    varied = any(len(values) > 1 for values in ranges)
    if len(results) == 1 and (varied or results == {False}):
        raise PolicyError(
            "policy.condition.constant", f"`{condition}` is {str(results.pop()).lower()} whatever the facts; compare with values that occur"
        )


def _try(condition: str, scheme: str, program: Any, values: dict[str, FactValue]) -> bool:
    try:
        result = program.execute({root: {} for root in roots(scheme)} | nested(values))
    except (TypeError, ValueError, LookupError, ArithmeticError, RuntimeError) as error:
        raise PolicyError("policy.condition.type", f"`{condition}` fails where {values}: {str(error).splitlines()[0]}") from error
    if not isinstance(result, bool):
        raise PolicyError("policy.condition.not_bool", f"`{condition}` gives {result!r} where {values}; a condition is true or false")
    return result


def one_of_each(name: str, scheme: str, conditions: Sequence[str]) -> tuple[FactValue, ...]:
    """Of a fact's values, the first of each sort: what no condition ever tells apart comes to the same."""
    first: dict[tuple[object, ...], FactValue] = {}
    for value, *told in zip(SCHEMAS[scheme][name], *(_results(condition, scheme, name) for condition in conditions), strict=True):
        first.setdefault(tuple(told), value)
    return tuple(first.values())


@lru_cache(maxsize=512)
def _results(condition: str, scheme: str, name: str) -> tuple[tuple[bool, ...], ...]:
    """Of each value of the fact: what the condition says for every value of the other facts that it reads."""
    program = cel.compile(condition)
    others = [fact for fact in _facts_read(condition, scheme, program.variables()) if fact != name]
    ranges = [SCHEMAS[scheme][fact] for fact in others]

    def of(value: FactValue) -> Iterator[bool]:
        for values in product(*ranges):
            yield _try(condition, scheme, program, {name: value, **dict(zip(others, values, strict=True))})

    return tuple(tuple(of(value)) for value in SCHEMAS[scheme][name])
