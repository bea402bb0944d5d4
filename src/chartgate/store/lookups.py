"""Looking up current copies for many readers in one query.

Under load the look-ups that arrive while one query runs share the next: one round trip and one
pooled connection serve them all. That a copy was found to be still current is known here at once,
and written down a moment later for many of them together.

What was found is remembered. Who uses that gives it to the audit writer with the event of the
answer, whose statement looks whether it is so still; so a resource that is read again costs one
round trip, and nothing that is out of date is answered.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from typing import NamedTuple

from chartgate.errors import ChartgateError, Erased, Unavailable
from chartgate.store.caches import Bounded
from chartgate.store.database import SAY_GONE, WAIT_MAX_S, Connection, Database, Row, promptly
from chartgate.store.queries import load_queries
from chartgate.store.record import opened_body

QUERIES = load_queries("lookups.sql")
AT_ONCE_MAX = 200  # look-ups in one query
NOTED_MAX = 5_000  # what is over this is not written down, which costs a later reader a 304
WRITE_DOWN_AFTER_S = 0.25
REMEMBERED_MAX = 20_000
LINGER_S = 0.1  # how long the connection is kept for the next


class Current(NamedTuple):
    """What the record holds of one resource now."""

    version: str
    digest: bytes
    as_of: datetime
    body: bytes | None  # None: the caller said that it holds this digest


class Looked(NamedTuple):
    """What a look-up found, and the epoch (see governance.py) at which it looked."""

    current: Current | None
    epoch: int


Key = tuple[str, str, str]  # connection, type, id
Wanted = tuple[str, str, str, bytes | None]  # connection, type, id, known digest
Waiting = tuple[Wanted, "asyncio.Future[Looked]"]


class Lookups:
    """Shared look-ups of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[Waiting] = []
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._noted: dict[Key, tuple[str, datetime]] = {}
        self._noting: asyncio.Task[None] | None = None
        self._remembered: Bounded[Key, Looked] = Bounded(size_max=REMEMBERED_MAX)

    async def current(
        self, connection: str, resource_type: str, id_: str, *, known: bytes | None = None
    ) -> Looked:
        """The current copy, without its body if its digest is `known`. Raises Unavailable."""
        future: asyncio.Future[Looked] = asyncio.get_running_loop().create_future()
        self._waiting.append(((connection, resource_type, id_, known), future))
        self._arrived.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer_waiting())
        looked = await future
        key = (connection, resource_type, id_)
        if looked.current is not None:
            bare = Looked(looked.current._replace(body=None), looked.epoch)
            self._remembered.put(key, bare)
        return self._as_noted(key, looked)

    def remembered(self, connection: str, resource_type: str, id_: str) -> Looked | None:
        """What the last look-up in this process found, without its body. It may be out of date."""
        key = (connection, resource_type, id_)
        looked = self._remembered.get(key)
        return None if looked is None else self._as_noted(key, looked)

    def forget(self, connection: str, resource_type: str, id_: str) -> None:
        """It was out of date."""
        self._remembered.drop((connection, resource_type, id_))

    def _as_noted(self, key: Key, looked: Looked) -> Looked:
        current, noted = looked.current, self._noted.get(key)
        if current and noted and noted[0] == current.version and noted[1] > current.as_of:
            return Looked(current._replace(as_of=noted[1]), looked.epoch)
        return looked

    def note_current(
        self, connection: str, resource_type: str, id_: str, *, version: str, as_of: datetime
    ) -> None:
        """The system of record said at `as_of` that this version is still the current one."""
        if len(self._noted) < NOTED_MAX:
            self._noted[(connection, resource_type, id_)] = (version, as_of)
        if self._noting is None or self._noting.done():
            self._noting = asyncio.create_task(self._write_down())

    async def _write_down(self) -> None:
        """Lives while something is noted. What is lost on the way costs time, never truth."""
        while self._noted:
            await asyncio.sleep(WRITE_DOWN_AFTER_S)
            batch = sorted(self._noted.items())
            with suppress(ChartgateError):
                async with self._database.bookkeeping() as connection:
                    await connection.execute(
                        QUERIES["touch_current_many"],
                        self._database.tenant,
                        *zip(*((*key, *noted) for key, noted in batch), strict=True),
                    )
            for key, noted in batch:
                if self._noted.get(key) == noted:
                    del self._noted[key]

    async def _answer_waiting(self) -> None:
        """Lives while somebody waits, and a moment longer, as giving the connection back and
        taking it anew would double the cost of a look-up."""
        batch: list[Waiting] = []
        try:
            while self._waiting:  # again: more may come while the connection is given back
                async with self._connection() as connection:
                    while await self._somebody_waits() and not connection.is_closed():
                        batch = self._waiting[:AT_ONCE_MAX]
                        del self._waiting[:AT_ONCE_MAX]
                        await self._answer(connection, batch)
        except Exception as error:  # noqa: BLE001  the top of a loop: nobody may wait for ever
            _fail([*batch, *self._waiting], error)
            self._waiting.clear()

    async def _somebody_waits(self) -> bool:
        """Whether somebody does, now or within `LINGER_S`."""
        if not self._waiting:
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    await self._arrived.wait()
        return bool(self._waiting)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """A connection, or Unavailable once those who wait have waited long enough."""
        async with AsyncExitStack() as stack:
            async with promptly():
                connection = await stack.enter_async_context(self._database.connection())
            yield connection

    async def _answer(self, connection: Connection, batch: Sequence[Waiting]) -> None:
        connections, types, ids, known = zip(*(wanted for wanted, _ in batch), strict=True)
        rows = await connection.fetch(
            QUERIES["select_current_many"],
            self._database.tenant,
            range(len(batch)), connections, types, ids, known,
            timeout=WAIT_MAX_S,
        )  # fmt: skip
        found = {row[0]: row for row in rows}
        for position, (_, future) in enumerate(batch):
            if not future.done():
                self._answer_one(batch[position][0], found[position], future)

    def _answer_one(self, wanted: Wanted, row: Row, future: "asyncio.Future[Looked]") -> None:
        """What was erased is not there."""
        version, digest, as_of, body, epoch, sealed_by, wrapped = row[1:]
        if digest is None:
            future.set_result(Looked(None, epoch))
            return
        try:
            if body is not None:
                body = opened_body(
                    self._database.vault, wanted[:3], digest, body, sealed_by, wrapped
                )
            current = Current(version, digest, as_of, body)
        except Erased:
            future.set_result(Looked(None, epoch))
        except ChartgateError as error:
            future.set_exception(error)
        else:
            future.set_result(Looked(current, epoch))


def _fail(batch: Sequence[Waiting], error: Exception) -> None:
    """Each gets an exception of its own: one shared would collect all their tracebacks."""
    detail = getattr(error, "operator_detail", "") or type(error).__name__
    for _, future in batch:
        if not future.done():
            future.set_exception(Unavailable(SAY_GONE, operator_detail=f"lookup: {detail}"))
