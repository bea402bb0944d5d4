"""The audit writer: commits the events of many reads at once, and each read waits for its own.

Reads have no transaction of their own, and a commit for each would cost a disk sync for each.
So one task takes all that has queued up while the last commit was under way. There is no
artificial delay: a lone read is committed at once, and a crowd shares its commits. (Two batches
in flight were measured to be slower: the batches get smaller.)
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from chartgate.errors import Moved, Unavailable
from chartgate.model.audit import AuditEvent
from chartgate.model.disclosure import Shown
from chartgate.model.interaction import Interaction, Seen
from chartgate.store.database import Connection, Database
from chartgate.store.disclosures import Snapshots
from chartgate.store.origin import leaf_of, spaced
from chartgate.store.queries import load_queries

QUERIES = load_queries("audit.sql")

# What means that the connection or the server is gone, rather than that an event was refused.
# What is taken for the record's current copy: connection, type, id, digest.
Still = tuple[str, str, str, bytes]

LOSSES = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    OSError,
    TimeoutError,
)

SAY_LOST = "the audit trail cannot be written, so nothing is answered; try again shortly"
SAY_FULL = "more events wait for the audit trail than it may hold; try again shortly"
SAY_OUT_OF_DATE = "the record changed just now, so nothing was answered; try again"
SAY_CLOSED = "the audit trail is closed; nothing is answered"


@dataclass(slots=True, frozen=True)
class _Entry:
    """What one `record` call wants committed, and who waits for it."""

    event: AuditEvent
    leaf: bytes
    seen: Sequence[Seen]
    opened: Interaction | None
    disclosed: Shown | None
    still: Still | None
    committed: asyncio.Future[int]


class AuditWriter:
    """Commits read events in batches. One a process; `start` it before use."""

    def __init__(
        self,
        database: Database,
        *,
        batch_max: int = 500,
        queue_max: int = 10_000,
        wait_max_s: float = 2.0,
    ) -> None:
        """No caller waits longer than `wait_max_s`, and no more than `queue_max` wait at once."""
        self._database = database
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._wait_max_s = wait_max_s
        self._queue: deque[_Entry] = deque()
        self._queued = asyncio.Event()
        self._open = False
        self._task: asyncio.Task[None] | None = None
        self._snapshots = Snapshots(database.vault)
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """The epoch of the last commit; what was kept from before it may not hold any more."""
        return self._epoch

    @property
    def queued(self) -> int:
        """How many events wait for their commit."""
        return len(self._queue)

    @property
    def is_open(self) -> bool:
        """Whether events are taken."""
        return self._open

    async def start(self) -> None:
        """Starts the writer's task."""
        assert self._task is None, "started twice"
        self._open = True
        self._task = asyncio.create_task(self._run(), name="audit-writer")

    async def close(self) -> None:
        """Commits what is queued, at most as long as one caller may wait, then stops."""
        self._open = False
        self._queued.set()
        if self._task:
            await asyncio.wait([self._task], timeout=self._wait_max_s)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        _fail(self._take(len(self._queue)), Unavailable(SAY_CLOSED))

    async def record(
        self,
        event: AuditEvent,
        *,
        seen: Sequence[Seen] = (),
        opened: Interaction | None = None,
        disclosed: Shown | None = None,
        still: Still | None = None,
    ) -> int:
        """Returns once the event, its read set and the new interaction are committed: the epoch
        (see governance.py) at which they were.

        Raises Unavailable if they are not known to be, and Moved if `still` is not the record's
        current copy then. They may be in the ledger, which then says that we were about to
        answer: the safe way to be wrong.
        """
        assert event.interaction or not (seen or disclosed), "a read set without an interaction"
        if not self._open:
            raise Unavailable(SAY_CLOSED)
        if self._database.proven:
            await self._database.proven()
        if len(self._queue) >= self._queue_max:
            raise Unavailable(SAY_FULL)
        leaf = leaf_of(event, tenant=self._database.tenant)
        committed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.append(_Entry(event, leaf, seen, opened, disclosed, still, committed))
        self._queued.set()
        try:
            async with asyncio.timeout(self._wait_max_s):
                epoch = await committed
        except TimeoutError:
            raise Unavailable(SAY_LOST, operator_detail="audit: commit took too long") from None
        self._database.refusals.note((event,))
        return epoch

    async def _run(self) -> None:
        while await self._something_queued():
            try:
                async with self._database.connection() as connection:
                    while await self._something_queued():
                        if batch := self._take(self._batch_max):
                            await self._commit(connection, batch)
            except Exception as error:  # noqa: BLE001  the top of a loop that must go on
                self._snapshots.forget()  # the store may come back as an older copy of itself
                _fail(self._take(len(self._queue)), _lost(error))

    async def _something_queued(self) -> bool:
        """Waits until there is work; False once the writer is closed and has none left."""
        while self._open and not self._queue:
            self._queued.clear()
            await self._queued.wait()
        return bool(self._queue)

    async def _commit(self, connection: Connection, batch: Sequence[_Entry]) -> None:
        """Commits one batch and tells its callers. Raises what means that the connection is
        of no use any more."""
        try:
            epoch, out_of_date = await self._insert(connection, batch)
        except Exception as error:
            if isinstance(error, LOSSES) or connection.is_closed():
                _fail(batch, _lost(error))
                connection.terminate()  # its state is unknown: never back into the pool
                raise
            await self._commit_singly(connection, batch, error)
        except asyncio.CancelledError:
            _fail(batch, Unavailable(SAY_CLOSED))
            raise
        else:
            _fail([batch[position] for position in out_of_date], Moved(SAY_OUT_OF_DATE))
            for entry in batch:
                if not entry.committed.done():
                    entry.committed.set_result(epoch)

    async def _commit_singly(
        self, connection: Connection, batch: Sequence[_Entry], error: Exception
    ) -> None:
        """The batch was refused, so nothing of it is in. One bad event must not take its
        neighbours with it."""
        if len(batch) == 1:
            _fail(batch, _lost(error))
            return
        for entry in batch:
            await self._commit(connection, [entry])

    async def _insert(
        self, connection: Connection, batch: Sequence[_Entry]
    ) -> tuple[int, Sequence[int]]:
        """One round trip, one commit. The epoch, and whose `still` does not hold."""
        events = [entry.event for entry in batch]
        answered = [
            (number, entry.event.interaction or "", entry.event.recorded, entry.disclosed)
            for number, entry in enumerate(batch, start=1)
            if entry.disclosed is not None
        ]
        disclosed, stored = await self._snapshots.columns(connection, answered)
        row = await connection.fetchrow(
            QUERIES["record_reads"],
            self._database.tenant,
            [e.recorded for e in events],
            [e.action for e in events],
            [e.agent for e in events],
            [e.patient for e in events],
            [e.outcome.value for e in events],
            [entry.leaf for entry in batch],
            *_read_set_columns(batch),
            *_interaction_columns(batch),
            [e.site for e in events],
            [spaced(e.patients) for e in events],
            *disclosed,
            *_still_columns(batch),
            timeout=self._wait_max_s,
        )
        epoch: int = row["epoch"]
        self._snapshots.stored(stored)
        if epoch != self._epoch:  # somebody may have been erased
            self._epoch = epoch
            self._database.vault.forget()
        return epoch, row["out_of_date"]

    def _take(self, count_max: int) -> list[_Entry]:
        queue = self._queue
        return [queue.popleft() for _ in range(min(count_max, len(queue)))]


def _read_set_columns(batch: Sequence[_Entry]) -> Iterator[list[object]]:
    rows = [(entry.event.interaction, seen) for entry in batch for seen in entry.seen]
    yield [interaction for interaction, _ in rows]
    yield [seen.reference for _, seen in rows]
    yield [seen.version for _, seen in rows]
    yield [seen.digest for _, seen in rows]
    yield [seen.as_of for _, seen in rows]
    yield [seen.search for _, seen in rows]


def _interaction_columns(batch: Sequence[_Entry]) -> Iterator[list[object]]:
    opened = [entry.opened for entry in batch if entry.opened]
    yield [interaction.id for interaction in opened]
    yield [interaction.client for interaction in opened]
    yield [interaction.charter for interaction in opened]
    yield [interaction.site for interaction in opened]
    yield [interaction.started_at for interaction in opened]


def _still_columns(batch: Sequence[_Entry]) -> Iterator[list[object]]:
    rows = [(number, *entry.still) for number, entry in enumerate(batch) if entry.still]
    return ([row[place] for row in rows] for place in range(5))


def _lost(error: Exception) -> Unavailable:
    """Names the kind of error only: PostgreSQL's own words may quote a row."""
    detail = error.operator_detail if isinstance(error, Unavailable) else type(error).__name__
    return Unavailable(SAY_LOST, operator_detail=f"audit: {detail}")


def _fail(entries: Sequence[_Entry], error: Unavailable | Moved) -> None:
    for entry in entries:
        with suppress(asyncio.InvalidStateError):
            entry.committed.set_exception(error)
            entry.committed.exception()  # its caller may have gone: never "not retrieved"
