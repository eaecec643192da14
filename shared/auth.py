"""Tokens and roles. EdDSA JWTs; services hold public keys only; one table says what a role may do."""

import asyncio
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from shared.problems import Problem, unavailable

AUDIENCE = "tongcun"
ISSUER = "tongcun-local"
CLAIMS = ("brand", "operator", "merchant", "township", "feed")  # a token carries at most one: whose rows it may see
MAX_TOKEN_BYTES = 4096
MAX_VERIFIED = 1024  # tokens whose signature need not be checked again: a sender shows the same one with every push

READS = frozenset({
    "receipts:read", "feeds:read", "quarantine:read", "completeness:read", "log:read", "registry:read", "parcels:read", "payouts:read",
    "summary:read", "policies:read", "holds:read", "sites:read", "periods:read", "budgets:read", "declarations:read", "incidents:read",
    "inspections:read", "documents:read",
})  # fmt: skip
_COUNTY = READS - {"log:read", "receipts:read"}
_PUBLIC = frozenset({"registry:read", "summary:read", "policies:read"})
_DOCUMENTS = frozenset({"documents:read", "documents:write", "documents:identity"})  # papers, those of a person included

# role -> scopes: the one table. An operation that declares no scope does not exist (a test walks the OpenAPI).
ROLES: Mapping[str, frozenset[str]] = {
    "brand": _PUBLIC | {"scans:write", "receipts:read", "completeness:read", "quarantine:read", "parcels:read"},
    "operator": _PUBLIC
    | {"stations:write", "filings:submit", "parcels:read", "payouts:read", "holds:read", "sites:read", "incidents:read"}
    | {"inspections:read", "documents:write"},
    "merchant": _PUBLIC | {"parcels:read", "payouts:read", "merchants:write", "declarations:read", "declarations:write"},
    "township": _PUBLIC | {"payouts:read", "holds:read", "sites:read", "incidents:read", "inspections:read"},
    "postal": _PUBLIC | {"filings:decide", "incidents:read", "incidents:write", "inspections:read"} | _DOCUMENTS,
    "reviewer": _COUNTY | {"holds:decide", "merchants:review", "inspections:write", "inspections:sign", "documents:write"},
    "coordinator": _COUNTY
    | {"stations:write", "operators:write", "filings:submit", "filings:decide", "merchants:write", "incidents:write", "targets:write"}
    | {"divisions:write"}
    | {"inspections:write", "inspections:sign"}
    | _DOCUMENTS,
    "finance": _PUBLIC
    | {"parcels:read", "payouts:read", "holds:read", "periods:read", "periods:close", "budgets:read", "budgets:write", "declarations:read"},
    "auditor": READS,
    "dashboard": _PUBLIC | {"payouts:read", "sites:read", "completeness:read"},
    "admin": READS
    | {"feeds:write", "quarantine:work", "log:admin"}
    | {"stations:write", "operators:write", "merchants:write", "filings:submit", "filings:decide", "incidents:write", "targets:write"}
    | {"divisions:write"}
    | {"inspections:write"}
    | _DOCUMENTS,
    "service": frozenset({"log:report"}),
}


@dataclass(frozen=True)
class Principal:
    """Who asks. `claim_kind`/`claim`: the tenant that the token is limited to, or None."""

    subject: str
    roles: frozenset[str]
    scopes: frozenset[str]
    claim_kind: str | None = None
    claim: str | None = None

    def tenant(self, kind: str) -> str | None:
        """The tenant of that kind, e.g. `operator`; None where the token is not limited to one."""
        return self.claim if self.claim_kind == kind else None

    @property
    def masked(self) -> bool:
        """A token with no role but `dashboard` sees waybill numbers masked."""
        return self.roles == {"dashboard"}


class BadToken(Exception):
    """The reason is for the log's counter, never for the caller: all bad tokens get one answer."""


class Verifier:
    """Verifies tokens of one issuer against its public key set: a file, or the URL of an OIDC issuer."""

    def __init__(self, jwks: str, issuer: str = ISSUER) -> None:
        self._issuer = issuer
        self._keys: dict[str, jwt.PyJWK] = {}
        self._verified: dict[str, tuple[int, Principal]] = {}  # token -> (exp, whose it is)
        self._client: jwt.PyJWKClient | None = None
        if jwks.startswith("https://"):
            self._client = jwt.PyJWKClient(jwks, timeout=5)
        else:
            try:
                keys = jwt.PyJWKSet.from_dict(json.loads(Path(jwks).read_text(encoding="utf-8"))).keys
            except (OSError, ValueError, jwt.PyJWTError) as e:
                raise BadToken(
                    f"the key set {jwks} cannot be read ({e.__class__.__name__}): TONGCUN_JWKS names a JWKS file or an https URL"
                ) from None
            self._keys = {key.key_id or "": key for key in keys}

    async def authenticate(self, token: str) -> Principal:
        """As `verify`, but keys that have to be fetched are fetched beside the event loop."""
        if self._client and token not in self._verified:
            return await asyncio.to_thread(self.verify, token)
        return self.verify(token)

    def verify(self, token: str) -> Principal:
        """Raises BadToken, or Problem 503 where no keys can be had. A token never chooses its algorithm: only EdDSA is taken."""
        known = self._verified.get(token)
        if known and time.time() < known[0]:
            return known[1]
        if len(token) > MAX_TOKEN_BYTES:
            raise BadToken("too long")
        try:
            key = (
                self._client.get_signing_key_from_jwt(token)
                if self._client
                else self._keys[jwt.get_unverified_header(token).get("kid", "")]
            )
            options: Any = {"require": ["exp", "sub", "iss"]}
            payload = jwt.decode(token, key, algorithms=["EdDSA"], audience=AUDIENCE, issuer=self._issuer, options=options)
        except jwt.PyJWKClientConnectionError:
            raise unavailable(
                "issuer.unavailable", "令牌签发方暂时无法访问，请稍后重试。", "The issuer's keys cannot be had: retry later."
            ) from None
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as e:
            raise BadToken(e.__class__.__name__) from None
        principal = _principal(payload)
        if len(self._verified) >= MAX_VERIFIED:
            self._verified.clear()
        self._verified[token] = int(payload["exp"]), principal
        return principal


# What a token of these roles must be limited to; without a claim it would see everybody's rows.
TENANT_ROLES = {"brand": ("brand", "feed"), "operator": ("operator",), "merchant": ("merchant",), "township": ("township",)}


def lacks_tenant(roles: Collection[str], claim_kind: str | None) -> bool:
    """Whether a token of these roles names no tenant although it must."""
    return bool(roles) and all(r in TENANT_ROLES for r in roles) and not any(claim_kind in TENANT_ROLES[r] for r in roles)


def _principal(payload: dict[str, Any]) -> Principal:
    roles = payload.get("roles")
    if not isinstance(roles, list) or not all(isinstance(r, str) and r in ROLES for r in roles):
        raise BadToken("unknown role")
    claims = [(kind, payload[kind]) for kind in CLAIMS if kind in payload]
    if len(claims) > 1 or not all(isinstance(value, str) and value for _, value in claims):
        raise BadToken("more than one tenant")
    kind, claim = claims[0] if claims else (None, None)
    if lacks_tenant(roles, kind):
        raise BadToken("no tenant")
    scopes = frozenset[str]().union(*(ROLES[r] for r in roles))
    return Principal(str(payload["sub"]), frozenset(roles), scopes, kind, claim)


_bearer = HTTPBearer(auto_error=False, description="EdDSA JWT; `tongcun token --role …` issues one.")


async def _authorise(request: Request, scopes: SecurityScopes, given: HTTPAuthorizationCredentials | None = Security(_bearer)) -> Principal:
    return await _check(request, scopes.scopes, given)


async def authorised(request: Request, scopes: Collection[str]) -> Principal:
    """What `requires` gives, for whoever is not called by FastAPI."""
    return await _check(request, scopes, await _bearer(request))


async def _check(request: Request, scopes: Collection[str], given: HTTPAuthorizationCredentials | None) -> Principal:
    if given is None:
        raise Problem(
            401,
            "token.missing",
            "请求没有令牌，请用 tongcun token 领取。",
            "No token: `tongcun token` issues one.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    verifier: Verifier = request.app.state.verifier
    try:
        principal = await verifier.authenticate(given.credentials)
    except BadToken:
        raise Problem(
            401,
            "token.invalid",
            "令牌无效或已过期，请重新领取。",
            "The token is not valid, or has expired: get a new one.",
            headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
        ) from None
    if missing := [s for s in scopes if s not in principal.scopes]:
        raise lacks_scope(missing[0])
    return principal


def lacks_scope(scope: str) -> Problem:
    """403, naming the roles that carry the scope."""
    roles = ", ".join(role for role, scopes in ROLES.items() if scope in scopes)
    return Problem(
        403,
        "scope.missing",
        f"此令牌没有权限 {scope}；有此权限的角色：{roles}，请换领令牌。",
        f"This token lacks the scope {scope}; a token of one of these roles has it: {roles}.",
    )


def requires(*scopes: str) -> Any:
    """A dependency: the caller's Principal, if its roles carry all of `scopes`. The OpenAPI says which they are."""
    return Security(_authorise, scopes=list(scopes))


def requires_one(always: str, *scopes: str) -> Any:
    """A dependency: the caller's Principal, if its roles carry `always` and one of `scopes`; which of these, the request's body says."""

    async def check(principal: Annotated[Principal, requires(always)]) -> Principal:
        if principal.scopes.isdisjoint(scopes):
            raise lacks_scope(scopes[0])
        return principal

    return Depends(check)


def generate_keys() -> tuple[str, str]:
    """-> (private key as PEM, for the issuer alone; public key set as JSON, for every service)."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    public = jwt.algorithms.OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return pem, json.dumps({"keys": [public | {"kid": "local-1", "alg": "EdDSA", "use": "sig"}]})


def issue(private_pem: str, *, subject: str, roles: list[str], ttl_s: int, claim: tuple[str, str] | None = None) -> str:
    """A token of the local issuer."""
    payload: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "roles": roles,
        "iat": int(time.time()),
        "exp": int(time.time()) + ttl_s,
    }
    if claim:
        payload[claim[0]] = claim[1]
    return jwt.encode(payload, private_pem, algorithm="EdDSA", headers={"kid": "local-1"})
