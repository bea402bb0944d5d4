"""Access tokens for AI clients: SMART Backend Services, where a client signs an assertion with
its own key and gets a short-lived opaque token for one charter.

Source: https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html
"""

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from chartgate.errors import ChartgateError, ConfigError, NotFound, Unauthenticated
from chartgate.formats.depth import deeper_than
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.charter import Charter
from chartgate.model.principal import Client
from chartgate.store.caches import KnownToken
from chartgate.store.database import promptly
from chartgate.store.tokens import Assertion, TokenStore

ALGORITHMS = ("RS384", "ES384")  # the two that SMART names; anything else, above all none, is not
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_BYTES_MAX = 8_000
ASSERTION_LIFETIME = timedelta(minutes=5)
SKEW = timedelta(seconds=60)
JTI_LENGTH_MAX = 200
RSA_BITS_MIN = 2048
TOKEN_PREFIX = "cg_"  # so that scanners for leaked secrets can know one
TOKEN = re.compile(r"cg_[A-Za-z0-9_\-]{43}")  # 256 bits
# How long a token is taken as known before the store is asked again.
KNOWN_FOR = timedelta(seconds=1)
CHARTER_SCOPE = "charter:"
SCOPE = re.compile(r"system/(\*|[A-Z][A-Za-z]{1,40})\.(\*|read|c?r?u?d?s?)")
SCOPES_LENGTH_MAX = 4_000
SAY_UNKNOWN = (
    "the client assertion does not hold: its client, key id, algorithm (RS384 or ES384) "
    "or signature is not one that is registered here"
)


class TokenRefused(ChartgateError):
    """No token. `code` is the error code of RFC 6749, section 5.2; `reason` is for the audit."""

    def __init__(self, code: str, message: str, *, reason: str, client: str = "unknown") -> None:
        super().__init__(message)
        self.code = code
        self.status = 401 if code == "invalid_client" else 400
        self.reason = reason
        self.client = client


@dataclass(frozen=True, kw_only=True)
class Granted:
    """What a token would allow."""

    charter: Charter
    scopes: tuple[str, ...]


async def issue(gate: Gate, form: Mapping[str, str]) -> dict[str, Any]:
    """The answer of the token endpoint to a client_credentials request. Raises TokenRefused,
    after that was audited, or Unavailable."""
    now = gate.clock()
    try:
        assertion = check_assertion(gate, form, now=now)
        granted = grant(gate, assertion.client, form.get("scope", ""))
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        await _store(gate, token, assertion, granted, now=now)
    except TokenRefused as refused:
        await gate.audit.record(
            AuditEvent(
                recorded=now,
                action="token.issue",
                agent=f"client:{refused.client}",
                outcome=Outcome.DENIED,
                reason=refused.reason,
            )
        )
        raise
    return {
        "access_token": token,
        "token_type": "bearer",
        "expires_in": int(gate.config.web.token_lifetime_s),
        "scope": " ".join((*granted.scopes, CHARTER_SCOPE + granted.charter.name)),
    }


async def client_of(gate: Gate, token: str) -> Client:
    """Whose token it is. Raises Unauthenticated, always with the same sentence."""
    now = gate.clock()
    hashed = hash_token(token)
    known = gate.caches.tokens.get(hashed)
    if known is None or known.until <= now:
        gate.caches.tokens.drop(hashed)
        if not TOKEN.fullmatch(token):
            raise Unauthenticated(SAY_NO_TOKEN)
        async with promptly():
            found = await TokenStore(gate.database).find(hashed, now=now)
        if found is None:
            raise Unauthenticated(SAY_NO_TOKEN)
        known = KnownToken(client=found[0], until=min(found[1], now + KNOWN_FOR))
        gate.caches.tokens.put(hashed, known)
    if not _is_still_party(gate, known.client):
        raise Unauthenticated(SAY_NO_TOKEN)
    return known.client


SAY_NO_TOKEN = "this needs a valid access token, sent as `Authorization: Bearer …`"


def hash_token(token: str) -> bytes:
    """What the store keeps of a token: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def check_assertion(gate: Gate, form: Mapping[str, str], *, now: datetime) -> Assertion:
    """The client assertion of the request, proven. Raises TokenRefused."""
    if form.get("grant_type") != "client_credentials":
        raise TokenRefused(
            "unsupported_grant_type", "grant_type must be client_credentials", reason="grant-type"
        )
    text = form.get("client_assertion", "")
    if form.get("client_assertion_type") != ASSERTION_TYPE or not text:
        raise TokenRefused(
            "invalid_request",
            f"client_assertion, and client_assertion_type {ASSERTION_TYPE}, are needed",
            reason="no-assertion",
        )
    client, claims = _verify(gate, text)
    expires_at = _check_claims(client, claims, audience=gate.config.web.token_url, now=now)
    return Assertion(client=client, jti=claims["jti"], expires_at=expires_at + SKEW)


def grant(gate: Gate, client: str, asked: str) -> Granted:
    """The charter and scopes for a request: what was asked, cut down to what the charter allows.
    No scope asked means all of the charter's. Raises TokenRefused."""
    if len(asked) > SCOPES_LENGTH_MAX:
        raise TokenRefused(
            "invalid_scope", "the list of scopes is too long", reason="scope", client=client
        )
    words = asked.split()
    charter = _charter_asked(gate, client, [w for w in words if w.startswith(CHARTER_SCOPE)])
    scopes = [w for w in words if not w.startswith(CHARTER_SCOPE)]
    allowed = scopes_of(charter)
    granted = tuple(
        scope
        for resource_type, letters in allowed.items()
        if (scope := _cut(resource_type, letters, scopes))
    )
    if not granted and (scopes or allowed):
        raise TokenRefused(
            "invalid_scope",
            f"charter {charter.name} allows none of these scopes; it allows "
            + " ".join(f"system/{t}.{letters}" for t, letters in allowed.items()),
            reason="scope",
            client=client,
        )
    return Granted(charter=charter, scopes=granted)


def scopes_of(charter: Charter) -> dict[str, str]:
    """{"Slot": "rs", "Patient": "r"}: derived from what the charter reads and searches."""
    return {t: "rs" if rule.search else "r" for t, rule in sorted(charter.reads.items())}


def _cut(resource_type: str, letters: str, scopes: list[str]) -> str | None:
    """ "system/Slot.r" if that is what remains of the asked scopes for this type."""
    if not scopes:
        return f"system/{resource_type}.{letters}"
    asked: set[str] = set()
    for scope in scopes:
        match = SCOPE.fullmatch(scope)
        if match and match[1] in ("*", resource_type):
            asked.update("rs" if match[2] in ("*", "read") else match[2])
    kept = "".join(letter for letter in letters if letter in asked)
    return f"system/{resource_type}.{kept}" if kept else None


def _charter_asked(gate: Gate, client: str, named: list[str]) -> Charter:
    charters = gate.charters.of_client(client)
    if named:
        wanted = {word.removeprefix(CHARTER_SCOPE) for word in named}
        charters = tuple(c for c in charters if c.name in wanted) if len(wanted) == 1 else ()
    if len(charters) == 1:
        return charters[0]
    names = " ".join(CHARTER_SCOPE + c.name for c in gate.charters.of_client(client))
    raise TokenRefused(
        "invalid_scope",
        f"a token is for one charter; ask for exactly one of: {names or '(no charter lists you)'}",
        reason="charter",
        client=client,
    )


async def _store(
    gate: Gate, token: str, assertion: Assertion, granted: Granted, *, now: datetime
) -> None:
    """Uses up the assertion. Raises TokenRefused if it was used before."""
    charter = granted.charter
    client = Client(id=assertion.client, charter=charter.name, scopes=granted.scopes)
    issued = AuditEvent(
        recorded=now,
        action="token.issue",
        agent=client.agent,
        charter=charter.name,
        charter_digest=charter.digest,
        purpose=charter.purpose_of_use,
        details=(("scope", " ".join(granted.scopes)),),
    )
    try:
        await TokenStore(gate.database).issue(
            hash_token(token),
            client,
            expires_at=now + timedelta(seconds=gate.config.web.token_lifetime_s),
            assertion=assertion,
            audit=issued,
        )
    except Unauthenticated as replay:
        raise TokenRefused(
            "invalid_client", str(replay), reason="replay", client=assertion.client
        ) from None


def _verify(gate: Gate, text: str) -> tuple[str, dict[str, Any]]:
    """The registered client and the claims that it signed. Raises TokenRefused; until the
    signature holds, the same for every cause."""
    unknown = TokenRefused("invalid_client", SAY_UNKNOWN, reason="assertion")
    parts = text.split(".")
    if len(text) > ASSERTION_BYTES_MAX or len(parts) != 3:
        raise unknown
    header, claims = _decoded(parts[0]), _decoded(parts[1])
    if header is None or claims is None or header.get("alg") not in ALGORITHMS:
        raise unknown
    client = claims.get("iss")
    registered = gate.config.clients.get(client) if isinstance(client, str) else None
    if registered is None:
        raise unknown
    try:
        key = _load_keys(gate, registered.jwks_file).get_by_kid(header.get("kid"))
        if not isinstance(key, RSAKey | ECKey) or _is_weak(key):
            raise unknown
        token = jwt.decode(text, key, algorithms=list(ALGORITHMS))
    except (JoseError, ValueError):
        raise unknown from None
    return registered.name, token.claims


def _decoded(part: str) -> dict[str, Any] | None:
    """A JSON object out of base64url, or None. Depth first: this is before authentication."""
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        value = None if deeper_than(raw, 8) else orjson.loads(raw)
    except (binascii.Error, orjson.JSONDecodeError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _load_keys(gate: Gate, jwks_file: str) -> KeySet:
    """The client's registered keys, read each time: a key that is removed is gone at once."""
    path = gate.config.path(jwks_file)
    try:
        return KeySet.import_key_set(orjson.loads(path.read_bytes()))
    except (OSError, KeyError, TypeError, orjson.JSONDecodeError, JoseError) as error:
        raise ConfigError(
            "the keys of this client cannot be read; tell the operator",
            operator_detail=f"{path}: {type(error).__name__}",
        ) from error


def _is_weak(key: RSAKey | ECKey) -> bool:
    return isinstance(key, RSAKey) and key.public_key.key_size < RSA_BITS_MIN


def _check_claims(
    client: str, claims: Mapping[str, Any], *, audience: str, now: datetime
) -> datetime:
    """When the assertion expires. Raises TokenRefused; the sender has proven who it is, so it
    may learn what is wrong."""

    def refused(message: str, reason: str) -> TokenRefused:
        return TokenRefused("invalid_client", message, reason=reason, client=client)

    if claims.get("sub") != client:
        raise refused("iss and sub must both be the client id", "subject")
    if claims.get("aud") not in (audience, [audience]):
        raise refused(f"aud must be {audience}", "audience")
    expires_at = _instant(claims.get("exp"))
    if expires_at is None or expires_at + SKEW <= now:
        raise refused("the assertion has expired, or has no exp; sign a new one", "expired")
    if expires_at > now + ASSERTION_LIFETIME + SKEW:
        raise refused("exp must be at most 300 seconds ahead", "lifetime")
    for name in ("nbf", "iat"):
        if name in claims:
            instant = _instant(claims[name])
            if instant is None or instant > now + SKEW:
                raise refused(f"{name} lies in the future; check your clock", "clock")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= JTI_LENGTH_MAX or not jti.isprintable():
        raise refused(f"jti must be a text of 1 to {JTI_LENGTH_MAX} characters", "jti")
    return expires_at


def _instant(value: Any) -> datetime | None:
    """A NumericDate of RFC 7519."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _is_still_party(gate: Gate, client: Client) -> bool:
    """A client that was taken out of the config or its charter is out at once."""
    try:
        return client.id in gate.charters.get(client.charter).clients and (
            client.id in gate.config.clients
        )
    except NotFound:
        return False
