"""The wire to one FHIR server: authorised, bounded, timed, and careful about what was sent.

Reads may be repeated, within a budget. A write goes out once: aiohttp's own repetition on a
connection that broke is switched off for it, because the first request may have been applied.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import aiohttp
from yarl import URL

from chartgate.adapters.egress import AnswerTooLarge, read_capped
from chartgate.adapters.fhir_r4.auth import BackendServices
from chartgate.adapters.fhir_r4.breaker import Breaker
from chartgate.adapters.fhir_r4.options import FhirOptions
from chartgate.adapters.fhir_r4.throttle import Throttle
from chartgate.errors import Invalid, OutcomeUnknown, SourceUnreachable, Throttled
from chartgate.failpoints import failpoint, is_armed
from chartgate.model.ports import LastLook

FHIR_JSON = "application/fhir+json"
RETRIED = frozenset({500, 502, 503, 504})
RETRY_SHARE = 0.1  # each request earns a tenth of a retry …
RETRY_SAVINGS_MAX = 10.0  # … and at most so many are saved up: an outage is not multiplied
RETRY_PAUSE_S = 0.1


class NotSent(Exception):
    """No connection: the system cannot have seen the request."""


class AnswerLost(Exception):
    """The request went out, or may have, and no whole answer came back."""


class Oversize(AnswerLost):
    """The answer is over the limit; asking again will not make it smaller."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    asked_at: datetime  # before it was sent: what it says was true then or later


class Link:
    """One connection's way to its server."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        options: FhirOptions,
        *,
        name: str,
        auth: BackendServices | None,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self.name = name
        self.base = options.url
        self.breaker = Breaker(
            failures_max=options.breaker_failures,
            cool_off_s=options.breaker_cool_off_s,
            monotonic=monotonic,
        )
        self.throttle = Throttle(cap_s=options.throttle_cap_s, clock=clock, monotonic=monotonic)
        self._session = session
        self._options = options
        self._auth = auth
        self._clock = clock
        self._slots = asyncio.Semaphore(options.concurrency_max)
        self._retry_savings = RETRY_SAVINGS_MAX

    async def read(
        self, path: str, *, headers: Mapping[str, str] | None = None, form: bytes | None = None
    ) -> Answer:
        """A request that changes nothing: GET, or POST of a search form.

        `path` is relative to the base and already encoded. Raises Throttled, SourceUnreachable.
        """
        self._retry_savings = min(RETRY_SAVINGS_MAX, self._retry_savings + RETRY_SHARE)
        method = "GET" if form is None else "POST"
        for tries_left in range(self._options.retries, -1, -1):
            try:
                answer = await self._authorised(method, path, headers, form, once=False)
            except (NotSent, AnswerLost) as error:
                hopeless = isinstance(error, Oversize) or isinstance(error.__cause__, TimeoutError)
                if hopeless or not self._may_retry(tries_left):
                    raise self._silent(str(error)) from error
            else:
                if answer.status not in RETRIED:
                    break
                if not self._may_retry(tries_left):
                    raise self._silent(f"HTTP {answer.status}")
            await asyncio.sleep(RETRY_PAUSE_S * (0.5 + random.random()))
        if answer.status == 429:
            raise self._throttled(self.throttle.wait_s())
        if answer.status >= 500:
            raise self._silent(f"HTTP {answer.status}")
        return answer

    async def write(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        last_look: LastLook | None = None,
    ) -> Answer:
        """A request that may change something: sent once; any answer below 500, and 501, returns.

        Raises Throttled or SourceUnreachable (nothing was done), OutcomeUnknown, and whatever
        `last_look` raises (nothing was done).
        """
        try:
            answer = await self._authorised(
                method, path, headers, body, once=True, last_look=last_look
            )
        except NotSent as error:
            raise self._silent(str(error)) from error
        except AnswerLost as error:
            raise self._unknown(str(error)) from error
        if answer.status == 429:
            raise self._throttled(self.throttle.wait_s())
        if answer.status == 408 or (answer.status >= 500 and answer.status != 501):
            raise self._unknown(f"HTTP {answer.status}")
        return answer

    def _may_retry(self, tries_left: int) -> bool:
        if tries_left == 0 or self._retry_savings < 1.0 or self.breaker.state == "open":
            return False
        self._retry_savings -= 1.0
        return True

    async def _authorised(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        *,
        once: bool,
        last_look: LastLook | None = None,
    ) -> Answer:
        """Sends with a token; on 401 once more with a fresh one (a 401 did nothing)."""
        self._admit()
        try:
            async with self._slot():
                token = await self._auth.token() if self._auth else ""
                answer = await self._send(
                    method, path, headers, body, token, once=once, last_look=last_look
                )
                if answer.status == 401 and self._auth:
                    self._auth.forget(token)
                    token = await self._auth.token()
                    answer = await self._send(
                        method, path, headers, body, token, once=once, last_look=last_look
                    )
        except (NotSent, AnswerLost):
            self.breaker.failed()
            self.throttle.abandoned()
            raise
        except BaseException:
            self.breaker.abandoned()
            self.throttle.abandoned()
            raise
        if answer.status >= 500:
            self.breaker.failed()
        else:
            self.breaker.succeeded()
        self.throttle.note(answer.status, answer.headers)
        return answer

    def _admit(self) -> None:
        wait_s = self.throttle.admit()
        if wait_s:
            raise self._throttled(wait_s)
        wait_s = self.breaker.admit()
        if wait_s:
            self.throttle.abandoned()
            raise SourceUnreachable(
                f"{self.name} did not answer lately; it is tried again in {wait_s:.0f} s",
                operator_detail="circuit breaker open",
            )

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """One of the places for requests under way; waits as long as a request may take."""
        try:
            if self._slots.locked():
                async with asyncio.timeout(self._options.timeout_s):
                    await self._slots.acquire()
            else:
                await self._slots.acquire()
        except TimeoutError:
            raise Throttled(f"too many requests to {self.name} are under way") from None
        try:
            yield
        finally:
            self._slots.release()

    async def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        token: str,
        *,
        once: bool,
        last_look: LastLook | None,
    ) -> Answer:
        """One request on the wire, after the last look. Raises NotSent, AnswerLost, Invalid."""
        sent_headers = {"Accept": FHIR_JSON}
        if token:
            sent_headers["Authorization"] = f"Bearer {token}"
        if headers:
            sent_headers.update(headers)
        _check_path(path)
        slash = "/" if path and not path.startswith("?") else ""
        url = URL(f"{self.base}{slash}{path}", encoded=True)
        asked_at = self._clock()
        if last_look is not None:
            await last_look()  # outside the try: what it raises is not the wire's
        try:
            async with self._session.request(
                method,
                url,
                headers=sent_headers,
                data=_halved(body) if once and body and is_armed("c09") else body,
                allow_redirects=False,
                middlewares=(_no_repetition,) if once else (),
            ) as response:
                if once:
                    failpoint("c10")
                content = b"" if response.status == 304 else await self._content(response)
                return Answer(
                    status=response.status,
                    headers=response.headers,
                    body=content,
                    asked_at=asked_at,
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(type(error).__name__) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise AnswerLost(type(error).__name__) from error

    async def _content(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            return await read_capped(response, self._options.response_bytes_max)
        except AnswerTooLarge as error:
            raise Oversize(str(error)) from None

    def _silent(self, detail: str) -> SourceUnreachable:
        return SourceUnreachable(f"{self.name} did not answer", operator_detail=detail)

    def _unknown(self, detail: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"{self.name} did not say what became of the write", operator_detail=detail
        )

    def _throttled(self, wait_s: float) -> Throttled:
        return Throttled(
            f"{self.name} says to slow down; try again in {wait_s:.0f} s", retry_after_s=wait_s
        )


async def _no_repetition(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Hides a broken connection from aiohttp, which would send a PUT or DELETE again."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise AnswerLost(type(error).__name__) from error


async def _halved(body: bytes) -> AsyncIterator[bytes]:
    middle = len(body) // 2
    yield body[:middle]
    failpoint("c09")
    yield body[middle:]


def _check_path(path: str) -> None:
    """FHIR's pattern of an id lets "." and ".." pass, which servers take for other places.
    Source: RFC 3986, section 5.2.4"""
    if any(part in (".", "..") for part in path.partition("?")[0].split("/")):
        raise Invalid("this id could not be asked for: it stands for another path")
