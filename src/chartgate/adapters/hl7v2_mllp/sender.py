"""The MLLP client: one connection a lane, one message at a time, an answer that names it.

An acknowledgement with another control id is not ours: it is counted, and the wait goes on. Where
no usable answer comes, the connection is closed before the error is told, so that whatever the
receiver still says about this try ends there and is never taken for an answer to the next.

In enhanced mode two answers name a message: that it is in safe storage (CA), and what the
application did with it, which is itself a message and may ask to be acknowledged.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import cast

import structlog

from chartgate.adapters.egress import (
    AddressRefused,
    AddressRules,
    check_revocations,
    resolve_checked,
)
from chartgate.adapters.hl7v2_mllp.destination import Destination
from chartgate.clock import Clock, utc_now
from chartgate.errors import OutcomeUnknown, SourceUnreachable
from chartgate.formats.hl7v2 import read_header
from chartgate.formats.hl7v2_ack import acknowledge, conditions_of, control_id_of, is_wanted
from chartgate.formats.hl7v2_answer import read_answer
from chartgate.formats.mllp import FS, Deframer, Frame, frame
from chartgate.model.ports import LastLook

LOG = structlog.get_logger()
ACK_BYTES_MAX = 1024 * 1024  # an acknowledgement is some hundred bytes
STRAYS_MAX = 100  # acknowledgements of others during one wait; then the peer talks nonsense
CR_GRACE_S = 0.2  # for the CR of receivers that forget it
CLOSE_S = 2.0  # for a closing connection to be gone
SAY_CLOSED = "the destination closed the connection without an acknowledgement"
SAY_GARBAGE = "what the destination answered is no acknowledgement"


class _Link(asyncio.Protocol):
    """One connection. It always listens, so it knows at once when the peer has gone."""

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._deframer = Deframer(size_bytes_max=ACK_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._wanted = b""
        self._answer: asyncio.Future[bytes] | None = None
        self._applied: asyncio.Future[bytes] | None = None  # what the application says, if awaited
        self.closed = asyncio.Event()
        self.strays = 0  # of the wait under way
        self.is_taken = False  # the message is in safe storage, by the wait under way

    @property
    def is_usable(self) -> bool:
        """Whether the peer is there and has said nothing that cannot be understood."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self._deframer.broken

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's in all but their base class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._grace is not None:
            self._grace.cancel()
        for found in self._deframer.feed(data):
            self._take(found)
        if self._deframer.begun and data.endswith(FS):
            self._grace = self._loop.call_later(CR_GRACE_S, self._end_frame)

    def eof_received(self) -> bool:
        self._end_frame()
        return False  # closes

    def connection_lost(self, exc: Exception | None) -> None:
        if self._grace is not None:
            self._grace.cancel()
        self._transport = None
        self._fail(SAY_CLOSED)
        self.closed.set()

    def ask(self, content: bytes, control_id: bytes) -> asyncio.Future[bytes]:
        """Writes the message; the acknowledgement that names `control_id` will come."""
        assert self._transport is not None, "looked at before"
        assert self._answer is None or self._answer.done(), "one message at a time"
        self._wanted, self.strays, self.is_taken = control_id, 0, False
        self._answer = self._loop.create_future()
        self._transport.write(frame(content))
        return self._answer

    def await_application(self) -> asyncio.Future[bytes]:
        """What the application will say of the message that is asked about next. To be called
        before `ask`, since both answers may come at once."""
        self._applied = self._loop.create_future()
        return self._applied

    def reply(self, content: bytes) -> None:
        """Answers a message of the peer's own, if the peer is still there."""
        if self.is_usable:
            assert self._transport is not None, "usable"
            self._transport.write(frame(content))

    def abort(self) -> None:
        """Closes at once; nothing that is still to be written leaves."""
        if self._transport is not None:
            self._transport.abort()

    def _end_frame(self) -> None:
        """No CR will come: what ends in FS is whole all the same."""
        left = self._deframer.finish()
        self._deframer = Deframer(size_bytes_max=ACK_BYTES_MAX)
        for found in left:
            self._take(found)

    def _take(self, found: Frame) -> None:
        answer = None if found.flaw else read_answer(found.content)
        waiting = self._answer is not None and not self._answer.done()
        if answer is None:
            self._deframer.broken = True
            self._fail(SAY_GARBAGE)
        elif waiting and answer.control_id == self._wanted:
            assert self._answer is not None, "looked at above"
            self._answer.set_result(found.content)
            self.is_taken = answer.code == "CA"
            if self._awaits_application and not answer.code.startswith("C"):
                assert self._applied is not None, "looked at above"
                self._applied.set_result(found.content)
        elif self._awaits_application and answer.control_id == self._wanted:
            assert self._applied is not None, "looked at above"
            self._applied.set_result(found.content)
        else:
            self.strays += 1
            LOG.warning("mllp.stray_acknowledgement", connection=self._connection)
            if self.strays > STRAYS_MAX:
                self._deframer.broken = True
                self._fail("too many acknowledgements came that name other messages")

    @property
    def _awaits_application(self) -> bool:
        return self._applied is not None and not self._applied.done()

    def _fail(self, sentence: str) -> None:
        for awaited in (self._answer, self._applied):
            if awaited is not None and not awaited.done():
                awaited.set_exception(OutcomeUnknown(sentence))
                awaited.exception()  # the wait may have been given up: never "not retrieved"


class Sender:
    """Transmitter: the connections to one destination, by lane."""

    def __init__(
        self,
        connection: str,
        destination: Destination,
        *,
        egress: AddressRules,
        clock: Clock = utc_now,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._destination = destination
        self._egress = egress
        self._links: dict[str, _Link] = {}
        self.strays = 0  # acknowledgements that named another message, since the start

    @property
    def timeout_s(self) -> float:
        """How long one `send` takes at most."""
        there = self._destination
        return there.connect_timeout_s + there.ack_timeout_s + CLOSE_S

    async def send(
        self, raw: bytes, *, control_id: str, lane: str, last_look: LastLook | None = None
    ) -> bytes:
        """See `Transmitter.send`."""
        link = await self._ready(lane, last_look)
        async with self._watched(link, lane):
            async with asyncio.timeout(self._destination.ack_timeout_s):
                return await link.ask(raw, control_id.encode())

    async def send_for_both(
        self, raw: bytes, *, control_id: str, lane: str, last_look: LastLook | None = None
    ) -> tuple[bytes, bytes]:
        """As `send`, in enhanced mode, and then what the application says. Both are the same where
        it says so at once, or where the message was not taken.

        Raises as `send`; OutcomeUnknown also where the application says nothing in time.
        """
        link = await self._ready(lane, last_look)
        applied = link.await_application()
        async with self._watched(link, lane):
            async with asyncio.timeout(self._destination.ack_timeout_s):
                first = await link.ask(raw, control_id.encode())
            if not link.is_taken:
                return first, first
            async with asyncio.timeout(self._destination.application_timeout_s):
                second = await applied
            self._acknowledge(link, second)
            return first, second

    async def _ready(self, lane: str, last_look: LastLook | None) -> _Link:
        """The connection of a lane, after the last look. Raises SourceUnreachable."""
        try:
            self._egress.check_open()
        except AddressRefused as refused:
            raise SourceUnreachable(str(refused.strerror)) from None
        link = self._links.get(lane)
        if link is None or not link.is_usable:
            await self.hang_up(lane)
            link = self._links[lane] = await self._connect()
        if last_look is not None:
            await last_look()
            if not link.is_usable:
                await self.hang_up(lane)
                raise SourceUnreachable("the destination closed the connection; nothing was sent")
        return link

    @asynccontextmanager
    async def _watched(self, link: _Link, lane: str) -> AsyncIterator[None]:
        """Ends the connection where no usable answer comes. Raises OutcomeUnknown."""
        try:
            yield
        except TimeoutError:
            await self.hang_up(lane)
            raise OutcomeUnknown(self._silence(link)) from None
        except BaseException:
            await self.hang_up(lane)
            raise
        finally:
            self.strays += link.strays

    def _acknowledge(self, link: _Link, content: bytes) -> None:
        """An application's acknowledgement is a message, and may ask whether it came."""
        header = read_header(content)
        conditions = conditions_of(header) if header else None
        if header is not None and conditions and is_wanted(conditions.accept, success=True):
            control_id = control_id_of(sha256(b"accept" + content).digest())
            at = self._clock()
            link.reply(acknowledge(header, "CA", control_id=control_id, at=at, complaint=None))

    async def hang_up(self, lane: str) -> None:
        """Closes the connection of a lane, if there is one; it is closed on return."""
        link = self._links.pop(lane, None)
        if link is None:
            return
        link.abort()
        try:
            async with asyncio.timeout(CLOSE_S):
                await link.closed.wait()
        except TimeoutError:
            LOG.warning("mllp.not_closed", connection=self._connection)

    async def close(self) -> None:
        """Closes every connection."""
        for lane in tuple(self._links):
            await self.hang_up(lane)

    async def _connect(self) -> _Link:
        there = self._destination
        place = f"{there.host}:{there.port}"
        context = there.tls_context()
        if context is not None:
            check_revocations(context, self._egress)
        try:
            async with asyncio.timeout(there.connect_timeout_s):
                found = await resolve_checked(self._egress, there.host, there.port)
                return await self._connect_first([one["host"] for one in found], context)
        except TimeoutError:
            raise SourceUnreachable(
                f"{place} did not take the connection within {there.connect_timeout_s:g} s"
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise SourceUnreachable(
                f"the certificate of {place} does not hold: {error.verify_message}"
            ) from error
        except AddressRefused as refused:
            raise SourceUnreachable(str(refused.strerror)) from None
        except OSError as error:  # those of TLS too
            kind = type(error).__name__
            raise SourceUnreachable(f"{place} cannot be reached ({kind})") from error

    async def _connect_first(
        self, addresses: Sequence[str], context: ssl.SSLContext | None
    ) -> _Link:
        """To the first of the checked addresses that takes it. Raises OSError of the last."""
        there = self._destination
        failed = OSError("the name has no address")
        for address in addresses:
            try:
                _, link = await asyncio.get_running_loop().create_connection(
                    lambda: _Link(self._connection),
                    address,
                    there.port,
                    ssl=context,
                    server_hostname=(there.server_name or there.host) if context else None,
                )
            except OSError as error:
                failed = error
            else:
                return link
        raise failed

    def _silence(self, link: _Link) -> str:
        others = f"; {link.strays} came for other messages" if link.strays else ""
        if link.is_taken:
            within = f"{self._destination.application_timeout_s:g} s"
            return (
                f"it is in safe storage, and the application said nothing within {within}{others}"
            )
        return f"no acknowledgement within {self._destination.ack_timeout_s:g} s{others}"
