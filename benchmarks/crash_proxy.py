"""A TCP proxy between Chartgate and the sample hospital that can be cut, by reset or in silence."""

import asyncio
import socket
import struct
from contextlib import suppress

RESET_S = 0.3  # connections are refused so long after a reset
SILENCE_S = 1.5  # longer than a request waits for its answer
CHUNK_BYTES = 65_536
LINGER = struct.pack("ii", 1, 0)  # close with RST


class Proxy:
    """One way to the hospital; `control` is the port at which anybody may cut it, once each."""

    def __init__(self, target: int, *, silent: bool) -> None:
        self._target = target
        self._silent = silent
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._servers: list[asyncio.Server] = []
        self.port = 0
        self.control = 0

    async def start(self) -> None:
        """Listens."""
        for serve in (self._forward, self._told):
            self._servers.append(await asyncio.start_server(serve, "127.0.0.1", 0))
        self.port, self.control = (s.sockets[0].getsockname()[1] for s in self._servers)

    async def stop(self) -> None:
        """Ends all connections."""
        for server in self._servers:
            server.close()
        self._abort()

    async def _told(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._cut = True
        if not self._silent:
            self._abort()
        writer.write(b"ok")
        await writer.drain()
        writer.close()
        await asyncio.sleep(SILENCE_S if self._silent else RESET_S)
        self._abort()  # what was silent is gone, not late
        self._cut = False

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut and not self._silent:
            _reset(writer)
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
            return
        self._writers |= {writer, up_writer}
        await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))
        self._writers -= {writer, up_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while chunk := await reader.read(CHUNK_BYTES):
                if self._cut:
                    continue  # into the void
                writer.write(chunk)
                await writer.drain()
        with suppress(OSError):
            writer.close()

    def _abort(self) -> None:
        for writer in list(self._writers):
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    wire = writer.get_extra_info("socket")
    with suppress(OSError):
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    writer.transport.abort()
