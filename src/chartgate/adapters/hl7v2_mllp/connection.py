"""One MLLP connection: frames cut out of its bytes, answers written in their order, and the limits
on what one sender may take of us.
"""

import asyncio
from typing import Protocol, cast

from chartgate.adapters.hl7v2_mllp.tls import Senders, ServerTls
from chartgate.formats.mllp import Deframer, Frame, frame
from chartgate.model.ports import ListenLimits

LINGER_S = 2.0  # for a sender to read an answer that ends the connection


class Port(Protocol):
    """What a connection needs of its listener."""

    limits: ListenLimits
    tls: ServerTls | None

    def admit(self, protocol: "MllpProtocol") -> bool: ...
    def submit(self, protocol: "MllpProtocol", found: Frame, *, closes: bool) -> None: ...
    def unchoked(self, protocol: "MllpProtocol") -> None: ...
    def forget(self, protocol: "MllpProtocol") -> None: ...


class MllpProtocol(asyncio.Protocol):
    """One connection. Frames are cut here; everything else is the listener's."""

    def __init__(self, listener: Port) -> None:
        self._listener = listener
        self._deframer = Deframer(size_bytes_max=listener.limits.message_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._choked = False  # the sender does not read its answers
        self.paused = False
        self.in_flight = 0
        self.begun_at: float | None = None
        self.peer = ""
        self.senders: Senders | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's in all but their base class.
        self._transport = cast(asyncio.Transport, transport)
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        if self._listener.tls is not None:
            self.senders = self._listener.tls.senders_of(transport.get_extra_info("ssl_object"))
        if not self._listener.admit(self):
            self.close()

    def data_received(self, data: bytes) -> None:
        found = self._deframer.feed(data)
        for each in found:
            self._submit(each)
        if not self._deframer.begun:
            self.begun_at = None
        elif found or self.begun_at is None:
            self.begun_at = self._loop.time()

    def eof_received(self) -> bool:
        self.finish()
        # What is queued still gets its answer, then `answered` closes. TLS knows no half-closed
        # connection: who ends it there and waits on finds the same answer by sending again.
        return self._listener.tls is None

    def connection_lost(self, exc: Exception | None) -> None:
        self.finish()
        self._transport = None
        self._listener.forget(self)

    def pause_writing(self) -> None:
        self._choked = True
        self.pause()

    def resume_writing(self) -> None:
        self._choked = False
        self._listener.unchoked(self)

    def finish(self) -> None:
        """No more bytes will come: what is left is a part, or lacks only its CR."""
        for found in self._deframer.finish():
            self._submit(found, closes=True)
        self._deframer.broken = True
        self.begun_at = None
        if self.in_flight == 0:
            self.close()

    def stop(self) -> None:
        """We stop: nothing more is read, and the line closes once all is answered. A part of a
        frame is dropped, since its sender was never told that we have it."""
        self.pause()
        self._deframer.broken = True
        self.begun_at = None
        if self.in_flight == 0:
            self.close()

    def answered(self, answer: bytes | None, *, closes: bool) -> None:
        """Sends one answer, if any; an empty one closes without."""
        self.in_flight -= 1
        if self._transport is None:
            return
        if answer:
            self._transport.write(frame(answer))
        if closes and answer:
            self._hang_up()
        elif closes or answer == b"" or (self._deframer.broken and self.in_flight == 0):
            self.close()

    def take_no_more(self) -> None:
        """What still comes is not looked at; the line ends with an answer that is on its way."""
        self._deframer.broken = True

    def close(self) -> None:
        """Closes once what was written has left."""
        self._deframer.broken = True
        if self._transport is not None:
            self._transport.close()

    def _hang_up(self) -> None:
        """Closes our side, and reads on for a while: to close at once on a sender who is still
        writing would take our answer from them."""
        self._deframer.broken = True
        if self._transport is not None:
            if self._transport.can_write_eof():  # TLS cannot
                self._transport.write_eof()
            self._loop.call_later(LINGER_S, self.close)

    def pause(self) -> None:
        """Stops reading; the sender feels it as a late answer."""
        if self._transport is not None and not self.paused and not self._transport.is_closing():
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads on, unless the sender does not read."""
        if not self.paused or self._choked:
            return
        if self.in_flight >= self._listener.limits.in_flight_max:
            return
        if self._transport is not None and not self._transport.is_closing():
            self.paused = False
            self._transport.resume_reading()
            if self.begun_at is not None:  # the pause was ours, not the sender's
                self.begun_at = self._loop.time()

    def _submit(self, found: Frame, *, closes: bool = False) -> None:
        self.in_flight += 1
        self._listener.submit(self, found, closes=closes or bool(found.flaw))
