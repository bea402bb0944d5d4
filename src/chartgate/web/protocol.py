"""The HTTP/1.1 protocol of the server, with limits on a request's head.

uvicorn's own has none: a header that never ends would be collected for ever, and a connection
that never sends one would stay open for ever. What cannot be read is refused by the application,
so that it looks like every other refusal and leaves an audit event as they do.
"""

import asyncio
from http import HTTPStatus
from typing import Any, cast

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX = 32_768  # over what limits.check_head allows, so that it can say so politely
HEAD_TIMEOUT_S = 10.0  # from the first byte, or from the connection, to the end of the head


class LimitedProtocol(HttpToolsProtocol):
    """Give it to uvicorn as `http`."""

    def connection_made(self, transport: Any) -> None:
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_refused = False
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        in_head = self._head_timer is not None
        super().data_received(data)
        if in_head and self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
                self.send_400_response("The head of this request is too large.")

    def send_400_response(self, msg: str) -> None:
        """Refuses what cannot be read, and all that follows it on this connection."""
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        self._head_arrived()
        if self.cycle is None or self.cycle.response_complete:
            task = self.loop.create_task(self._refuse())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            return
        # A body went wrong midway: the request that waits for it is told that it ended, and
        # leaves the audit event of its refusal.
        if not self.cycle.response_started:
            self._write(cast(Any, self.app).unreadable())
        self.transport.close()

    async def _refuse(self) -> None:
        self._write(await cast(Any, self.app).refuse_unreadable())
        self.transport.close()

    def _write(self, response: Response) -> None:
        head = [f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}"]
        fields = [*response.raw_headers, (b"connection", b"close")]
        head += [f"{name.decode()}: {value.decode()}" for name, value in fields]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + bytes(response.body))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        self._head_arrived()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
