"""The hospital's web side as plain ASGI: routing, tokens, and the faults around each exchange.

Unconditional and conditional reads take a short path when no fault is on: they are the upstream
of the read benchmarks. A protocol of ours hands the transport in (scope["extensions"]), so that a
fault can cut a connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson

from chartgate.clock import Clock
from chartgate.demo.hospital.capability import capability_statement, smart_configuration
from chartgate.demo.hospital.chart import Chart, View
from chartgate.demo.hospital.control import Control
from chartgate.demo.hospital.dress import Dress
from chartgate.demo.hospital.ehr import LETTERS, WRITES, Ehr, Route, check_allowed, route_of
from chartgate.demo.hospital.exchange import (
    FHIR_JSON,
    Answer,
    Headers,
    Refused,
    Request,
    json_answer,
    outcome,
    refusal,
)
from chartgate.demo.hospital.faults import Faults, altered
from chartgate.demo.hospital.journal import Journal, Seen
from chartgate.demo.hospital.lies import (
    heard_strongly,
    with_frozen_etag,
    with_strong_etags,
    without_etag,
)
from chartgate.demo.hospital.oauth import OAuthRefused, RegisteredClient, TokenDesk
from chartgate.demo.hospital.writes import Habits, Writer

BODY_BYTES_MAX = 50 * 1024 * 1024
JSON = b"application/json"
TRANSPORT = "chartgate.transport"
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Cut(Exception):
    """Nothing is answered: the connection is cut."""


class HospitalApp:
    """All routes of the sample hospital."""

    def __init__(
        self,
        chart: Chart,
        *,
        clients: tuple[RegisteredClient, ...],
        url: str,
        clock: Clock,
        dress: Dress | None = None,
    ) -> None:
        self.dress = dress or Dress()
        self.chart = chart
        self.clock = clock
        self.url = url
        self.fhir_url = f"{url}/fhir"
        self.ehr = Ehr(chart, base_url=self.fhir_url)
        self.desk = TokenDesk(clients, clock=clock, token_url=f"{url}/oauth/token")
        self.faults = Faults()
        self.journal = Journal()
        self.control = Control(chart, self.faults, self.journal, self.desk)
        self.late: set[asyncio.TimerHandle] = set()
        self._capability = orjson.dumps(capability_statement(self.fhir_url, url))
        self._smart = orjson.dumps(smart_configuration(url))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path: str = scope["path"]
        quick = scope["method"] == "GET" and path.startswith("/fhir/") and not self.faults.on
        if quick and self.dress.plain and await self._quick_read(path[6:], scope, send):
            return
        headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in scope["headers"]}
        request = Request(
            method=scope["method"],
            path=path.strip("/"),
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
        )
        try:
            request.body = await _body(receive)
            answer = await self._answer(request)
        except Refused as refused:
            answer = refusal(refused, _challenge(refused))
        except Cut:
            scope["extensions"][TRANSPORT].abort()
            while (await receive())["type"] != "http.disconnect":
                pass  # returning sooner would make the server answer 500 for us
            return
        if "x-request-id" in headers:
            answer.headers.append((b"x-request-id", headers["x-request-id"].encode("latin-1")))
        answer.headers.append((b"date", self._date()))
        await _send(answer, send, with_body=request.method != "HEAD")

    def _date(self) -> bytes:
        skew_s = self._hit("clock_skew_s", Route(interaction="")) or 0
        return format_datetime(self.clock() + timedelta(seconds=skew_s), usegmt=True).encode()

    async def _quick_read(self, reference: str, scope: Scope, send: Send) -> bool:
        """Answers a plain read; False if it is anything else, or does not go well."""
        version = self.chart.current.get(reference)
        if version is None or version.resource is None or scope["query_string"]:
            return False
        known = token = b""
        for name, value in scope["headers"]:
            if name == b"if-none-match":
                known = value
            elif name == b"authorization":
                token = value
        if not self.desk.open_to_all and not self._may_read(token, reference):
            return False
        self.journal.counts["read"] += 1
        headers: Headers = list(version.headers)
        body = b""
        status = 304
        if known != version.etag and version.etag not in known.split(b", "):
            status, body = 200, version.content
            headers.append((b"content-type", FHIR_JSON))
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return True

    def _may_read(self, authorization: bytes, reference: str) -> bool:
        grant = self.desk.grant_of(authorization[7:].decode("latin-1"))
        if grant is None or not authorization.startswith(b"Bearer "):
            return False
        letters = grant.allowed.get("*", "") + grant.allowed.get(reference.partition("/")[0], "")
        return "r" in letters

    async def _answer(self, request: Request) -> Answer:
        path = request.path
        if path == "fhir" or path.startswith("fhir/"):
            request.path = path[5:]
            return await self._fhir(request)
        if path == "oauth/token":
            return await self._token(request)
        if path.startswith("control/"):
            return self.control.answer(request)
        if path == "":
            return json_answer(200, {"fhir": self.fhir_url, "control": f"{self.url}/control"})
        raise Refused(404, "not-found", "nothing is served here; FHIR is under /fhir")

    async def _fhir(self, request: Request) -> Answer:
        if request.path == ".well-known/smart-configuration":
            return Answer(status=200, body=self._smart, content_type=JSON)
        arrived = self.clock()
        seen = self._see(request, arrived) if request.method not in ("GET", "HEAD") else None
        try:
            route = route_of(request)
            self.journal.counts[route.interaction] += 1
            await self._before(route)
            if route.interaction == "metadata":
                return Answer(status=200, body=self._capability)
            self._authorise(route, request)
            if seen is not None:
                seen.client = request.client
            self.dress.check(route.interaction, route.resource_type, request)
            await self._race(route, request)
            answer = self._perform(route, self._hear(route, request))
        except Refused as refused:
            answer = refusal(refused, _challenge(refused))
            if seen is not None:
                seen.status = answer.status
            return answer
        if seen is not None:
            seen.status = answer.status
        return await self._after(route, answer)

    def _see(self, request: Request, at: datetime) -> Seen:
        return self.journal.see(
            at=at,
            method=request.method,
            path=request.path,
            request_id=request.headers.get("x-request-id", ""),
            client="",
        )

    async def _before(self, route: Route) -> None:
        """The faults that come before anything is done."""
        wait = self._hit("latency_s", route)
        if wait is not None:
            await asyncio.sleep(wait)
        down = self._hit("down", route)
        if down == "reset":
            raise Cut
        if down is not None:
            raise Refused(503, "transient", "the server is down")
        throttle = self._hit("throttle", route)
        if throttle is not None:
            raise Throttled(self.dress.throttle(throttle if isinstance(throttle, dict) else {}))
        if self._hit("expire_tokens", route) is not None:
            self.desk.expire_all()
        if self._hit("unauthorised", route) is not None:
            raise Refused(401, "expired", "the token has expired")

    def _hear(self, route: Route, request: Request) -> Request:
        """The request as far as this hospital looks at it."""
        if self._hit("strong_etags", route) is not None:
            request = heard_strongly(request)
        return self.dress.hear(request)

    async def _race(self, route: Route, request: Request) -> None:
        """Looks for a match, waits, and then creates without looking again."""
        criteria = request.headers.get("if-none-exist", "")
        if route.interaction != "create" or not criteria:
            return
        wait_s = self._hit("race_s", route)
        if wait_s is None:
            return
        if Writer(self.chart, Habits()).match(route.resource_type, criteria) is None:
            request.headers = {k: v for k, v in request.headers.items() if k != "if-none-exist"}
        await asyncio.sleep(wait_s)

    def _authorise(self, route: Route, request: Request) -> None:
        if self.desk.open_to_all:
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        grant = self.desk.grant_of(token.strip()) if scheme.lower() == "bearer" else None
        if grant is None:
            raise Refused(401, "login", "a valid access token is needed")
        request.client, request.allowed = grant.client_id, grant.allowed
        if route.interaction in LETTERS:
            check_allowed(request, LETTERS[route.interaction], route.resource_type)

    def _perform(self, route: Route, request: Request) -> Answer:
        """Does it now, or says 504 and does it later."""
        late_s = self._hit("apply_late_s", route) if route.interaction in WRITES else None
        if late_s is None:
            return self._apply(route, request)
        loop = asyncio.get_running_loop()

        def apply() -> None:
            self.late.discard(handle)
            try:
                self._apply(route, request)
            except Refused:
                return  # its sender has long been told 504

        handle = loop.call_later(late_s, apply)
        self.late.add(handle)
        raise Refused(504, "timeout", "the server did not answer in time")

    def _apply(self, route: Route, request: Request) -> Answer:
        if route.interaction not in WRITES:
            return self._read(route, request)
        writer = Writer(self.chart, self._habits(route))
        if route.interaction == "transaction" and self.dress.splits_transactions:
            route = replace(route, interaction="batch")
        try:
            stop_after = self._hit("batch_partial", route)
            answer = self.ehr.perform(route, request, writer, stop_after=stop_after)
            if self._hit("forget_writes", route) is not None:
                writer.undo()
            return answer
        finally:
            self.journal.record(
                writer.applied,
                request_id=request.headers.get("x-request-id", ""),
                client=request.client,
            )

    def _read(self, route: Route, request: Request) -> Answer:
        conditional = route.interaction == "read" and "if-none-match" in request.headers
        if conditional and self._hit("always_304", route) is not None:
            return Answer(status=304)
        if route.interaction == "search":
            cached = self.dress.cached(request)
            if cached is not None:
                return replace(cached, headers=list(cached.headers))
        answer = self.ehr.perform(
            route, request, Writer(self.chart, Habits()), view=self._view(route)
        )
        if route.interaction == "search":
            self.dress.keep(request, replace(answer, headers=list(answer.headers)))
        return answer

    def _habits(self, route: Route) -> Habits:
        change = self._hit("change_on_save", route)
        wears = self.dress
        every = frozenset({"update", "patch", "delete"})
        ignored = wears.ignored_if_match(route.interaction)
        if self._hit("ignore_if_match", route) is not None or self._frozen(route):
            ignored = every
        return Habits(
            ignore_if_match=ignored,
            ignore_if_none_exist=self._hit("ignore_if_none_exist", route) is not None
            or wears.ignores_if_none_exist(route.interaction),
            alter=wears.alter if change is None else lambda resource: altered(resource, change),
            if_match_required=wears.says("if_match_required"),
            stale_status=int(wears.lines.get("stale_status", 412)),
            checks_codes=not wears.denies("enforces_required_bindings"),
            keeps_half=self._hit("keep_half", route) is not None,
        )

    def _frozen(self, route: Route) -> bool:
        return self._hit("frozen_etag", route) is not None

    def _view(self, route: Route) -> View | None:
        lag = self._hit("stale_reads", route)
        if lag is None or route.interaction not in ("read", "search"):
            return None
        return self.chart.lagging_view(
            versions=int(lag.get("versions", 0)), seconds=float(lag.get("seconds", 0))
        )

    async def _after(self, route: Route, answer: Answer) -> Answer:
        """The faults that come once it is done."""
        if route.interaction in WRITES:
            hang_s = self._hit("hang_after_applying_s", route)
            if hang_s is not None:
                await asyncio.sleep(hang_s)
            if self._hit("reset_after_applying", route) is not None:
                raise Cut
            status = self._hit("error_after_applying", route)
            if status is not None:
                return json_answer(int(status), outcome("exception", "the server failed"))
        answer = self.dress.show(route.interaction, answer)
        if self._frozen(route):
            answer = with_frozen_etag(answer)
        if self._hit("strong_etags", route) is not None:
            answer = with_strong_etags(answer)
        without = self._hit("no_etag", route)
        return answer if without is None else without_etag(answer, everywhere=without == "all")

    def _hit(self, name: str, route: Route) -> Any:
        return self.faults.hit(name, route.interaction, route.types) if self.faults.on else None

    async def _token(self, request: Request) -> Answer:
        self.journal.counts["token"] += 1
        try:
            await self._before(Route(interaction="token"))
            if request.method != "POST":
                raise Refused(405, "not-supported", "tokens are asked for by POST")
            answer = json_answer(200, self.desk.issue(request.body), content_type=JSON)
        except OAuthRefused as refused:
            told = {"error": refused.code, "error_description": refused.text}
            answer = json_answer(refused.status, told, content_type=JSON)
        answer.headers += [(b"cache-control", b"no-store"), (b"pragma", b"no-cache")]
        return answer


class Throttled(Refused):
    """429, with the header that the fault names."""

    def __init__(self, setting: dict[str, Any]) -> None:
        super().__init__(429, "throttled", "too many requests")
        self.headers: Headers = []
        if "retry_after_s" in setting:
            self.headers.append((b"retry-after", str(setting["retry_after_s"]).encode()))
        if "rate_limit_s" in setting:
            text = f'"fhirInteractions";r=0;t={setting["rate_limit_s"]}'
            self.headers.append((b"ratelimit", text.encode()))


def _challenge(refused: Refused) -> Headers:
    if isinstance(refused, Throttled):
        return refused.headers
    if refused.status == 401:
        return [(b"www-authenticate", b'Bearer realm="sample-hospital", error="invalid_token"')]
    return []


async def _body(receive: Receive) -> bytes:
    """The whole body. Raises Cut if the client went away before its end."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Cut
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_BYTES_MAX:
            raise Refused(413, "too-long", "the body is too large")
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(answer: Answer, send: Send, *, with_body: bool) -> None:
    headers = list(answer.headers)
    if answer.body:
        headers.append((b"content-type", answer.content_type))
    if answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    body = answer.body if with_body and answer.status not in (204, 304) else b""
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
