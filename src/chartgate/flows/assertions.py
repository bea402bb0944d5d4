"""Client assertions: how an AI client or a service proves who it is, with a key of its own.

Source: https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html and
https://www.rfc-editor.org/rfc/rfc7523
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import JoseError

from chartgate.config import ClientConfig, ServiceConfig
from chartgate.errors import ChartgateError, SourceUnreachable
from chartgate.flows.party_keys import key_of
from chartgate.formats.depth import deeper_than
from chartgate.gate import Gate
from chartgate.store.tokens import Assertion

ALGORITHMS = ("RS384", "ES384")  # the two that SMART names; anything else, above all none, is not
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_BYTES_MAX = 8_000
ASSERTION_LIFETIME = timedelta(minutes=5)
SKEW = timedelta(seconds=60)
JTI_LENGTH_MAX = 200
KID_LENGTH_MAX = 200
STATUSES = {"invalid_client": 401, "temporarily_unavailable": 503}
SAY_UNKNOWN = (
    "the client assertion does not hold: its client, key id, algorithm (RS384 or ES384) "
    "or signature is not one that is registered here"
)


class TokenRefused(ChartgateError):
    """No token. `code` is the error code of RFC 6749, section 5.2; `reason` is for the audit."""

    def __init__(
        self, code: str, message: str, *, reason: str, agent: str = "client:unknown"
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = STATUSES.get(code, 400)
        self.reason = reason
        self.agent = agent


@dataclass(frozen=True, kw_only=True)
class Proven:
    """Who signed, and the assertion, to be used up."""

    party: ClientConfig | ServiceConfig
    assertion: Assertion

    @property
    def agent(self) -> str:
        return agent_of(self.party)


def agent_of(party: ClientConfig | ServiceConfig) -> str:
    """As the audit names it."""
    kind = "client" if isinstance(party, ClientConfig) else "service"
    return f"{kind}:{party.name}"


async def check_assertion(gate: Gate, form: Mapping[str, str], *, now: datetime) -> Proven:
    """The client assertion of a request, proven. Raises TokenRefused."""
    text = form.get("client_assertion", "")
    if form.get("client_assertion_type") != ASSERTION_TYPE or not text:
        raise TokenRefused(
            "invalid_request",
            f"client_assertion, and client_assertion_type {ASSERTION_TYPE}, are needed",
            reason="no-assertion",
        )
    party, claims = await _verified(gate, text)
    if form.get("client_id", party.name) != party.name:
        raise TokenRefused(
            "invalid_client",
            "client_id is not who signed the assertion; leave it out",
            reason="subject",
            agent=agent_of(party),
        )
    expires_at = _check_claims(party, claims, audience=gate.config.web.token_url, now=now)
    holder = party.name if isinstance(party, ClientConfig) else agent_of(party)
    return Proven(
        party=party,
        assertion=Assertion(client=holder, jti=claims["jti"], expires_at=expires_at + SKEW),
    )


async def _verified(gate: Gate, text: str) -> tuple[ClientConfig | ServiceConfig, dict[str, Any]]:
    """The registered party and the claims that it signed. Raises TokenRefused; until the
    signature holds, the same for every cause."""
    unknown = TokenRefused("invalid_client", SAY_UNKNOWN, reason="assertion")
    parts = text.split(".")
    if len(text) > ASSERTION_BYTES_MAX or len(parts) != 3:
        raise unknown
    header, claims = _decoded(parts[0]), _decoded(parts[1])
    # `crit` names extensions that must be understood, and we understand none.
    if header is None or claims is None or "crit" in header:
        raise unknown
    algorithm, kid, name = header.get("alg"), header.get("kid"), claims.get("iss")
    if algorithm not in ALGORITHMS or not isinstance(kid, str) or len(kid) > KID_LENGTH_MAX:
        raise unknown
    party = _registered(gate, name)
    if party is None:
        raise unknown
    try:
        key = await key_of(gate, party, kid=kid, algorithm=algorithm)
        if key is None:
            raise unknown
        return party, jwt.decode(text, key, algorithms=[algorithm]).claims
    except SourceUnreachable as error:
        raise TokenRefused("temporarily_unavailable", str(error), reason="keys") from error
    except (JoseError, ValueError):
        raise unknown from None


def _registered(gate: Gate, name: object) -> ClientConfig | ServiceConfig | None:
    if not isinstance(name, str):
        return None
    return gate.config.clients.get(name) or gate.config.services.get(name)


def _decoded(part: str) -> dict[str, Any] | None:
    """A JSON object out of base64url, or None. Depth first: this is before authentication."""
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        value = None if deeper_than(raw, 8) else orjson.loads(raw)
    except (binascii.Error, orjson.JSONDecodeError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _check_claims(
    party: ClientConfig | ServiceConfig,
    claims: Mapping[str, Any],
    *,
    audience: str,
    now: datetime,
) -> datetime:
    """When the assertion expires. Raises TokenRefused; the sender has proven who it is, so it
    may learn what is wrong."""

    def refused(message: str, reason: str) -> TokenRefused:
        return TokenRefused("invalid_client", message, reason=reason, agent=agent_of(party))

    if claims.get("sub") != party.name:
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
