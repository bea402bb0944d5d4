"""The gateway as a plain ASGI application: the route table, and what stands around every route.

head limits → route → body limits → guard → endpoint → answer. The order matters: nothing is
parsed before it is measured, and nothing is asked of the store before the request is sound.
Whatever is refused leaves one audit event: the walk's own, or else one of the edge.
"""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from chartgate.errors import (
    ChartgateError,
    Invalid,
    Moved,
    NotFound,
    SourceUnreachable,
    Unavailable,
)
from chartgate.formats.r4 import is_resource_type
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.store import origin
from chartgate.store.origin import Origin
from chartgate.store.refusals import Noted, watching
from chartgate.web import api, auth, console, errors, fhir, health, limits, resource_metadata
from chartgate.web.evenness import Evenness, Kind
from chartgate.web.network import address_of, parse_networks
from chartgate.web.resource_metadata import with_pointer
from chartgate.web.routes import Call, Route
from chartgate.web.table import Table

ROUTES: tuple[Route, ...] = (
    *fhir.ROUTES,
    *api.ROUTES,
    *console.ROUTES,
    *health.ROUTES,
    *resource_metadata.ROUTES,
)

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

TRIES_MAX = 3  # of one request, while rights are taken away
READ = "fhir-read"
NO_ROUTE = "none"  # stands for the route in metrics and logs where none was found
SAY_UNREADABLE = "this is no request of HTTP/1.1 that can be read in one way only"
FORM = "application/x-www-form-urlencoded"
SECURITY_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
SECURITY_NAMES = frozenset(name for name, _ in SECURITY_HEADERS)
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")


def build_app(gate: Gate) -> ASGIApp:
    """The application that serves `ROUTES` through `gate`."""
    return App(gate, Table(ROUTES))


@dataclass(frozen=True, kw_only=True, slots=True)
class Came:
    """What of a request the guard does not look at."""

    scope: Scope
    parameters: dict[str, str]  # of the path
    request_id: str


class App:
    """Answers requests. Holds no state of its own but how many are under way."""

    def __init__(self, gate: Gate, table: Table) -> None:
        self._gate = gate
        self._table = table
        self._in_flight = 0
        self._evenness = Evenness()
        self._proxies = parse_networks(gate.config.web.trusted_proxies)
        https = gate.config.web.url.startswith("https://")
        self._headers = SECURITY_HEADERS + ((STRICT_TRANSPORT,) if https else ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _decline(scope, receive, send)
            return
        started = perf_counter()
        request_id = secrets.token_hex(8)
        came = origin.enter(Origin(network=address_of(scope, self._proxies), request=request_id))
        self._in_flight += 1
        try:
            response, name = await self._answer(scope, receive, request_id)
            # Counted before it is sent: the caller's next request may be the one for /metrics.
            self._gate.metrics.answered(name, response.status_code, perf_counter() - started)
            await response(scope, receive, self._with_headers(send, request_id))
        finally:
            self._in_flight -= 1
            origin.leave(came)

    async def refuse_unreadable(self) -> Response:
        """The answer to bytes that are no request, or that could be read as two."""
        with watching() as noted:
            return self.unreadable(await self._noted(None, Invalid(SAY_UNREADABLE), noted))

    def unreadable(self, error: ChartgateError | None = None) -> Response:
        """The same, where a request that is under way leaves the audit event."""
        request_id = secrets.token_hex(8)
        refused = error or Invalid(SAY_UNREADABLE)
        response = errors.outcome_page(Request({"type": "http"}), refused, request_id)
        self._gate.metrics.answered(NO_ROUTE, response.status_code, 0.0)
        response.raw_headers += [*self._headers, (b"x-request-id", request_id.encode())]
        return response

    async def _answer(
        self, scope: Scope, receive: Receive, request_id: str
    ) -> tuple[Response, str]:
        """The response, and the name of the route for the metrics."""
        started = perf_counter()
        route: Route | None = None
        with watching() as noted:
            try:
                single = limits.check_head(scope)
                route, parameters = self._table.find(scope["method"], scope["raw_path"])
                self._check_load(route)
                knock = await self._knock(route, single, scope, receive)
                came = Came(scope=scope, parameters=parameters, request_id=request_id)
                return await self._call(route, knock, came, noted), route.name
            except ChartgateError as error:
                refused = error
            except Exception as fault:  # noqa: BLE001  the top of a request
                name = route.name if route else NO_ROUTE
                refused = errors.unexpected(fault, route=name, request_id=request_id)
            refused = await self._noted(route, refused, noted)
            if route and route.name == READ and isinstance(refused, NotFound):
                await self._even(parameters, noted, perf_counter() - started)
        return self._error(route, scope, refused, request_id)

    async def _knock(
        self, route: Route, single: dict[bytes, bytes], scope: Scope, receive: Receive
    ) -> auth.Knock:
        """The request as the guard takes it, once its body is sound."""
        body = await limits.read_body(
            self._gate.config.web, single, scope["headers"], receive, media_types=route.body_types
        )
        return auth.Knock(
            method=scope["method"],
            single=single,
            csrf=_csrf_header(scope) if scope["method"] not in auth.SAFE_METHODS else None,
            body=body,
            is_form=single.get(b"content-type", b"").startswith(FORM.encode()),
        )

    async def _call(self, route: Route, knock: auth.Knock, came: Came, noted: Noted) -> Response:
        """Past the guard, into the endpoint; and from the guard on again where somebody lost a
        right meanwhile: it may have been this caller."""
        for left in reversed(range(TRIES_MAX)):
            admitted = await auth.admit(self._gate, route, knock)
            noted.agent = admitted.principal.agent if admitted.principal else noted.agent
            call = Call(
                gate=self._gate,
                request=Request(came.scope),
                parameters=came.parameters,
                body=knock.body,
                request_id=came.request_id,
                principal=admitted.principal,
                signed_in=admitted.signed_in,
            )
            try:
                return await route.endpoint(call)
            except Moved:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _noted(
        self, route: Route | None, error: ChartgateError, noted: Noted
    ) -> ChartgateError:
        """What to answer once the refusal has its audit event, unless the walk left one. Where
        we cannot serve at all there is none: the audit trail may be what is missing."""
        if noted.events or isinstance(error, Unavailable | SourceUnreachable):
            return error
        ours = errors.status_of(error) >= 500
        event = AuditEvent(
            recorded=self._gate.clock(),
            action="web.refuse",
            agent=noted.agent,
            outcome=Outcome.FAILED if ours else Outcome.DENIED,
            reason=error.issue,
            details=(("route", route.name if route else NO_ROUTE),),
        )
        try:
            await self._gate.audit.record(event)
        except ChartgateError as unwritten:
            return unwritten
        return error

    async def _even(self, parameters: dict[str, str], noted: Noted, took_s: float) -> None:
        """Nobody learns by the time whether there is something that they may not see."""
        site, resource_type = parameters["site"], parameters["resource_type"]
        sites = {s for charter in self._gate.charters.charters.values() for s in charter.sites}
        if site in sites and is_resource_type(resource_type):
            kind: Kind = "hidden" if noted.outcome is Outcome.DENIED else "missing"
            await self._evenness.hold(site, resource_type, kind, took_s=took_s)

    def _check_load(self, route: Route) -> None:
        """More requests than we can hold are told to come back; whether we live is answered."""
        self._gate.metrics.in_flight.set(self._in_flight)
        if self._in_flight > self._gate.config.web.in_flight_max and route not in health.ROUTES:
            raise Unavailable("too many requests are under way; try again shortly")

    def _error(
        self, route: Route | None, scope: Scope, error: ChartgateError, request_id: str
    ) -> tuple[Response, str]:
        if error.operator_detail:
            errors.log_detail(error, route=route.name if route else NO_ROUTE, request_id=request_id)
        page = (route and route.error_page) or errors.outcome_page
        response = page(Request(scope), error, request_id)
        if challenge := response.headers.get("www-authenticate"):
            pointed = with_pointer(challenge, self._gate.config.web)
            response.headers["www-authenticate"] = pointed
        return response, route.name if route else NO_ROUTE

    def _with_headers(self, send: Send, request_id: str) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                own = {name for name, _ in headers} & SECURITY_NAMES
                headers += [h for h in self._headers if h[0] not in own] if own else self._headers
                headers.append((b"x-request-id", request_id.encode()))
            await send(message)

        return sending


def _csrf_header(scope: Scope) -> str | None:
    values = [value for name, value in scope["headers"] if name == auth.CSRF_HEADER]
    return values[0].decode("latin") if len(values) == 1 else None


async def _decline(scope: Scope, receive: Receive, send: Send) -> None:
    """Lifespan needs nothing of us, as the gate is opened outside; web sockets are not served."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1003})
        return
    while (message := await receive())["type"] != "lifespan.shutdown":
        assert message["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
