"""The real PostgreSQL under the simulator, cheap enough for a tenant of its own per seed.

Connections live as long as the simulator and change their tenant between seeds; they are handed
out in a fixed order. A `SimDatabase` can lose the store before or after a commit, and can hold one
worker just before a change, as if its process had been stopped there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from chartgate.errors import Unavailable
from chartgate.model.audit import AuditEvent
from chartgate.store.database import Database
from chartgate.store.vault_keys import MasterKeys

MASTERS = MasterKeys.of(b"a master key for tests, 32 bytes")
QUIET_TURNS = 50  # of the loop, without a question: more than lie between one and the next
KEPT = 1  # connection, by the audit trail between its batches
QUICK = {  # a simulated crash is one of our processes; PostgreSQL's own are for `make chaos`
    "synchronous_commit": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "chartgate.tenant": "-",
}


class SimPool:
    """As asyncpg's pool, as far as `Database` uses it; nothing is asked between two uses."""

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        self._connect = connect
        self._all: list[Any] = []
        self._free: list[Any] = []
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._tenant = ""

    async def serve(self, tenant: str) -> None:
        """From now on all connections are of this tenant."""
        self._tenant = tenant
        self._all = [c for c in self._all if not c.is_closed()]
        self._free = list(self._all)
        for connection in self._all:
            await self._enter(connection)

    async def _enter(self, connection: Any) -> None:
        await connection.execute("SELECT set_config('chartgate.tenant', $1, false)", self._tenant)

    def begun(self) -> None:
        """Somebody asks."""
        self._busy += 1
        if self._busy > KEPT:
            self._idle.clear()

    def ended(self) -> None:
        """Somebody was answered."""
        self._busy -= 1
        if self._busy <= KEPT:
            self._idle.set()

    async def rest(self) -> None:
        """Until no question is under way and none follows: what a stopped process had begun
        beside its stop is over."""
        turns = 0
        while turns < QUIET_TURNS:
            await self._idle.wait()
            await asyncio.sleep(0)
            turns = turns + 1 if self._idle.is_set() else 0

    def acquire(self, *, timeout: float | None = None) -> "_Acquired":
        """A connection, as a context or by await."""
        return _Acquired(self)

    async def take(self) -> Any:
        """A free connection; a new one where all are taken."""
        while self._free:
            connection = self._free.pop()
            if not connection.is_closed():
                return connection
        connection = await self._connect()
        await self._enter(connection)
        self._all.append(connection)
        return connection

    async def release(self, connection: Any) -> None:
        """Gives it back."""
        if not connection.is_closed():
            self._free.append(connection)

    async def close(self) -> None:
        """The connections outlive a database object: a restart of a process costs nothing."""

    def terminate(self) -> None:
        """As `close`."""

    async def end(self) -> None:
        """Closes every connection."""
        for connection in self._all:
            if not connection.is_closed():
                await connection.close()


class _Acquired:
    def __init__(self, pool: SimPool) -> None:
        self._pool = pool
        self._connection: Any = None

    def __await__(self) -> Generator[Any, None, Any]:
        return self._pool.take().__await__()

    async def __aenter__(self) -> Any:
        self._connection = await self._pool.take()
        self._pool.begun()
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        await self._pool.release(self._connection)
        self._pool.ended()


async def open_pool(url: str) -> SimPool:
    """A pool on a migrated database."""
    return SimPool(lambda: asyncpg.connect(url, server_settings=dict(QUICK)))


@dataclass
class Stop:
    """One place at which a victim is held until it is let go."""

    place: str  # "change", "read", "send" or "sent"
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)


VICTIM: ContextVar[Stop | None] = ContextVar("victim", default=None)  # by what it is to be held


async def pass_by(place: str) -> None:
    """Holds a victim at its place, and with it whatever else it does by then, wherever that is: a
    process is stopped as a whole."""
    stop = VICTIM.get()
    if stop is not None and (stop.place == place or stop.reached.is_set()):
        stop.reached.set()
        await stop.let_go.wait()


class Trouble:
    """What the simulator has in store for the next change."""

    def __init__(self) -> None:
        self.lose_store: str = ""  # "before" or "after" the next change

    def lost(self, when: str) -> None:
        """Raises Unavailable where the store goes away now."""
        if self.lose_store == when:
            self.lose_store = ""
            raise Unavailable("the store went away")


class SimDatabase(Database):
    """The real one, with trouble around its changes."""

    def __init__(self, pool: SimPool, tenant: str, trouble: Trouble) -> None:
        super().__init__(pool, tenant=tenant, acquire_timeout_s=5.0, masters=MASTERS)
        self._trouble = trouble

    @asynccontextmanager
    async def change(self, *events: AuditEvent) -> AsyncIterator[Any]:
        """As the real one."""
        await pass_by("change")
        self._trouble.lost("before")
        async with super().change(*events) as transaction:
            yield transaction
        self._trouble.lost("after")

    @asynccontextmanager
    async def change_found(self) -> AsyncIterator[tuple[Any, list[AuditEvent]]]:
        """As the real one."""
        await pass_by("change")
        self._trouble.lost("before")
        async with super().change_found() as found:
            yield found
        self._trouble.lost("after")

    async def change_at_once(self, event: AuditEvent, *steps: Any, otherwise: str) -> Any:
        """As the real one."""
        await pass_by("change")
        self._trouble.lost("before")
        value = await super().change_at_once(event, *steps, otherwise=otherwise)
        self._trouble.lost("after")
        return value
