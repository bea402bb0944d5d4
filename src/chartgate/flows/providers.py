"""Providers that vouch for people: their metadata and keys, kept for a while, and the requests
that are made to them, all through the one door and to origins that the config names.

Source: https://openid.net/specs/openid-connect-discovery-1_0.html and
https://hl7.org/fhir/smart-app-launch/conformance.html
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from chartgate.adapters.egress import open_session, read_capped
from chartgate.config import LaunchConfig, OidcConfig
from chartgate.errors import ChartgateError, ConfigError
from chartgate.flows.id_tokens import PublishedKey, parse_keys
from chartgate.formats.depth import deeper_than
from chartgate.formats.web_address import Origin, origin_of
from chartgate.gate import Gate

KEPT_FOR = timedelta(minutes=10)  # metadata and keys: one that is taken back is soon not used
REFETCH_AFTER = timedelta(seconds=60)  # at most so often for a key id that is not known
SILENT_FOR = timedelta(seconds=5)  # one that failed is not asked again sooner by whoever comes
TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 256 * 1024
DEPTH_MAX = 24
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME_S = 120


class ProviderSilent(ChartgateError):
    """The provider does not answer, or not with what it must; nobody was signed in."""

    issue = "transient"
    status = 503


class CodeRefused(ChartgateError):
    """The provider does not take the code: it was used, is too old, or is not ours."""

    issue = "login"
    status = 403


@dataclass(frozen=True, kw_only=True)
class Registration:
    """How Chartgate is known at one provider."""

    way: str  # "oidc", or "launch:NAME"
    label: str  # for sentences, e.g. "your organisation's sign-in"
    address: str  # the issuer, or an EHR's FHIR address
    discovery_url: str
    settings: OidcConfig | LaunchConfig
    redirect_uri: str

    @property
    def origins(self) -> tuple[str, ...]:
        """Whom we may ask: the address itself, and what the config names beside it."""
        return (self.address, *self.settings.origins)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a provider says of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    auth_methods: tuple[str, ...]
    names_itself: bool  # in each answer, against mix-ups (RFC 9207)


@dataclass
class Provider:
    """What this process knows of one provider, and since when."""

    metadata: Metadata | None = None
    metadata_until: datetime | None = None
    keys: tuple[PublishedKey, ...] = ()
    keys_at: datetime | None = None
    silent_until: datetime | None = None


async def metadata_of(gate: Gate, registration: Registration) -> Metadata:
    """Its metadata, at most ten minutes old. Raises ProviderSilent."""
    provider = _provider(gate, registration)
    now = gate.clock()
    if provider.metadata and provider.metadata_until and now < provider.metadata_until:
        return provider.metadata
    if provider.silent_until and now < provider.silent_until:
        raise _silent(registration, "it failed a moment ago")
    try:
        document = await _ask(gate, registration, registration.discovery_url)
        metadata = _parse_metadata(gate, registration, document)
    except ProviderSilent:
        provider.silent_until = gate.clock() + SILENT_FOR
        raise
    provider.metadata, provider.metadata_until = metadata, now + KEPT_FOR
    return metadata


async def keys_of(
    gate: Gate, registration: Registration, metadata: Metadata, *, kid: str | None
) -> Sequence[PublishedKey]:
    """Its signing keys. They are fetched anew for a key id that is not among them, but at most
    once a minute, so that made-up ids cannot make us hammer it. Raises ProviderSilent."""
    provider = _provider(gate, registration)
    now = gate.clock()
    known = kid is None or any(key.kid == kid for key in provider.keys)
    wait = KEPT_FOR if known and provider.keys else REFETCH_AFTER
    if provider.keys_at is None or now - provider.keys_at >= wait:
        keys = parse_keys(await _ask(gate, registration, metadata.jwks_uri))
        provider.keys, provider.keys_at = keys, now
    return provider.keys


async def redeem(
    gate: Gate, registration: Registration, metadata: Metadata, *, code: str, verifier: str
) -> Mapping[str, Any]:
    """The token endpoint's answer to an authorization code. Raises CodeRefused, ProviderSilent."""
    settings = registration.settings
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": registration.redirect_uri,
        "code_verifier": verifier,
    }
    headers = {}
    if settings.private_key_file:
        form["client_assertion_type"] = ASSERTION_TYPE
        form["client_assertion"] = _assertion(gate, registration, metadata)
    elif not settings.client_secret_file:
        form["client_id"] = settings.client_id
    elif _takes_secret_in_form(metadata):
        form |= {"client_id": settings.client_id, "client_secret": _secret(gate, registration)}
    else:
        pair = f"{quote(settings.client_id, safe='')}:{quote(_secret(gate, registration), safe='')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return await _ask(gate, registration, metadata.token_endpoint, form=form, headers=headers)


def _provider(gate: Gate, registration: Registration) -> Provider:
    provider: Provider = gate.providers.setdefault(registration.way, Provider())
    return provider


async def _ask(
    gate: Gate,
    registration: Registration,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Mapping[str, Any]:
    """The JSON object that a request is answered with. Raises CodeRefused, ProviderSilent."""
    sent = {"Accept": "application/json", **(headers or {})}
    method = "GET" if form is None else "POST"
    try:
        async with (
            open_session(gate.config, allow=registration.origins, timeout_s=TIMEOUT_S) as http,
            http.request(method, url, data=form, headers=sent, allow_redirects=False) as answer,
        ):
            status, body = answer.status, await read_capped(answer, ANSWER_BYTES_MAX)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise _silent(registration, type(error).__name__) from None
    if form is not None and 400 <= status < 500:
        raise CodeRefused(
            f"{registration.label} did not take this sign-in any more; begin again",
            operator_detail=f"{registration.way}: the token endpoint answered HTTP {status}",
        )
    if status != 200:
        raise _silent(registration, f"HTTP {status}")
    try:
        value = None if deeper_than(body, DEPTH_MAX) else orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise _silent(registration, "no JSON object")
    return value


def _parse_metadata(
    gate: Gate, registration: Registration, document: Mapping[str, Any]
) -> Metadata:
    """Raises ProviderSilent for a document that is another issuer's, or leads elsewhere."""
    texts = {}
    for name in ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"):
        value = document.get(name)
        if not isinstance(value, str):
            raise _silent(registration, f"its metadata has no {name}")
        texts[name] = value
    allowed = {origin_of(url) for url in registration.origins}
    for name in ("token_endpoint", "jwks_uri"):
        if _origin(texts[name]) not in allowed:
            raise _silent(registration, f"its {name} has an origin that `origins` does not list")
    browser = _origin(texts["authorization_endpoint"])
    if browser is None or (browser.scheme != "https" and gate.config.production):
        raise _silent(registration, "its authorization_endpoint is no https address")
    if isinstance(registration.settings, OidcConfig):
        if texts["issuer"] != registration.address:
            raise _silent(registration, "its metadata names another issuer")
    elif _origin(texts["issuer"]) not in allowed:
        raise _silent(registration, "its issuer has an origin that `origins` does not list")
    challenges = document.get("code_challenge_methods_supported")
    if isinstance(challenges, list) and "S256" not in challenges:
        raise _silent(registration, "it does not support PKCE with S256")
    methods = document.get("token_endpoint_auth_methods_supported")
    return Metadata(
        **texts,
        auth_methods=tuple(str(m) for m in methods) if isinstance(methods, list) else (),
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _origin(url: str) -> Origin | None:
    try:
        return origin_of(url)
    except ConfigError:
        return None


def _takes_secret_in_form(metadata: Metadata) -> bool:
    """Only where it takes no Authorization header, which is the default of the standard."""
    methods = metadata.auth_methods
    return "client_secret_post" in methods and "client_secret_basic" not in methods


def _secret(gate: Gate, registration: Registration) -> str:
    return _file(gate, registration, registration.settings.client_secret_file).decode().strip()


def _assertion(gate: Gate, registration: Registration, metadata: Metadata) -> str:
    settings = registration.settings
    pem = _file(gate, registration, settings.private_key_file)
    try:
        key, algorithm = _signing_key(pem, sha384=isinstance(settings, LaunchConfig))
    except (JoseError, ValueError, TypeError, AttributeError):
        raise ConfigError(
            "a key file of the sign-in cannot be used; tell the operator",
            operator_detail=f"{settings.private_key_file} holds no RSA or EC private key in PEM",
        ) from None
    now = int(gate.clock().timestamp())
    claims = {
        "iss": settings.client_id,
        "sub": settings.client_id,
        "aud": metadata.token_endpoint,
        "iat": now,
        "exp": now + ASSERTION_LIFETIME_S,
        "jti": secrets.token_urlsafe(24),
    }
    header = {"alg": algorithm, "typ": "JWT", "kid": key.thumbprint()}
    return jwt.encode(header, claims, key, algorithms=[algorithm])


def _signing_key(pem: bytes, *, sha384: bool) -> tuple[RSAKey | ECKey, str]:
    """SMART names RS384 and ES384; elsewhere RS256 is what everybody takes."""
    try:
        key = ECKey.import_key(pem)
    except (JoseError, ValueError, TypeError, AttributeError):
        return RSAKey.import_key(pem), "RS384" if sha384 else "RS256"
    return key, "ES384" if key.curve_name == "P-384" else "ES256"


def _file(gate: Gate, registration: Registration, name: str) -> bytes:
    path = gate.config.path(name)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            "a secret of the sign-in cannot be read; tell the operator",
            operator_detail=f"{registration.way}: {path}: {error.strerror}",
        ) from None


def _silent(registration: Registration, detail: str) -> ProviderSilent:
    return ProviderSilent(
        f"{registration.label} does not answer as it should; try again shortly, or in an emergency "
        "open a sealed account",
        operator_detail=f"{registration.way}: {detail}",
    )
