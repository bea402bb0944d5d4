"""NOTIFY to waiting loops: work that was just queued starts at once, not at the next look."""

import asyncio
from contextlib import suppress
from typing import Any

import structlog
from asyncpg import InterfaceError

from chartgate.cli.faults import is_cancelled, place_of
from chartgate.errors import ChartgateError
from chartgate.store.database import Connection, Database

CHANNEL = "chartgate_work"
RECONNECT_S = 1.0
ALIVE_EVERY_S = 10.0


class Wakeups:
    """Hands out events that the next notification sets."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def next(self) -> asyncio.Event:
        """The event of the next notification; take it before looking for work."""
        return self._event

    def wake(self) -> None:
        """Wakes everyone who waits."""
        event, self._event = self._event, asyncio.Event()
        event.set()


async def listen_for_work(database: Database, wakeups: Wakeups) -> None:
    """Listens until cancelled; connects again by itself. Missing it costs only a poll interval."""
    log = structlog.get_logger()
    while True:
        try:
            async with database.connection() as connection:
                await _listen_on(connection, wakeups)
        except Exception as error:
            if is_cancelled():
                raise
            if not isinstance(error, ChartgateError):  # else the store is away; the loops say so
                log.error("wakeups", error=type(error).__name__, where=place_of(error))
        await asyncio.sleep(RECONNECT_S)


async def _listen_on(connection: Connection, wakeups: Wakeups) -> None:
    def on_notify(*_: Any) -> None:
        wakeups.wake()

    await connection.add_listener(CHANNEL, on_notify)
    wakeups.wake()  # for what was queued while nobody listened
    try:
        while not connection.is_closed():
            await asyncio.sleep(ALIVE_EVERY_S)
            await connection.execute("SELECT 1")
    finally:
        with suppress(InterfaceError):  # it is closed already
            connection.terminate()  # UNLISTEN would wait for a store that may hang
