"""Looking up consents for many readers in one query.

Look-ups that arrive while a query runs share the next one, never the one that runs: what was
committed before somebody asks is seen by whom asks. Nothing is kept between two queries.
"""

import asyncio
from collections.abc import Sequence

from chartgate.errors import Unavailable
from chartgate.store.consents import ConsentStore, Known, Wanted
from chartgate.store.database import SAY_GONE, Database, promptly

AT_ONCE_MAX = 100  # look-ups in one query, each of at most one search's patients

Waiting = tuple[Sequence[Wanted], "asyncio.Future[dict[Wanted, Known]]"]


class ConsentLookups:
    """Shared look-ups of one process."""

    def __init__(self, database: Database) -> None:
        self._store = ConsentStore(database)
        self._waiting: list[Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def known(self, site: str, connection: str, patients: Sequence[str]) -> dict[str, Known]:
        """By patient. Raises Unavailable, also where the store hangs."""
        wanted = [(site, connection, patient) for patient in patients]
        future: asyncio.Future[dict[Wanted, Known]] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer_waiting())
        found = await future
        return {patient: found[(site, connection, patient)] for patient in patients}

    async def _answer_waiting(self) -> None:
        """Lives while somebody waits."""
        batch: list[Waiting] = []
        try:
            while self._waiting:
                batch = self._waiting[:AT_ONCE_MAX]
                del self._waiting[:AT_ONCE_MAX]
                async with promptly():
                    found = await self._store.known([w for wanted, _ in batch for w in wanted])
                for _, future in batch:
                    if not future.done():
                        future.set_result(found)
        except Exception as error:  # noqa: BLE001  the top of a loop: nobody may wait for ever
            detail = getattr(error, "operator_detail", "") or type(error).__name__
            for _, future in [*batch, *self._waiting]:
                if not future.done():
                    future.set_exception(Unavailable(SAY_GONE, operator_detail=detail))
            self._waiting.clear()
