"""The simulated network and EHR: the sample hospital's own logic, reached without a socket.

A `SimSession` stands where aiohttp's would. What befalls a request is drawn from the seed, the
request and how often it was made, not from the order in which requests happen to be made, so that
the same seed gives the same trace.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from chartgate.demo.hospital.app import HospitalApp
from chartgate.demo.hospital.journal import Effect
from chartgate.model.write import Write
from tests.simulation.store import pass_by

URL_BASE = "http://ehr.sim"
MARKER: ContextVar[str] = ContextVar("marker", default="")  # of the write that is being sent
WRITE_FAULTS = ("refused", "reset", "503", "429", "reset-after", "502-after", "held", "twice")
READ_FAULTS = ("refused", "reset", "503", "429")


@dataclass(kw_only=True)
class Sent:
    """One write as it went over the wire."""

    marker: str  # the proposal, with ".rollback" behind it where it takes back
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    effects: list[Effect] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    @property
    def proposal(self) -> str:
        return self.marker.removesuffix(".rollback")

    @property
    def is_rollback(self) -> bool:
        return self.marker.endswith(".rollback")


@dataclass
class Weather:
    """How bad the network is: shares of requests that go wrong."""

    writes: float = 0.0
    reads: float = 0.0
    kinds: tuple[str, ...] = WRITE_FAULTS


class _Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def readany(self) -> bytes:
        content, self._content = self._content, b""
        return content


@dataclass(frozen=True)
class _Response:
    status: int
    headers: CIMultiDictProxy[str]
    content: _Body

    def close(self) -> None:
        """Nothing to close."""


class SimSession:
    """What the adapter takes for aiohttp's session."""

    def __init__(self, app: HospitalApp, seed: str) -> None:
        self.app = app
        self.weather = Weather()
        self.sent: list[Sent] = []
        self.held: list[Sent] = []  # its sender gave up; it may still arrive
        self.log: list[str] = []
        self.on_write: Any = None  # awaited with each write before it goes out
        self._seed = seed
        self._asked: Counter[str] = Counter()

    @asynccontextmanager
    async def request(
        self, method: str, url: URL, *, headers: Mapping[str, str], data: Any = None, **_: Any
    ) -> AsyncIterator[_Response]:
        """As aiohttp's, for what the adapter gives it."""
        marker = MARKER.get()
        is_write = bool(marker) and method != "GET" and "_search" not in url.path
        body = data if isinstance(data, bytes) else b""
        if data is not None and not isinstance(data, bytes):
            body = b"".join([part async for part in data])  # a failpoint may lie between
        yield await (
            self._write(method, url, headers, body, marker)
            if is_write
            else self._read(method, url, headers, body)
        )

    async def _read(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes
    ) -> _Response:
        await pass_by("read")
        fault = self._drawn(f"{method} {url}", self.weather.reads, READ_FAULTS)
        if fault:
            return _failed(fault)
        status, answer_headers, answer = await self._serve(method, url, headers, body)
        self.log.append(f"{method} {url.path_qs} {status}")
        return _Response(status, answer_headers, _Body(answer))

    async def _write(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes, marker: str
    ) -> _Response:
        sent = Sent(marker=marker, method=method, path=url.path_qs, headers=headers, body=body)
        self.sent.append(sent)
        if self.on_write is not None:
            await self.on_write(sent)
        await pass_by("send")
        fault = self._drawn(f"{method} {marker}", self.weather.writes, self.weather.kinds)
        self.log.append(f"{method} {url.path_qs} {marker} {fault or 'well'}")
        if fault == "held":
            self.held.append(sent)
            raise TimeoutError
        if fault and not fault.endswith("-after") and fault != "twice":
            return _failed(fault)
        response = await self.arrive(sent)
        if fault == "twice":  # somebody on the way sends again what it thinks was lost
            response = await self.arrive(sent)
        await pass_by("sent")
        if fault.endswith("-after"):
            return _failed(fault.removesuffix("-after"))
        return response

    async def arrive(self, sent: Sent) -> _Response:
        """The hospital gets it now."""
        before = len(self.app.journal.effects)
        status, headers, body = await self._serve(
            sent.method, URL(URL_BASE + sent.path, encoded=True), sent.headers, sent.body
        )
        sent.effects += self.app.journal.effects[before:]
        sent.statuses.append(status)
        self.log.append(f"arrived {sent.method} {sent.path} {sent.marker} {status}")
        return _Response(status, headers, _Body(body))

    def _drawn(self, what: str, share: float, kinds: tuple[str, ...]) -> str:
        self._asked[what] += 1
        if not share:
            return ""
        dice = random.Random(f"{self._seed}/{what}/{self._asked[what]}")
        return dice.choice(kinds) if dice.random() < share else ""

    async def _serve(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, CIMultiDictProxy[str], bytes]:
        scope = {
            "method": method,
            "path": url.path,
            "query_string": url.raw_query_string.encode(),
            "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
            "extensions": {},
        }
        said: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            said.append(message)

        await self.app(scope, receive, send)
        answered: CIMultiDict[str] = CIMultiDict(
            (k.decode(), v.decode()) for k, v in said[0]["headers"]
        )
        return said[0]["status"], CIMultiDictProxy(answered), said[1]["body"]


def _failed(fault: str) -> _Response:
    """Raises what aiohttp would, or gives what a broken server says."""
    if fault == "refused":
        raise aiohttp.ConnectionTimeoutError
    if fault == "reset":
        raise aiohttp.ServerDisconnectedError
    headers = CIMultiDict({"Retry-After": "2"}) if fault == "429" else CIMultiDict[str]()
    return _Response(int(fault), CIMultiDictProxy(headers), _Body(b""))


class SimSink:
    """The real sink, which says whose write is on its way."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink

    async def commit(self, write: Write, *, last_look: Any = None) -> Any:
        """As the real one."""
        token = MARKER.set(write.marker)
        try:
            return await self._sink.commit(write, last_look=last_look)
        finally:
            MARKER.reset(token)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)
