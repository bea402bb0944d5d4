"""The token endpoint: SMART Backend Services with private_key_jwt, and what a token allows.

Source: https://hl7.org/fhir/smart-app-launch/backend-services.html
"""

import base64
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from chartgate.clock import Clock
from chartgate.errors import ConfigError

ALGORITHMS = ["RS384", "ES384"]
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME_S = 300
LEEWAY_S = 10
SCOPE = re.compile(r"system/(\*|[A-Z][A-Za-z]+)\.(c?r?u?d?s?|read|write|\*)")
OLD_SCOPES = {"read": "rs", "write": "cud", "*": "cruds"}


class OAuthRefused(Exception):
    """No token; `code` is the OAuth error."""

    def __init__(self, code: str, text: str, *, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredClient:
    """A client that the hospital knows."""

    client_id: str
    jwks: Mapping[str, Any]
    scope: str = "system/*.cruds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What an access token stands for; `allowed` is letters of cruds by type."""

    client_id: str
    scope: str
    allowed: Mapping[str, str]
    expires_at: datetime


def load_clients(file: Path) -> tuple[RegisteredClient, ...]:
    """Reads {client_id: {"jwks": {…} or "jwks_file": "…", "scope": "…"}}. Raises ConfigError."""
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        return tuple(
            RegisteredClient(
                client_id=client_id,
                jwks=row["jwks"]
                if "jwks" in row
                else json.loads((file.parent / row["jwks_file"]).read_text(encoding="utf-8")),
                scope=row.get("scope", "system/*.cruds"),
            )
            for client_id, row in table.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{file} must be JSON such as {{client_id: {{jwks: {{keys: [...]}}}}}}: {error!r}"
        ) from None


class TokenDesk:
    """Issues opaque tokens to registered clients, and remembers them."""

    def __init__(
        self,
        clients: Iterable[RegisteredClient],
        *,
        clock: Clock,
        token_url: str,
        lifetime_s: float = 300.0,
    ) -> None:
        self.clients = {client.client_id: client for client in clients}
        self.clock = clock
        self.token_url = token_url
        self.lifetime_s = lifetime_s
        self.grants: dict[str, Grant] = {}
        self._assertions: dict[tuple[str, str], datetime] = {}  # (client, jti) until it expires

    @property
    def open_to_all(self) -> bool:
        """Without registered clients nobody needs a token."""
        return not self.clients

    def issue(self, form_body: bytes) -> dict[str, Any]:
        """The token answer for a form. Raises OAuthRefused."""
        form = dict(parse_qsl(form_body.decode("utf-8", "replace")))
        if form.get("grant_type") != "client_credentials":
            raise OAuthRefused("unsupported_grant_type", "grant_type must be client_credentials")
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise OAuthRefused("invalid_request", f"client_assertion_type must be {ASSERTION_TYPE}")
        client = self._authenticated(form.get("client_assertion", ""))
        scope = self._granted(form.get("scope", ""), client)
        self._forget_expired()
        token = secrets.token_urlsafe(24)
        self.grants[token] = Grant(
            client_id=client.client_id,
            scope=scope,
            allowed=allowed_by(scope),
            expires_at=self.clock() + timedelta(seconds=self.lifetime_s),
        )
        return {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": int(self.lifetime_s),
            "scope": scope,
        }

    def grant_of(self, token: str) -> Grant | None:
        """The grant of a token that is known and has not expired."""
        grant = self.grants.get(token)
        if grant is None or grant.expires_at <= self.clock():
            return None
        return grant

    def expire_all(self) -> None:
        """Every token issued so far stops working."""
        self.grants.clear()

    def _authenticated(self, assertion: str) -> RegisteredClient:
        client = self.clients.get(_unverified_issuer(assertion))
        if client is None:
            raise OAuthRefused("invalid_client", "no such client is registered", status=401)
        try:
            keys = KeySet.import_key_set(client.jwks)  # type: ignore[arg-type]
            claims = jwt.decode(assertion, keys, algorithms=ALGORITHMS).claims
        except (JoseError, ValueError, KeyError, TypeError):
            raise OAuthRefused(
                "invalid_client", "the assertion is not signed by a registered key", status=401
            ) from None
        self._check_claims(claims, client)
        return client

    def _check_claims(self, claims: Mapping[str, Any], client: RegisteredClient) -> None:
        now = self.clock().timestamp()
        audience = claims.get("aud")
        expires, jti = claims.get("exp"), claims.get("jti")
        reason = ""
        if claims.get("sub") != client.client_id:
            reason = "iss and sub must be the client id"
        elif self.token_url not in (audience if isinstance(audience, list) else [audience]):
            reason = f"aud must be {self.token_url}"
        elif not isinstance(expires, int | float) or expires <= now - LEEWAY_S:
            reason = "the assertion has expired"
        elif expires > now + ASSERTION_LIFETIME_S + LEEWAY_S:
            reason = "exp is more than five minutes ahead"
        elif not isinstance(jti, str) or not jti:
            reason = "jti is missing"
        elif (client.client_id, jti) in self._assertions:
            reason = "this jti has been used"
        if reason:
            raise OAuthRefused("invalid_client", reason, status=401)
        until = datetime.fromtimestamp(float(str(expires)) + LEEWAY_S, tz=self.clock().tzinfo)
        self._assertions[(client.client_id, str(jti))] = until

    def _granted(self, wanted: str, client: RegisteredClient) -> str:
        if not wanted.strip():
            raise OAuthRefused("invalid_scope", "scope is missing")
        ceiling = allowed_by(client.scope)
        granted = []
        for scope in wanted.split():
            shape = SCOPE.fullmatch(scope)
            if shape is None:
                raise OAuthRefused("invalid_scope", "a scope looks like system/Slot.rs")
            letters = OLD_SCOPES.get(shape[2], shape[2])
            if set(letters) <= set(ceiling.get(shape[1], "") + ceiling.get("*", "")):
                granted.append(scope)
        if not granted:
            raise OAuthRefused("invalid_scope", "the client is registered for none of these")
        return " ".join(granted)

    def _forget_expired(self) -> None:
        now = self.clock()
        self._assertions = {k: until for k, until in self._assertions.items() if until > now}
        self.grants = {t: g for t, g in self.grants.items() if g.expires_at > now}


def allowed_by(scope: str) -> dict[str, str]:
    """{"Slot": "rs"} of "system/Slot.rs"; "*" stands for all types."""
    allowed: dict[str, str] = {}
    for part in scope.split():
        shape = SCOPE.fullmatch(part)
        if shape is not None:
            letters = OLD_SCOPES.get(shape[2], shape[2])
            allowed[shape[1]] = allowed.get(shape[1], "") + letters
    return allowed


def _unverified_issuer(assertion: str) -> str:
    try:
        parts = assertion.split(".")
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        issuer = json.loads(base64.urlsafe_b64decode(padded)).get("iss", "")
    except (IndexError, ValueError, AttributeError):
        return ""
    return issuer if isinstance(issuer, str) else ""
