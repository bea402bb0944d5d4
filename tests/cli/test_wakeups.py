"""NOTIFY wakes who waits; a connection that is lost comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chartgate.cli import wakeups as module
from chartgate.cli.wakeups import CHANNEL, Wakeups, listen_for_work
from chartgate.store.database import Database


@asynccontextmanager
async def listening(database: Database) -> AsyncIterator[Wakeups]:
    wakeups = Wakeups()
    task = asyncio.create_task(listen_for_work(database, wakeups))
    async with asyncio.timeout(5):
        await wakeups.next().wait()  # it says once that it listens
    try:
        yield wakeups
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def notify(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(f"NOTIFY {CHANNEL}")


async def test_notify_wakes_everyone_who_waits(database: Database) -> None:
    async with listening(database) as wakeups:
        woken = [wakeups.next(), wakeups.next()]
        assert not woken[0].is_set()
        async with asyncio.timeout(5):
            await notify(database)
            await asyncio.gather(*(event.wait() for event in woken))
        assert not wakeups.next().is_set(), "the next one waits anew"


async def test_lost_connection_comes_back_by_itself(
    database: Database, postgres_admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALIVE_EVERY_S", 0.02)
    monkeypatch.setattr(module, "RECONNECT_S", 0.02)
    async with listening(database) as wakeups:
        name = await database.fetch_value("SELECT current_database() WHERE $1 <> ''")
        again = wakeups.next()
        await postgres_admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        async with asyncio.timeout(5):
            await again.wait()
        woken = wakeups.next()
        async with asyncio.timeout(5):
            await notify(database)
            await woken.wait()


async def test_error_that_nobody_expected_does_not_end_the_listening(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECONNECT_S", 0.01)
    listen_on = module._listen_on
    failures = iter([ValueError("x"), KeyError("y")])

    async def failing(connection: Any, wakeups: Wakeups) -> None:
        for failure in failures:
            raise failure
        await listen_on(connection, wakeups)

    monkeypatch.setattr(module, "_listen_on", failing)
    async with listening(database) as wakeups:
        woken = wakeups.next()
        async with asyncio.timeout(5):
            await notify(database)
            await woken.wait()


async def test_told_to_end_while_the_store_goes_away_it_ends(
    database: Database, postgres_admin: Any
) -> None:
    """What its clean-up meets must not take the place of the cancellation."""
    wakeups = Wakeups()
    woken = wakeups.next()
    task = asyncio.create_task(listen_for_work(database, wakeups))
    name = await database.fetch_value("SELECT current_database() WHERE $1 <> ''")
    async with asyncio.timeout(5):
        await woken.wait()
    await postgres_admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
    )
    task.cancel()
    ended, _ = await asyncio.wait([task], timeout=2)
    assert ended
    assert task.cancelled()
