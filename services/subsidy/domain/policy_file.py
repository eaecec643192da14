"""Reads a policy file (TOML): every mistake that can be found before money depends on it is found here, with its place."""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from hashlib import sha256
from itertools import product
from types import MappingProxyType
from typing import Annotated, Literal, NoReturn

import msgspec
from msgspec import Meta, Struct

from .conditions import compile_condition
from .facts import COUNTING, INCIDENTS, SCHEMAS, TIER_FACTS, FactValue
from .policy import Basis, Ceiling, Citation, Clause, Document, Exhaustion, Golden, Mode, Outcome, Policy, PolicyError, Tier, Uplink
from .said import RESERVED

MAX_BYTES = 256_000  # a county's policy has about 25,000
MAX_DEPTH = 32  # of tables, arrays and dotted keys: what is deeper costs memory by its square before anything can be checked
_TOO_DEEP = re.compile(rf"""(?:[\w"'-]+[ \t]*\.[ \t]*){{{MAX_DEPTH}}}|(?:[\[{{][^\[\]{{}}\n]*){{{MAX_DEPTH}}}""")
MAX_ENTRIES = 1_000

_Text = Annotated[str, Meta(min_length=1, max_length=1_000)]
_Code = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$", max_length=80)]
_Division = Annotated[str, Meta(pattern=r"^[0-9]{12}$")]
_Moment = Annotated[datetime, Meta(tz=True)]
_Fen = Annotated[int, Meta(ge=1, le=1_000_000)]
_Count = Annotated[int, Meta(ge=0, le=10**12)]
_Scheme = Literal["downlink", "uplink"]
_Version = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]


_Several = Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(min_length=1, max_length=MAX_ENTRIES)]


class _Strict(Struct, forbid_unknown_fields=True, kw_only=True):
    pass


class _Words(_Strict):
    zh: _Text
    en: _Text


class _Document(_Strict):
    document: _Text
    title: _Text
    source: _Text | None = None  # its text, beside the policy file


class _Cited(_Strict):
    basis: Basis
    document: _Text | None = None
    section: _Text | None = None
    quote: _Text | None = None
    how: _Words | None = None


class _Clause(_Cited, kw_only=True):
    clause_id: _Code
    scheme: _Scheme
    mode: Mode
    condition: _Text
    reason_code: _Code
    title: _Words


class _When(_Strict):
    level: Literal["village", "township"] | None = None
    filed: bool | None = None
    distance: Literal["near", "far"] | None = None


class _Tier(_Strict):
    rate_id: _Code
    scheme: _Scheme
    when: _When
    amount_fen: _Fen


class _Ceiling(_Cited, kw_only=True):
    scheme: _Scheme
    limit_fen_per_parcel: _Fen


class _Uplink(_Cited, kw_only=True):
    at_most_fen: _Fen
    min_parcels: _Count
    min_sales_fen: _Count
    cap_fen: Annotated[int, Meta(ge=1, le=10**12)]
    registered_before: date
    platforms: _Several
    catalogue: _Several


class _Tables(_Strict):
    distance: dict[_Division, Literal["near", "far"]]


class _Golden(_Strict):
    name: _Text
    facts: dict[str, bool | str | list[str]]
    outcome: Literal["payable", "refused", "held"]
    reason_codes: list[_Code]
    amount_fen: Annotated[int, Meta(ge=0, le=1_000_000)]


class _File(_Strict):
    policy_version: _Version
    county_code: _Division
    valid_from: _Moment
    valid_to: _Moment
    rates_status: Literal["sample", "official"]
    documents: Annotated[list[_Document], Meta(min_length=1, max_length=MAX_ENTRIES)]
    clauses: Annotated[list[_Clause], Meta(min_length=1, max_length=MAX_ENTRIES)]
    tiers: Annotated[list[_Tier], Meta(max_length=MAX_ENTRIES)]
    ceilings: Annotated[list[_Ceiling], Meta(max_length=MAX_ENTRIES)]
    tables: _Tables
    exhaustion: dict[_Scheme, Exhaustion] = {}
    published_on: date | None = None
    not_below: _Version | None = None
    golden: Annotated[list[_Golden], Meta(max_length=MAX_ENTRIES)] = []
    uplink: _Uplink | None = None


_Path = tuple[str | int, ...]


def load(data: bytes) -> Policy:
    """The policy that these bytes are, whole and checked; raises PolicyError at the first mistake."""
    return _Loader(data).policy()


class _Loader:
    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_BYTES:
            raise PolicyError("policy.file.too_large", f"a policy file has at most {MAX_BYTES} bytes")
        self.data = data
        try:
            self.text = data.decode()
            if found := _TOO_DEEP.search(self.text):
                at = self.text.count("\n", 0, found.start()) + 1
                raise PolicyError("policy.file.too_deep", f"nested more than {MAX_DEPTH} deep", line=at)
            raw = tomllib.loads(self.text)
        except RecursionError as error:
            raise PolicyError("policy.file.too_deep", f"nested more than {MAX_DEPTH} deep") from error
        except UnicodeDecodeError as error:
            raise PolicyError("policy.file.encoding", f"not UTF-8 at byte {error.start}") from error
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"line (\d+)", str(error))
            raise PolicyError("policy.file.syntax", str(error), line=int(line[1]) if line else None) from error
        except PolicyError:
            raise
        except ValueError as error:  # a whole number of thousands of digits
            raise PolicyError("policy.file.syntax", str(error)) from error
        self._refuse_floats(raw, ())
        try:
            self.file = msgspec.convert(raw, _File)
        except msgspec.ValidationError as error:
            self._refuse_shape(str(error))

    def policy(self) -> Policy:
        file = self.file
        if file.valid_to <= file.valid_from:
            self._refuse("policy.validity.empty", "valid_to is exclusive and lies after valid_from", ("valid_to",))
        self._refuse_duplicates("documents", [d.document for d in file.documents])
        self._refuse_duplicates("clauses", [c.clause_id for c in file.clauses])
        self._refuse_duplicates("tiers", [t.rate_id for t in file.tiers])
        for code in file.tables.distance:
            if code[:6] != file.county_code[:6]:
                self._refuse("policy.table.foreign", f"{code} is no division of {file.county_code}", ("tables", "distance", code))
        return Policy(
            policy_version=file.policy_version,
            county_code=file.county_code,
            valid_from=file.valid_from,
            valid_to=file.valid_to,
            rates_status=file.rates_status,
            sha256=sha256(self.data).hexdigest(),
            documents=tuple(Document(d.document, d.title, d.source) for d in file.documents),
            clauses=tuple(self._clause(i, c) for i, c in enumerate(file.clauses)),
            tiers=self._tiers(),
            tables=MappingProxyType({"distance": MappingProxyType(file.tables.distance)}),
            ceilings=tuple(
                Ceiling(c.scheme, c.limit_fen_per_parcel, self._citation(c, ("ceilings", i))) for i, c in enumerate(file.ceilings)
            ),
            exhaustion=MappingProxyType(dict(file.exhaustion.items())),
            published_on=file.published_on,
            not_below=file.not_below,
            golden=tuple(self._golden(i, g) for i, g in enumerate(file.golden)),
            uplink=self._uplink(file.uplink) if file.uplink else None,
        )

    def _clause(self, i: int, clause: _Clause) -> Clause:
        citation = self._citation(clause, ("clauses", i))
        if clause.reason_code in RESERVED:
            self._refuse("policy.reason.reserved", f"{clause.reason_code} is a reason of the fold's own", ("clauses", i, "reason_code"))
        try:
            program, reads = compile_condition(clause.condition, clause.scheme)
        except PolicyError as error:
            self._refuse(error.code, error.message, ("clauses", i, "condition"))
        return Clause(
            clause.clause_id,
            clause.scheme,
            clause.mode,
            clause.condition,
            clause.reason_code,
            _words(clause.title),
            citation,
            reads,
            program,
        )

    def _citation(self, cited: _Cited, path: _Path) -> Citation:
        """Nothing unquoted is attributed to a document; what is assumed says so and cites nothing."""
        wanted = {
            Basis.QUOTED: {"document", "section", "quote"},
            Basis.DERIVED: {"document", "how"},
            Basis.ASSUMPTION: {"how"},
        }[cited.basis]
        given = {name for name in ("document", "section", "quote", "how") if getattr(cited, name) is not None}
        if missing := sorted(wanted - given):
            self._refuse("policy.citation.missing", f"basis {cited.basis} needs {', '.join(missing)}", path)
        if cited.basis is Basis.ASSUMPTION and given != wanted:
            self._refuse("policy.citation.assumption", "an assumption cites no document; say what is assumed in `how`", path)
        if cited.document is not None and cited.document not in {d.document for d in self.file.documents}:
            self._refuse("policy.citation.unknown_document", f"{cited.document} is not among the documents", (*path, "document"))
        return Citation(cited.basis, cited.document, cited.section, cited.quote, _words(cited.how) if cited.how else None)

    def _uplink(self, uplink: _Uplink) -> Uplink:
        for name in ("platforms", "catalogue"):
            words = getattr(uplink, name)
            if len(set(words)) < len(words):
                self._refuse("policy.uplink.duplicate", f"{name} names one thing twice", ("uplink", name))
        return Uplink(
            uplink.at_most_fen,
            uplink.min_parcels,
            uplink.min_sales_fen,
            uplink.cap_fen,
            uplink.registered_before,
            tuple(uplink.platforms),
            tuple(uplink.catalogue),
            self._citation(uplink, ("uplink",)),
        )

    def _golden(self, i: int, case: _Golden) -> Golden:
        schema = SCHEMAS["uplink" if case.facts.get("parcel.direction") == "uplink" else "downlink"]
        facts: dict[str, FactValue] = {name: tuple(sorted(v)) if isinstance(v, list) else v for name, v in case.facts.items()}
        for name, value in facts.items():
            if value not in schema.get(name, ()):
                values = f"a list of {', '.join(COUNTING)}" if name in INCIDENTS else f"one of {', '.join(map(str, schema.get(name, ())))}"
                known = f"{name} is {values}" if name in schema else f"there are {', '.join(schema)}"
                self._refuse("policy.golden.fact", f"no such fact: {name} = {value}; {known}", ("golden", i, "facts"))
        return Golden(case.name, MappingProxyType(facts), Outcome(case.outcome), tuple(case.reason_codes), case.amount_fen)

    def _tiers(self) -> tuple[Tier, ...]:
        """No two tiers of a scheme match the same facts, so that nobody has to know their order to know the amount."""
        tiers: list[Tier] = []
        taken: dict[tuple[str, tuple[FactValue, ...]], str] = {}
        for i, tier in enumerate(self.file.tiers):
            when = {name: value for name in TIER_FACTS if (value := getattr(tier.when, name)) is not None}
            matched = [(tier.scheme, values) for values in product(*((when[n],) if n in when else TIER_FACTS[n] for n in TIER_FACTS))]
            earlier = sorted({taken[m] for m in matched if m in taken})
            if earlier:
                whole = all(m in taken for m in matched)
                code, verb = ("policy.tier.unreachable", "can never be reached:") if whole else ("policy.tier.overlap", "overlaps")
                self._refuse(code, f"{tier.rate_id} {verb} {', '.join(earlier)} matches the same facts", ("tiers", i, "when"))
            taken |= dict.fromkeys(matched, tier.rate_id)
            tiers.append(Tier(tier.rate_id, tier.scheme, MappingProxyType(when), tier.amount_fen))
        return tuple(tiers)

    def _refuse_duplicates(self, table: str, names: list[str]) -> None:
        for name, count in Counter(names).items():
            if count > 1:
                second = [i for i, n in enumerate(names) if n == name][1]
                self._refuse(f"policy.{table[:-1]}.duplicate", f"{name} stands {count} times", (table, second))

    def _refuse_floats(self, value: object, path: _Path) -> None:
        if isinstance(value, float):
            self._refuse("policy.amount.float", f"{value} has a decimal point; amounts are whole fen", path)
        if isinstance(value, dict | list):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                self._refuse_floats(item, (*path, key))

    def _refuse_shape(self, message: str) -> NoReturn:
        text, _, place = message.partition(" - at `")
        path: list[str | int] = [int(index) if index else name for name, index in re.findall(r"([A-Za-z_]\w*)|\[(\d+)\]", place)]
        field = re.search(r"field `(\w+)`", text)
        code = "policy.value"
        if field:
            code = "policy.key.unknown" if "unknown" in text else "policy.key.missing"
        if field and code == "policy.key.unknown":
            path.append(field[1])
        self._refuse(code, text, tuple(path))

    def _refuse(self, code: str, message: str, path: _Path) -> NoReturn:
        clause_id = None
        if path[:1] == ("clauses",) and len(path) > 1:
            named = tomllib.loads(self.text)["clauses"][path[1]].get("clause_id")
            clause_id = named if isinstance(named, str) else None
        pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
        raise PolicyError(code, message, pointer=pointer, line=_line_of(self.text, path), clause_id=clause_id)


def _words(words: _Words) -> Mapping[str, str]:
    return MappingProxyType({"zh": words.zh, "en": words.en})


def _line_of(text: str, path: _Path) -> int | None:
    """The line (from 1) of a key, else of its table's header; good enough for the plain layout of our files, None where it is not."""
    if not path:
        return None
    lines = text.splitlines()
    start, keys = 0, path
    if len(path) > 1 and isinstance(path[1], int):
        headers = [i for i, line in enumerate(lines) if re.match(rf"\s*\[\[\s*{path[0]}\s*\]\]", line)]
        if path[1] >= len(headers):
            return None
        start, keys = headers[path[1]] + 1, path[2:]
    elif len(path) > 1:
        headers = [i for i, line in enumerate(lines) if re.match(rf"\s*\[\s*{path[0]}\.{path[1]}\s*\]", line)]
        if not headers:
            return None
        start, keys = headers[0] + 1, path[2:]
    for i in range(start, len(lines)):
        if keys and re.match(rf"\s*\"?{re.escape(str(keys[0]))}\"?\s*=", lines[i]):
            return i + 1
        if lines[i].lstrip().startswith("["):
            break
    return start or None
