"""NOTIFY to waiting loops: work that was just queued starts at once, not at the next look."""

import asyncio
from typing import Any

from chartgate.errors import ChartgateError
from chartgate.store.database import Database

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

    def on_notify(*_: Any) -> None:
        wakeups.wake()

    while True:
        try:
            async with database.connection() as connection:
                await connection.add_listener(CHANNEL, on_notify)
                try:
                    while not connection.is_closed():
                        await asyncio.sleep(ALIVE_EVERY_S)
                        await connection.execute("SELECT 1")
                finally:
                    if not connection.is_closed():
                        await connection.remove_listener(CHANNEL, on_notify)
        except ChartgateError:
            await asyncio.sleep(RECONNECT_S)
