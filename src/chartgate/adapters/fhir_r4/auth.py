"""SMART Backend Services, as a client: a signed assertion for a short-lived access token.

Source: https://hl7.org/fhir/smart-app-launch/backend-services.html and
https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html
"""

import asyncio
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import aiohttp
import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from chartgate.adapters.egress import read_capped
from chartgate.adapters.fhir_r4.options import FhirOptions
from chartgate.errors import ConfigError, SourceUnreachable, Throttled
from chartgate.formats.web_address import check_url, origin_of

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME_S = 240  # the limit is five minutes; the rest is for clocks that differ
LIFETIME_DEFAULT_S = 300.0  # if the answer has no expires_in
RENEW_BEFORE_S = 60.0  # or a fifth of the lifetime, if that is less
REFUSAL_HOLD_S = 5.0  # a refused credential is not shown again sooner than that
ANSWER_BYTES_MAX = 64 * 1024


class BackendServices:
    """The access token of one connection: fetched once for all who wait, renewed early."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        options: FhirOptions,
        *,
        name: str,
        key: RSAKey | ECKey,
        scope: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._session = session
        self._options = options
        self._name = name
        self._key = key
        self._scope = scope
        self._clock = clock
        self._endpoint = options.token_url
        self._token = ""
        self._expires_at = 0.0
        self._renew_at = 0.0
        self._refused_until = 0.0
        self._refusal = ""
        self._single = asyncio.Lock()

    async def token(self) -> str:
        """A token that still holds. Raises SourceUnreachable, Throttled."""
        now = self._clock().timestamp()
        if now < self._renew_at:
            return self._token
        if now < self._expires_at and self._single.locked():
            return self._token  # somebody is renewing it already
        async with self._single:
            now = self._clock().timestamp()
            if now < self._renew_at:
                return self._token
            try:
                await self._renew(now)
            except (SourceUnreachable, Throttled):
                if now >= self._expires_at:
                    raise
            return self._token

    def forget(self, token: str) -> None:
        """The system answered 401 to `token`; the next request needs another."""
        if token == self._token:
            self._expires_at = self._renew_at = 0.0

    async def _renew(self, now: float) -> None:
        if now < self._refused_until:
            raise self._refused(self._refusal)
        endpoint = self._endpoint or await self._discover()
        form = {
            "grant_type": "client_credentials",
            "scope": self._scope,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._assertion(endpoint, int(now)),
        }
        status, body = await self._ask("POST", endpoint, form)
        if status == 429:
            raise Throttled(f"the token endpoint of {self._name} says to slow down")
        if status >= 500:
            raise self._silent(f"HTTP {status}")
        if status != 200:
            self._refused_until = now + REFUSAL_HOLD_S
            self._refusal = f"HTTP {status} {_error_code(body)}"
            raise self._refused(self._refusal)
        self._take(body, now)

    def _take(self, body: bytes, now: float) -> None:
        try:
            answer = orjson.loads(body)
            token, lifetime_s = answer["access_token"], answer.get("expires_in")
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise self._silent("200 without an access_token") from None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise self._silent("200 with an unusable access_token")
        if isinstance(lifetime_s, bool) or not isinstance(lifetime_s, int | float):
            lifetime_s = LIFETIME_DEFAULT_S
        self._token = token
        self._expires_at = now + lifetime_s
        self._renew_at = self._expires_at - min(RENEW_BEFORE_S, lifetime_s / 5)

    def _assertion(self, endpoint: str, now: int) -> str:
        algorithm = self._options.key_alg
        header = {"alg": algorithm, "typ": "JWT", "kid": self._options.key_id or self._key.kid}
        claims = {
            "iss": self._options.client_id,
            "sub": self._options.client_id,
            "aud": endpoint,
            "iat": now,
            "exp": now + ASSERTION_LIFETIME_S,
            "jti": secrets.token_urlsafe(24),
        }
        return jwt.encode(header, claims, self._key, algorithms=[algorithm])

    async def _discover(self) -> str:
        status, body = await self._ask(
            "GET", f"{self._options.url}/.well-known/smart-configuration", None
        )
        try:
            endpoint = orjson.loads(body)["token_endpoint"] if status == 200 else ""
        except (orjson.JSONDecodeError, KeyError, TypeError):
            endpoint = ""
        if not isinstance(endpoint, str) or not endpoint:
            raise SourceUnreachable(
                f"{self._name} does not name its token endpoint at /.well-known/smart-configuration;"
                f" set token_url in [connections.{self._name}]",
                operator_detail=f"HTTP {status}",
            )
        where = f"the token_endpoint that {self._name} names"
        allowed = self._options.allow_http or self._options.url.startswith("http:")
        try:
            origin = check_url(endpoint, where, allow_http=allowed)
        except ConfigError as error:
            raise SourceUnreachable(str(error)) from None
        if origin != origin_of(self._options.url):
            raise SourceUnreachable(
                f"{where} is on another host; set token_url in [connections.{self._name}] to it,"
                " if our credential may go there"
            )
        self._endpoint = endpoint
        return endpoint

    async def _ask(self, method: str, url: str, form: dict[str, str] | None) -> tuple[int, bytes]:
        headers = {"Accept": "application/json"}
        try:
            async with self._session.request(
                method, url, data=form, headers=headers, allow_redirects=False
            ) as response:
                return response.status, await read_capped(response, ANSWER_BYTES_MAX)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._silent(type(error).__name__) from error

    def _silent(self, detail: str) -> SourceUnreachable:
        return SourceUnreachable(
            f"the token endpoint of {self._name} gave no token; is it up, and token_url in"
            f" [connections.{self._name}] right?",
            operator_detail=detail,
        )

    def _refused(self, detail: str) -> SourceUnreachable:
        return SourceUnreachable(
            f"{self._name} refused our credential; check client_id, key_file, key_alg, key_id and"
            f" scope in [connections.{self._name}], and that our public key is registered there",
            operator_detail=detail,
        )


def load_key(path: Path, *, algorithm: str, connection: str) -> RSAKey | ECKey:
    """The private key of `key_file`. Raises ConfigError."""
    where = f"key_file {path} of [connections.{connection}]"
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{where} cannot be read: {error.strerror}") from None
    try:
        key = _import_key(pem, algorithm)
    except (JoseError, ValueError, TypeError, AttributeError):
        key = None
    if key is None or not key.is_private:
        wanted = "an RSA" if algorithm == "RS384" else "a P-384 elliptic curve"
        raise ConfigError(f"{where} must hold {wanted} private key in PEM, for {algorithm}")
    key.ensure_kid()
    return key


def _import_key(pem: bytes, algorithm: str) -> RSAKey | ECKey | None:
    if algorithm == "RS384":
        return RSAKey.import_key(pem)
    key = ECKey.import_key(pem)
    return key if key.curve_name == "P-384" else None


def _error_code(body: bytes) -> str:
    """The `error` code of RFC 6749, 5.2, for the log."""
    try:
        code = str(orjson.loads(body)["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
    return code[:40] if code.replace("_", "").isalpha() else ""
