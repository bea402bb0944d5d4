"""ID tokens: what a provider signs about who just signed in there, checked claim by claim.

Only asymmetric algorithms that are named here count, and only keys that the provider publishes
where its own metadata says: nothing that a token's header brings along is ever used.
Source: https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
"""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from chartgate.formats.depth import deeper_than

ALGORITHMS = ("RS256", "ES256", "PS256")  # never none, never one with a shared secret
TOKEN_BYTES_MAX = 32_000
DEPTH_MAX = 12
KEYS_MAX = 50
RSA_BITS_MIN = 2048
SKEW = timedelta(seconds=60)
AGE_MAX = timedelta(minutes=10)  # it was made for this very sign-in
SUBJECT_MAX = 255  # characters; OpenID Connect Core, section 2

Key = RSAKey | ECKey


class TokenFlaw(Exception):
    """The token does not hold. The code says why, for the audit; it quotes nothing."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the token of one sign-in must say."""

    issuer: str
    client_id: str
    nonce: str


@dataclass(frozen=True, kw_only=True)
class PublishedKey:
    """One signing key of a provider."""

    kid: str | None
    algorithm: str | None  # the only one that it is for, where it says so
    key: Key


def parse_keys(document: Any, *, curve: str = "P-256") -> tuple[PublishedKey, ...]:
    """The keys of a JWK set that can be used: RSA, and elliptic on that curve; others are passed
    over. Empty: none can."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return ()
    found = (_parse_key(entry, curve) for entry in entries[:KEYS_MAX] if isinstance(entry, dict))
    return tuple(key for key in found if key is not None)


def kid_of(token: str) -> str | None:
    """The key id that the header names. Raises TokenFlaw for what is no token of ours to check."""
    header = _header(token)
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise TokenFlaw("key")
    return kid


def verified_claims(
    token: str, keys: Sequence[PublishedKey], expected: Expected, *, now: datetime
) -> dict[str, Any]:
    """What the provider says of who signed in. Raises TokenFlaw."""
    algorithm = str(_header(token)["alg"])
    key = _key_for(keys, kid_of(token), algorithm)
    try:
        claims = jwt.decode(token, key, algorithms=[algorithm]).claims
    except (JoseError, ValueError, TypeError):
        raise TokenFlaw("signature") from None
    _check_parties(claims, expected)
    _check_times(claims, now=now)
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(
        nonce.encode("utf-8", "surrogatepass"), expected.nonce.encode()
    ):
        raise TokenFlaw("nonce")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_MAX:
        raise TokenFlaw("subject")
    if not subject.isascii() or not subject.isprintable():
        raise TokenFlaw("subject")
    return claims


def has_second_factor(claims: Mapping[str, Any], *, amr: Sequence[str], acr: Sequence[str]) -> bool:
    """Whether one of the values that count stands in the claim `amr` or `acr`."""
    methods = claims.get("amr")
    used = {m for m in methods if isinstance(m, str)} if isinstance(methods, list) else set()
    level = claims.get("acr")
    return bool(used & set(amr)) or (isinstance(level, str) and level in acr)


def claim_texts(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """The texts of a claim, which may be one text or a list. A claim of exactly that name comes
    first; else the dots of its name lead inwards."""
    value: Any = claims.get(path)
    if value is None:
        value = claims
        for step in path.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return (value,)
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


def _parse_key(entry: Mapping[str, Any], curve: str) -> PublishedKey | None:
    kinds: dict[str, type[RSAKey | ECKey]] = {"RSA": RSAKey, "EC": ECKey}
    kind = kinds.get(str(entry.get("kty")))
    if kind is None or entry.get("use", "sig") != "sig" or _is_weak(entry):
        return None
    try:
        key = kind.import_key({k: v for k, v in entry.items() if k != "key_ops"})
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if isinstance(key, ECKey) and key.curve_name != curve:
        return None
    # A modulus can be written with zeros before it, which its length does not tell.
    if isinstance(key, RSAKey) and key.public_key.key_size < RSA_BITS_MIN:
        return None
    kid, algorithm = entry.get("kid"), entry.get("alg")
    return PublishedKey(
        kid=kid if isinstance(kid, str) else None,
        algorithm=algorithm if isinstance(algorithm, str) else None,
        key=key,
    )


def _is_weak(entry: Mapping[str, Any]) -> bool:
    """By the length of an RSA modulus, before anything is made of it."""
    modulus = entry.get("n", "")
    return entry.get("kty") == "RSA" and (
        not isinstance(modulus, str) or len(modulus.rstrip("=")) * 6 < RSA_BITS_MIN
    )


def _key_for(keys: Sequence[PublishedKey], kid: str | None, algorithm: str) -> Key:
    """The key of that id; a header may leave it out only where there is a single one."""
    kind = ECKey if algorithm.startswith("ES") else RSAKey
    fitting = [
        key
        for key in keys
        if isinstance(key.key, kind)
        and key.algorithm in (None, algorithm)
        and (kid is None or key.kid == kid)
    ]
    if len(fitting) != 1:
        raise TokenFlaw("key")
    return fitting[0].key


def _header(token: str) -> dict[str, Any]:
    parts = token.split(".")
    if len(token) > TOKEN_BYTES_MAX or len(parts) != 3:
        raise TokenFlaw("form")
    header = _decoded(parts[0])
    if header is None or _decoded(parts[1]) is None:
        raise TokenFlaw("form")
    if header.get("alg") not in ALGORITHMS:
        raise TokenFlaw("algorithm")
    if "crit" in header:
        raise TokenFlaw("critical")
    return header


def _decoded(part: str) -> dict[str, Any] | None:
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        value = None if deeper_than(raw, DEPTH_MAX) else orjson.loads(raw)
    except (binascii.Error, orjson.JSONDecodeError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _check_parties(claims: Mapping[str, Any], expected: Expected) -> None:
    """We trust no audience beside ourselves, so a token that is for others too is refused."""
    if claims.get("iss") != expected.issuer:
        raise TokenFlaw("issuer")
    if claims.get("aud") not in (expected.client_id, [expected.client_id]):
        raise TokenFlaw("audience")
    if claims.get("azp", expected.client_id) != expected.client_id:
        raise TokenFlaw("authorized-party")


def _check_times(claims: Mapping[str, Any], *, now: datetime) -> None:
    expires, issued = _seconds(claims.get("exp")), _seconds(claims.get("iat"))
    at, skew = now.timestamp(), SKEW.total_seconds()
    if expires is None or expires + skew <= at:
        raise TokenFlaw("expired")
    if issued is None or issued > at + skew:
        raise TokenFlaw("issued-at")
    if issued < at - AGE_MAX.total_seconds() - skew:
        raise TokenFlaw("too-old")
    if "nbf" in claims:
        begins = _seconds(claims["nbf"])
        if begins is None or begins > at + skew:
            raise TokenFlaw("not-before")


def _seconds(value: Any) -> float | None:
    """A NumericDate of RFC 7519; NaN and infinities are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -1e12 < value < 1e12 else None
