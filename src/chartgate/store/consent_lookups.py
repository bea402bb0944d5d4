"""Looking up consents for many readers in one query.

Look-ups that arrive while a query runs share the next one, never the one that runs: what was
committed before somebody asks is seen by whom asks. What was found is kept while the epoch (see
governance.py) stands still, and used for one who was told this epoch by the store just now: every
change of a consent moves it.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from chartgate.errors import Unavailable
from chartgate.store.caches import Bounded
from chartgate.store.consents import ConsentStore, Known, Wanted
from chartgate.store.database import SAY_GONE, Database, promptly

AT_ONCE_MAX = 100  # look-ups in one query, each of at most one search's patients
KEPT_BYTES_MAX = 16_000_000
ENTRY_BYTES = 700  # about what an entry takes beside the consents

Waiting = tuple[Sequence[Wanted], "asyncio.Future[dict[Wanted, Known]]"]


class ConsentLookups:
    """Shared look-ups of one process."""

    def __init__(self, database: Database) -> None:
        self._store = ConsentStore(database)
        self._waiting: list[Waiting] = []
        self._task: asyncio.Task[None] | None = None
        self._kept: Bounded[Wanted, Known] = Bounded(size_max=KEPT_BYTES_MAX)
        self._epoch: int | None = None  # of all that is kept

    async def known(
        self,
        site: str,
        connection: str,
        patients: Sequence[str],
        *,
        epoch: int | None = None,
        since: datetime | None = None,
    ) -> dict[str, Known]:
        """By patient. What is kept will do where the store said `epoch` to who asks, and the
        system of record spoke after `since`. Raises Unavailable, also where the store hangs."""
        wanted = [(site, connection, patient) for patient in patients]
        found = self._remembered(wanted, epoch, since)
        missing = [each for each in wanted if each not in found]
        if missing:
            future: asyncio.Future[dict[Wanted, Known]] = asyncio.get_running_loop().create_future()
            self._waiting.append((missing, future))
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._answer_waiting())
            found |= await future
        return {patient: found[(site, connection, patient)] for patient in patients}

    def _remembered(
        self, wanted: Sequence[Wanted], epoch: int | None, since: datetime | None
    ) -> dict[Wanted, Known]:
        if epoch is None or epoch != self._epoch:
            return {}
        kept = [(each, known) for each in wanted if (known := self._kept.get(each)) is not None]
        return {
            each: known
            for each, known in kept
            if since is None or (known.as_of is not None and known.as_of > since)
        }

    def _keep(self, found: dict[Wanted, Known]) -> None:
        """One query has one epoch. What was kept from another one is forgotten, since it may be
        of somebody who was erased."""
        for wanted, known in found.items():
            if known.epoch != self._epoch:
                self._kept = Bounded(size_max=KEPT_BYTES_MAX)
                self._epoch = known.epoch
            size = ENTRY_BYTES + sum(map(len, (*known.bodies, *known.local)))
            self._kept.put(wanted, known, size=size)

    async def _answer_waiting(self) -> None:
        """Lives while somebody waits."""
        batch: list[Waiting] = []
        try:
            while self._waiting:
                batch = self._waiting[:AT_ONCE_MAX]
                del self._waiting[:AT_ONCE_MAX]
                async with promptly():
                    found = await self._store.known([w for wanted, _ in batch for w in wanted])
                self._keep(found)
                for _, future in batch:
                    if not future.done():
                        future.set_result(found)
        except Exception as error:  # noqa: BLE001  the top of a loop: nobody may wait for ever
            detail = getattr(error, "operator_detail", "") or type(error).__name__
            for _, future in [*batch, *self._waiting]:
                if not future.done():
                    future.set_exception(Unavailable(SAY_GONE, operator_detail=detail))
            self._waiting.clear()
