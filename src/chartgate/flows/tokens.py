"""Access tokens for AI clients and services: SMART Backend Services, where a client signs an
assertion with its own key and gets a short-lived opaque token for one charter and address.

Source: https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html and, for `resource`,
https://www.rfc-editor.org/rfc/rfc8707
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chartgate.config import ClientConfig, ServiceConfig
from chartgate.errors import Denied, NotFound, Unauthenticated
from chartgate.flows.assertions import Proven, TokenRefused, check_assertion
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.charter import Charter
from chartgate.model.principal import Client, Service
from chartgate.policy.scopes import ScopeRefused, narrow, scopes_of
from chartgate.store.caches import KnownToken
from chartgate.store.database import promptly
from chartgate.store.tokens import ClientToken, ServiceToken, Ticket, TokenStore

# So that scanners for leaked secrets can know one, and each kind the other; 256 bits follow.
TOKEN_PREFIX = "cg_"
SERVICE_PREFIX = "cgs_"
TOKEN = re.compile(r"cg_[A-Za-z0-9_\-]{43}")
SERVICE_TOKEN = re.compile(r"cgs_[A-Za-z0-9_\-]{43}")
# How long a token is taken as known before the store is asked again, unless the epoch moves.
KNOWN_FOR = timedelta(seconds=1)
CHARTER_SCOPE = "charter:"
SCOPES_LENGTH_MAX = 4_000
SAY_NO_TOKEN = "this needs a valid access token, sent as `Authorization: Bearer …`"


class ContractEnded(Denied):
    """The vendor of a client that we know may not handle patient data for us any more."""

    def __init__(self, message: str, *, agent: str) -> None:
        super().__init__(message)
        self.agent = agent


@dataclass(frozen=True, kw_only=True)
class Granted:
    """What a token would allow, where."""

    charter: Charter
    scopes: tuple[str, ...]
    sites: tuple[str, ...]
    audience: str


async def issue(gate: Gate, form: Mapping[str, str]) -> dict[str, Any]:
    """The answer of the token endpoint to a client_credentials request. Raises TokenRefused,
    after that was audited, or Unavailable."""
    now = gate.clock()
    try:
        if form.get("grant_type") != "client_credentials":
            raise TokenRefused(
                "unsupported_grant_type",
                "grant_type must be client_credentials; there are no refresh tokens, sign anew",
                reason="grant-type",
            )
        proven = await check_assertion(gate, form, now=now)
        if isinstance(proven.party, ServiceConfig):
            return await _issue_to_service(gate, form, proven, proven.party, now=now)
        return await _issue_to_client(gate, form, proven, proven.party, now=now)
    except TokenRefused as refused:
        await gate.audit.record(
            AuditEvent(
                recorded=now,
                action="token.issue",
                agent=refused.agent,
                outcome=Outcome.DENIED,
                reason=refused.reason,
            )
        )
        raise


async def client_of(gate: Gate, token: str, *, kept: bool = False) -> Client:
    """Whose token it is. `kept`: what was found a moment ago will do, for walks that look at the
    client's epoch before they answer.

    Raises Unauthenticated, always with the same sentence; ContractEnded.
    """
    now = gate.clock()
    hashed = hash_token(token)
    known = gate.caches.tokens.get(hashed) if kept else None
    if known is None or known.until <= now or (known.client.epoch or 0) < gate.audit.epoch:
        known = await _looked_up(gate, token, hashed, now)
    check_holder(gate, known.client)
    return known.client


async def token_of(gate: Gate, token: str) -> ClientToken:
    """The token as it is stored, if it holds and is for us. Raises Unauthenticated."""
    if not TOKEN.fullmatch(token):
        raise Unauthenticated(SAY_NO_TOKEN)
    async with promptly():
        found = await TokenStore(gate.database).find(hash_token(token), now=gate.clock())
    if found is None or not _is_for_us(gate, found):
        raise Unauthenticated(SAY_NO_TOKEN)
    return found


def check_holder(gate: Gate, client: Client) -> None:
    """A client that was taken out of the config or its charter is out at once, and so is one whose
    vendor's contract ended. Raises Unauthenticated, ContractEnded."""
    try:
        named = client.id in gate.charters.get(client.charter).clients
    except NotFound:
        named = False
    if not named or client.id not in gate.config.clients:
        raise Unauthenticated(SAY_NO_TOKEN)
    if flaw := contract_flaw(gate, client.id):
        raise ContractEnded(flaw, agent=client.agent)


async def service_of(gate: Gate, token: str) -> Service:
    """Whose token it is, with the powers that the config gives it now. Raises Unauthenticated."""
    if not SERVICE_TOKEN.fullmatch(token):
        raise Unauthenticated(SAY_NO_TOKEN)
    async with promptly():
        found = await TokenStore(gate.database).find_of_service(hash_token(token), now=gate.clock())
    registered = gate.config.services.get(found.service) if found else None
    if found is None or registered is None or found.ticket.audience != gate.config.web.url:
        raise Unauthenticated(SAY_NO_TOKEN)
    return Service(id=registered.name, may=registered.may)


def hash_token(token: str) -> bytes:
    """What the store keeps of a token: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def contract_flaw(gate: Gate, client: str) -> str:
    """Why a client's vendor may not handle patient data, in production; empty: it may."""
    registered = gate.config.clients.get(client)
    if not gate.config.production or registered is None:
        return ""
    flaw = gate.config.vendor_flaw(registered.vendor, gate.clock().date())
    return flaw and f"the client {client} may not be served: {flaw}"


def grant(gate: Gate, client: str, *, scope: str, resource: str = "") -> Granted:
    """The charter, scopes and sites for a request: what was asked, cut down to what the charter
    allows. No scope asked means all of the charter's. Raises TokenRefused."""
    agent = f"client:{client}"
    if len(scope) > SCOPES_LENGTH_MAX:
        raise TokenRefused(
            "invalid_scope", "the list of scopes is too long", reason="scope", agent=agent
        )
    words = scope.split()
    charter = _charter_asked(gate, client, [w for w in words if w.startswith(CHARTER_SCOPE)])
    asked = [w for w in words if not w.startswith(CHARTER_SCOPE)]
    try:
        scopes = tuple(str(scope) for scope in narrow(asked, charter.reads))
    except ScopeRefused as refused:
        raise TokenRefused("invalid_scope", str(refused), reason="scope", agent=agent) from None
    if not scopes and (asked or charter.reads):
        raise TokenRefused(
            "invalid_scope",
            f"charter {charter.name} allows none of these scopes; it allows "
            + " ".join(str(scope) for scope in scopes_of(charter.reads)),
            reason="scope",
            agent=agent,
        )
    audience, sites = _target(gate, charter, resource, agent=agent)
    return Granted(charter=charter, scopes=scopes, sites=sites, audience=audience)


def _target(
    gate: Gate, charter: Charter, resource: str, *, agent: str
) -> tuple[str, tuple[str, ...]]:
    """The address that a token is for, and the sites behind it: all of the charter's, or one."""
    base = gate.config.web.url
    sites = tuple(sorted(charter.sites))
    wanted = resource.rstrip("/")
    if wanted in ("", base, f"{base}/fhir"):
        return base, sites
    site = wanted.removeprefix(f"{base}/fhir/")
    if site in sites and wanted == f"{base}/fhir/{site}":
        return wanted, (site,)
    raise TokenRefused(
        "invalid_target",
        f"resource must be {base}, or {base}/fhir/SITE with a site of the charter",
        reason="target",
        agent=agent,
    )


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
        agent=f"client:{client}",
    )


async def _issue_to_client(
    gate: Gate, form: Mapping[str, str], proven: Proven, party: ClientConfig, *, now: datetime
) -> dict[str, Any]:
    if flaw := contract_flaw(gate, party.name):
        raise TokenRefused("unauthorized_client", flaw, reason="vendor", agent=proven.agent)
    granted = grant(
        gate, party.name, scope=form.get("scope", ""), resource=form.get("resource", "")
    )
    charter = granted.charter
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    stored = ClientToken(
        ticket=_ticket(gate, token, audience=granted.audience, now=now),
        client=Client(
            id=party.name, charter=charter.name, scopes=granted.scopes, sites=granted.sites
        ),
    )
    issued = AuditEvent(
        recorded=now,
        action="token.issue",
        agent=proven.agent,
        charter=charter.name,
        charter_digest=charter.digest,
        purpose=charter.purpose_of_use,
        details=(("scope", " ".join(granted.scopes)), ("sites", " ".join(granted.sites))),
    )
    try:
        await TokenStore(gate.database).issue(stored, assertion=proven.assertion, audit=issued)
    except Unauthenticated as replay:
        raise _replayed(replay, proven) from None
    return _answer(gate, token, (*granted.scopes, CHARTER_SCOPE + charter.name))


async def _issue_to_service(
    gate: Gate, form: Mapping[str, str], proven: Proven, party: ServiceConfig, *, now: datetime
) -> dict[str, Any]:
    if form.get("scope") or form.get("resource", gate.config.web.url) != gate.config.web.url:
        raise TokenRefused(
            "invalid_scope",
            "a service asks for no scope and no resource: what it may do stands in the config",
            reason="scope",
            agent=proven.agent,
        )
    token = SERVICE_PREFIX + secrets.token_urlsafe(32)
    stored = ServiceToken(
        ticket=_ticket(gate, token, audience=gate.config.web.url, now=now), service=party.name
    )
    issued = AuditEvent(
        recorded=now,
        action="token.issue",
        agent=proven.agent,
        details=(("may", " ".join(party.may)),),
    )
    try:
        await TokenStore(gate.database).issue_to_service(
            stored, assertion=proven.assertion, audit=issued
        )
    except Unauthenticated as replay:
        raise _replayed(replay, proven) from None
    return _answer(gate, token, tuple(f"service:{power}" for power in party.may))


def _ticket(gate: Gate, token: str, *, audience: str, now: datetime) -> Ticket:
    return Ticket(
        token_hash=hash_token(token),
        audience=audience,
        issued_at=now,
        expires_at=now + timedelta(seconds=gate.config.web.token_lifetime_s),
    )


def _replayed(replay: Unauthenticated, proven: Proven) -> TokenRefused:
    return TokenRefused("invalid_client", str(replay), reason="replay", agent=proven.agent)


def _answer(gate: Gate, token: str, scopes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "access_token": token,
        "token_type": "bearer",
        "expires_in": int(gate.config.web.token_lifetime_s),
        "scope": " ".join(scopes),
    }


async def _looked_up(gate: Gate, token: str, hashed: bytes, now: datetime) -> KnownToken:
    gate.caches.tokens.drop(hashed)
    found = await token_of(gate, token)
    known = KnownToken(client=found.client, until=min(found.ticket.expires_at, now + KNOWN_FOR))
    gate.caches.tokens.put(hashed, known)
    return known


def _is_for_us(gate: Gate, found: ClientToken) -> bool:
    """Whether the address that it was issued for is still ours; else another Chartgate on the
    same store issued it, or this one moved."""
    base = gate.config.web.url
    one_site = [f"{base}/fhir/{site}" for site in found.client.sites or ()]
    return found.ticket.audience == base or [found.ticket.audience] == one_site
