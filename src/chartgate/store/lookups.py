"""Looking up current copies for many readers in one query.

Under load the look-ups that arrive while one query runs share the next: one round trip and one
pooled connection serve them all.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from chartgate.errors import ChartgateError, Unavailable
from chartgate.store.database import Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("lookups.sql")
AT_ONCE_MAX = 200  # look-ups in one query


@dataclass(frozen=True, kw_only=True, slots=True)
class Current:
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
        """Lives while somebody waits."""
        while self._waiting:
            batch = self._waiting[:AT_ONCE_MAX]
            del self._waiting[:AT_ONCE_MAX]
            try:
                found = await self._select([wanted for wanted, _ in batch])
            except ChartgateError as error:
                _fail(batch, error)
            except BaseException as error:
                _fail(batch, Unavailable("the record cannot be read", operator_detail=repr(error)))
                raise
            else:
                for position, (_, future) in enumerate(batch):
                    if not future.done():
                        future.set_result(found.get(position))

    async def _select(self, wanted: list[Wanted]) -> dict[int, Current]:
        connections, types, ids, known = zip(*wanted, strict=True)
        rows = await self._database.fetch(
            QUERIES["select_current_many"],
            list(range(len(wanted))), connections, types, ids, known,
        )  # fmt: skip
        return {
            position: Current(version=version, digest=digest, as_of=as_of, body=body)
            for position, version, digest, as_of, body in rows
        }


def _fail(batch: list[Waiting], error: ChartgateError) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(type(error)(str(error), operator_detail=error.operator_detail))
