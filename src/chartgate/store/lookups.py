"""Looking up current copies for many readers in one query.

Under load the look-ups that arrive while one query runs share the next: one round trip and one
pooled connection serve them all.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import NamedTuple

from chartgate.errors import ChartgateError
from chartgate.store.database import WAIT_MAX_S, Connection, Database, promptly
from chartgate.store.queries import load_queries

QUERIES = load_queries("lookups.sql")
AT_ONCE_MAX = 200  # look-ups in one query


class Current(NamedTuple):
    """What the record holds of one resource now."""

    version: str
    digest: bytes
    as_of: datetime
    body: bytes | None  # None: the caller said that it holds this digest


Wanted = tuple[str, str, str, bytes | None]  # connection, type, id, known digest
Waiting = tuple[Wanted, "asyncio.Future[Current | None]"]


class Lookups:
    """Shared look-ups of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def current(
        self, connection: str, resource_type: str, id_: str, *, known: bytes | None = None
    ) -> Current | None:
        """The current copy, without its body if its digest is `known`. Raises Unavailable."""
        future: asyncio.Future[Current | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(((connection, resource_type, id_, known), future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer_waiting())
        return await future

    async def _answer_waiting(self) -> None:
        """Lives while somebody waits. The connection goes back only after all are answered, so
        that nobody waits for its clean-up."""
        batch: list[Waiting] = []
        try:
            while self._waiting:  # again: more may come while the connection is given back
                async with self._connection() as connection:
                    while self._waiting:
                        batch = self._waiting[:AT_ONCE_MAX]
                        del self._waiting[:AT_ONCE_MAX]
                        await self._answer(connection, batch)
        except ChartgateError as error:
            _fail([*batch, *self._waiting], error)
            self._waiting.clear()

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
                row = found.get(position)
                future.set_result(row and Current(row[1], row[2], row[3], row[4]))


def _fail(batch: Sequence[Waiting], error: ChartgateError) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(type(error)(str(error), operator_detail=error.operator_detail))
