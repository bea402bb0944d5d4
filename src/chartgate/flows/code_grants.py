"""A sign-in by authorization code, as OpenID Connect and SMART App Launch share it: off to the
provider with a state, a nonce and a PKCE challenge, and back with a code that is redeemed once.

All three follow from the state and a random cookie of the browser that began, so that the store
keeps no secret, and what comes back to another browser is worth nothing.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from chartgate.errors import ChartgateError, ConfigError, Denied
from chartgate.flows.id_tokens import Expected, TokenFlaw, kid_of, verified_claims
from chartgate.flows.people import SignedIn, hash_cookie, open_session
from chartgate.flows.providers import (
    CodeRefused,
    Metadata,
    ProviderSilent,
    Registration,
    keys_of,
    metadata_of,
    redeem,
)
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.principal import Person
from chartgate.store.database import Connection
from chartgate.store.governance import bump_epoch
from chartgate.store.people import PersonStore
from chartgate.store.sign_ins import Attempt, SignInStore

SECRET = re.compile(r"[A-Za-z0-9_\-]{43}")  # 256 bits
UNDER_WAY_FOR = timedelta(minutes=10)
UNDER_WAY_MAX = 50_000  # of all people together; beyond that the oldest are forgotten
CODE_MAX = 4_000  # characters
ERROR_CODE = re.compile(r"[a-z_]{1,40}")
# Of a provider's name for somebody, in lower case; it may be an address or hold a separator.
NAME = re.compile(r"[a-z0-9][a-z0-9.\-_@+|]{0,127}")
NOBODY = "person:(unknown)"
SAY_NOT_BEGUN = (
    "this sign-in was not begun in this browser, is more than ten minutes old, or was used "
    "already; begin again"
)
SAY_NO_PROOF = (
    "what came back from the sign-in does not hold, so nobody was signed in; begin again, and if "
    "it stays so tell your operator, who finds the reason in the audit"
)


class SignInRefused(Denied):
    """Nobody was signed in. `reason` is the audit's code for why."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Begun:
    """Where the browser goes now, and the cookie that it takes along for coming back."""

    url: str = field(repr=False)
    cookie: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Vouched:
    """What a provider says of who came back. `answer` is what its token endpoint said."""

    issuer: str
    claims: Mapping[str, Any] = field(repr=False)
    answer: Mapping[str, Any] = field(repr=False)
    attempt: Attempt = field(repr=False)


async def begin(
    gate: Gate,
    registration: Registration,
    *,
    then: str,
    cookie: str | None,
    session: str | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Begun:
    """The way to the provider. `cookie` is that of another sign-in of this browser, `session`
    the session that this one shall replace. Raises ProviderSilent."""
    metadata = await metadata_of(gate, registration)
    now = gate.clock()
    state = secrets.token_urlsafe(32)
    seed = cookie if cookie and SECRET.fullmatch(cookie) else secrets.token_urlsafe(32)
    attempt = Attempt(
        browser_hash=hash_cookie(seed),
        way=registration.way,
        then_path=then,
        session_hash=hash_cookie(session) if session else None,
        expires_at=now + UNDER_WAY_FOR,
    )
    await SignInStore(gate.database).insert(
        hash_cookie(state), attempt, now=now, attempts_max=UNDER_WAY_MAX
    )
    asked = {
        "response_type": "code",
        "client_id": registration.settings.client_id,
        "redirect_uri": registration.redirect_uri,
        "scope": " ".join(registration.settings.scopes),
        "state": state,
        "nonce": _derived("nonce", state, seed),
        "code_challenge": _challenge(_derived("verifier", state, seed)),
        "code_challenge_method": "S256",
        **(parameters or {}),
    }
    endpoint = metadata.authorization_endpoint
    url = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"
    return Begun(url=url, cookie=seed)


async def come_back(
    gate: Gate, registration: Registration, query: Mapping[str, str], cookie: str | None
) -> Vouched:
    """Who comes back from the provider. Raises SignInRefused, ProviderSilent, CodeRefused."""
    state = query.get("state", "")
    attempt = await SignInStore(gate.database).take(hash_cookie(state))
    if attempt is None or attempt.way != registration.way or not cookie:
        raise SignInRefused(SAY_NOT_BEGUN, reason="state")
    if not hmac.compare_digest(hash_cookie(cookie), attempt.browser_hash):
        raise SignInRefused(SAY_NOT_BEGUN, reason="browser")
    if attempt.expires_at <= gate.clock():
        raise SignInRefused(SAY_NOT_BEGUN, reason="expired")
    metadata = await metadata_of(gate, registration)
    code = _code(query, registration, metadata)
    verifier = _derived("verifier", state, cookie)
    answer = await redeem(gate, registration, metadata, code=code, verifier=verifier)
    claims = await _claims(
        gate, registration, metadata, answer, nonce=_derived("nonce", state, cookie)
    )
    return Vouched(issuer=metadata.issuer, claims=claims, answer=answer, attempt=attempt)


def name_in(registration: Registration, claims: Mapping[str, Any]) -> str:
    """What somebody is called here. Raises SignInRefused."""
    value = claims.get(registration.settings.name_claim)
    name = value.lower() if isinstance(value, str) else ""
    if not NAME.fullmatch(name):
        raise SignInRefused(
            f"{registration.label} gave no name that can be used here; tell your operator that "
            f"the claim {registration.settings.name_claim} is missing or unusable",
            reason="name",
        )
    return name


async def enter(gate: Gate, vouched: Vouched, person: Person, *, way: str) -> SignedIn:
    """A session for somebody whom a provider vouches for, under the name that they have had here
    from the first time on. Rights that they do not have any more end with it. Raises
    SignInRefused where that name is another's, or they were removed."""
    subject = str(vouched.claims["sub"])
    store = PersonStore(gate.database)
    async with gate.database.change_found() as (transaction, events):
        known = await store.subject(transaction, issuer=vouched.issuer, subject=subject)
        if known is None:
            if not await store.insert_subject(
                transaction, person, issuer=vouched.issuer, subject=subject
            ):
                raise SignInRefused(
                    "the name that you are given there belongs to another account here; tell your "
                    "operator, who sees it with `chartgate person list`",
                    reason="name-taken",
                )
        elif known.removed_at is not None:
            raise SignInRefused(
                "you were removed here; your operator can undo it with `chartgate person restore`",
                reason="removed",
            )
        else:
            person = replace(person, id=known.name)
            if way == "oidc":
                await _renew(gate, transaction, store, person, known.roles, known.sites)
        if vouched.attempt.session_hash is not None:
            await store.delete_session(transaction, vouched.attempt.session_hash)
        signed_in = await open_session(gate, transaction, person)
        details = (("way", way), ("mfa", "yes" if person.mfa else "no"))
        events.append(
            AuditEvent(
                recorded=gate.clock(),
                action="person.sign-in",
                agent=person.agent,
                patient=person.patient,
                details=(*details, ("roles", " ".join(person.roles))),
            )
        )
    return signed_in


async def record_refusal(gate: Gate, way: str, error: ChartgateError) -> None:
    """One audit event for a sign-in that came to nothing. It names nobody: nobody is proven."""
    reason = error.reason if isinstance(error, SignInRefused) else error.issue
    outcome = Outcome.FAILED if isinstance(error, ProviderSilent | ConfigError) else Outcome.DENIED
    await gate.audit.record(
        AuditEvent(
            recorded=gate.clock(),
            action="person.sign-in",
            agent=NOBODY,
            outcome=outcome,
            reason="code" if isinstance(error, CodeRefused) else reason,
            details=(("way", way),),
        )
    )


async def _renew(
    gate: Gate,
    transaction: Connection,
    store: PersonStore,
    person: Person,
    roles: tuple[str, ...],
    sites: tuple[str, ...],
) -> None:
    await store.update_subject(transaction, person)
    if set(roles) - set(person.roles) or set(sites) - set(person.sites):
        await store.end_sessions(transaction, person.id)
        await bump_epoch(transaction, gate.database.tenant)


def _code(query: Mapping[str, str], registration: Registration, metadata: Metadata) -> str:
    """Raises SignInRefused for an error, or an answer of somebody else's."""
    issuer = query.get("iss")
    if (issuer is None and metadata.names_itself) or issuer not in (None, metadata.issuer):
        raise SignInRefused(SAY_NO_PROOF, reason="mix-up")
    if "error" in query:
        code = query["error"]
        known = code if ERROR_CODE.fullmatch(code) else "error"
        raise SignInRefused(
            f"{registration.label} did not let you in; begin again, or ask whoever runs it",
            reason=f"provider-{known.replace('_', '-')}",
        )
    code = query.get("code", "")
    if not 0 < len(code) <= CODE_MAX or not code.isprintable():
        raise SignInRefused(SAY_NO_PROOF, reason="code")
    return code


async def _claims(
    gate: Gate,
    registration: Registration,
    metadata: Metadata,
    answer: Mapping[str, Any],
    *,
    nonce: str,
) -> Mapping[str, Any]:
    token = answer.get("id_token")
    if not isinstance(token, str):
        raise SignInRefused(SAY_NO_PROOF, reason="no-id-token")
    expected = Expected(
        issuer=metadata.issuer, client_id=registration.settings.client_id, nonce=nonce
    )
    try:
        keys = await keys_of(gate, registration, metadata, kid=kid_of(token))
        return verified_claims(token, keys, expected, now=gate.clock())
    except TokenFlaw as flaw:
        raise SignInRefused(SAY_NO_PROOF, reason=f"id-token-{flaw.code}") from None


def _derived(use: str, state: str, seed: str) -> str:
    """43 characters that only who knows the browser's cookie can tell. Fits RFC 7636, 4.1."""
    return _base64url(
        hmac.digest(
            seed.encode("utf-8", "surrogateescape"),
            f"{use} {state}".encode("utf-8", "surrogateescape"),
            "sha256",
        )
    )


def _challenge(verifier: str) -> str:
    return _base64url(hashlib.sha256(verifier.encode()).digest())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
