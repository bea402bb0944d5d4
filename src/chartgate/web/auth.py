"""Who calls: an AI client by its access token, a person by their session cookie. Never both.

The guard of a route says which it takes. An agent's credential is never taken for a person, and
each refusal leaves one audit event.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from chartgate.errors import ChartgateError, Denied, Invalid, Unauthenticated
from chartgate.flows.people import SignedIn, person_of
from chartgate.flows.tokens import (
    SAY_NO_TOKEN,
    SERVICE_PREFIX,
    ContractEnded,
    client_of,
    service_of,
)
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.principal import Client, Person, Service
from chartgate.store.database import promptly
from chartgate.web.cookies import read_cookie
from chartgate.web.routes import Guard, Route, parse_form

SESSION_COOKIE = "chartgate_session"
CSRF_FIELD = "csrf"  # of a form
CSRF_HEADER = b"x-csrf-token"  # of a request that scripts of our pages send
OPERATOR = "operator"
SAFE_METHODS = ("GET", "HEAD")
TAKEN: Mapping[Guard, tuple[type, ...]] = {  # kinds of token, by guard
    Guard.CLIENT: (Client,),
    Guard.PRINCIPAL: (Client,),
    Guard.TOKEN: (Client, Service),
    Guard.SERVICE: (Service,),
    Guard.AUDIT: (Service,),
    Guard.PERSON: (),
    Guard.OPERATOR: (),
}
BY_TOKEN = (Guard.CLIENT, Guard.TOKEN, Guard.SERVICE)  # and by nothing else
SAY_SIGN_IN = "this needs you to be signed in"
SAY_NOT_FOR_AGENTS = "only a person may do this; an AI client's credential cannot"
SAY_OPERATORS = "only a person with the role operator may do this"
SAY_BOTH = "send an access token or a session cookie, not both"
SAY_CROSS_SITE = "this request did not come from one of our own pages; open the page again"


class KnownDenied(Denied):
    """Denied to somebody whom we know, by `agent`, which the audit then names."""

    def __init__(self, message: str, *, agent: str) -> None:
        super().__init__(message)
        self.agent = agent


@dataclass(frozen=True, kw_only=True, slots=True)
class Admitted:
    """Who passed the guard."""

    principal: Client | Person | Service | None
    signed_in: SignedIn | None = None


NOBODY = Admitted(principal=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Knock:
    """What a request shows at the door."""

    method: str
    single: dict[bytes, bytes]  # header fields that stand once
    csrf: str | None  # of the header
    body: bytes
    is_form: bool


async def admit(gate: Gate, route: Route, knock: Knock) -> Admitted:
    """Raises Unauthenticated, Denied, Invalid; each is audited."""
    if route.guard is Guard.PUBLIC:
        check_origin(gate, knock)
        return NOBODY
    try:
        return await _admitted(gate, route, knock)
    except (Unauthenticated, Denied, Invalid) as error:
        await _record_refusal(gate, route, error)
        raise


async def _admitted(gate: Gate, route: Route, knock: Knock) -> Admitted:
    authorization = knock.single.get(b"authorization")
    cookie = session_cookie(gate, knock.single.get(b"cookie", b""))
    if authorization is not None and cookie is not None:
        raise Invalid(SAY_BOTH)
    if authorization is not None or route.guard in BY_TOKEN:
        holder = await _holder(gate, _bearer(authorization), kept=route.checks_epoch)
        if not isinstance(holder, TAKEN.get(route.guard, ())):
            agent = isinstance(holder, Client)
            raise KnownDenied(SAY_NOT_FOR_AGENTS if agent else SAY_NO_TOKEN, agent=holder.agent)
        return Admitted(principal=holder)
    if cookie is None:
        raise Unauthenticated(SAY_NO_TOKEN if route.guard is Guard.PRINCIPAL else SAY_SIGN_IN)
    async with promptly():
        signed_in = await person_of(gate, cookie)
    check_csrf(gate, knock, signed_in)
    if route.guard is Guard.OPERATOR and OPERATOR not in signed_in.person.roles:
        raise KnownDenied(SAY_OPERATORS, agent=signed_in.person.agent)
    return Admitted(principal=signed_in.person, signed_in=signed_in)


async def _holder(gate: Gate, token: str, *, kept: bool) -> Client | Service:
    """Whose token it is, by its kind. Raises Unauthenticated, ContractEnded."""
    if token.startswith(SERVICE_PREFIX):
        return await service_of(gate, token)
    return await client_of(gate, token, kept=kept)


def session_cookie(gate: Gate, header: bytes) -> str | None:
    """The session cookie's value."""
    return read_cookie(gate, header, SESSION_COOKIE)


def check_origin(gate: Gate, knock: Knock) -> None:
    """A browser names the page that sends; only ours may send what changes something."""
    origin = knock.single.get(b"origin")
    if knock.method in SAFE_METHODS or origin is None:
        return
    ours = {gate.config.web.url.encode(), b"http://" + knock.single.get(b"host", b"")}
    if origin.lower() not in {o.lower() for o in ours}:
        raise Denied(SAY_CROSS_SITE)


def check_csrf(gate: Gate, knock: Knock, signed_in: SignedIn) -> None:
    """What changes something must carry the session's own secret. Raises Denied, Invalid."""
    if knock.method in SAFE_METHODS:
        return
    check_origin(gate, knock)
    shown = knock.csrf
    if shown is None and knock.is_form:
        shown = parse_form(knock.body).get(CSRF_FIELD)
    if shown is None or not hmac.compare_digest(shown.encode(), signed_in.csrf.encode()):
        raise KnownDenied(SAY_CROSS_SITE, agent=signed_in.person.agent)


def _bearer(authorization: bytes | None) -> str:
    scheme, _, token = (authorization or b"").partition(b" ")
    if scheme.lower() != b"bearer" or not token:
        raise Unauthenticated(SAY_NO_TOKEN)
    return token.strip().decode("latin")


async def _record_refusal(gate: Gate, route: Route, error: ChartgateError) -> None:
    await gate.audit.record(
        AuditEvent(
            recorded=gate.clock(),
            action="web.refuse",
            agent=error.agent if isinstance(error, KnownDenied | ContractEnded) else "unknown",
            outcome=Outcome.DENIED,
            reason="vendor" if isinstance(error, ContractEnded) else error.issue,
            details=(("route", route.name),),
        )
    )
