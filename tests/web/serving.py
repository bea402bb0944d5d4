"""The gateway on a real socket in the test's own event loop, and ways to call it, well or badly."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import uvicorn

from chartgate.flows import tokens
from chartgate.gate import Gate
from chartgate.testing.gates import TestGate
from chartgate.web.app import build_app
from chartgate.web.protocol import LimitedProtocol


@dataclass(frozen=True, kw_only=True)
class Served:
    """A gateway that listens."""

    url: str
    port: int
    http: aiohttp.ClientSession
    opened: TestGate

    @property
    def gate(self) -> Gate:
        return self.opened.gate

    async def bearer(self, client: str = "slot-picker") -> dict[str, str]:
        """Headers with a fresh access token."""
        form = self.opened.token_form(self.opened.assertion(client))
        answer = await tokens.issue(self.gate, form)
        return {"Authorization": f"Bearer {answer['access_token']}"}

    async def raw(self, request: bytes, *, more: bytes = b"", timeout_s: float = 5.0) -> bytes:
        """All that comes back for exactly these bytes, until the server closes or falls silent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            if more:
                await writer.drain()
                writer.write(more)
            answer = b""
            try:
                async with asyncio.timeout(timeout_s):
                    while part := await reader.read(65_536):
                        answer += part
                        if is_whole(answer):
                            break
            except (TimeoutError, ConnectionResetError):
                pass
            return answer
        finally:
            writer.close()


def is_whole(answer: bytes) -> bool:
    """Whether a response with its declared length is all here."""
    head, end, body = answer.partition(b"\r\n\r\n")
    lengths = [
        int(line.partition(b":")[2])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    ]
    return bool(end) and bool(lengths) and len(body) >= lengths[0]


@asynccontextmanager
async def serve(opened: TestGate) -> AsyncIterator[Served]:
    """The whole application on a free port."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(
            build_app(opened.gate),
            http=LimitedProtocol,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            date_header=False,
        )
    )
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listening])
    try:
        async with aiohttp.ClientSession() as http:
            yield Served(url=f"http://127.0.0.1:{port}", port=port, http=http, opened=opened)
    finally:
        server.should_exit = True
        await server.shutdown(sockets=[listening])
