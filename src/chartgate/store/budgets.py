"""How many patients somebody has met: what a budget of patients counts."""

from collections.abc import Sequence
from datetime import datetime

from chartgate.store.database import Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("budgets.sql")


class BudgetStore:
    """Patients met, by scope: a client under a charter, or one interaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def meet(
        self, scope: str, patients: Sequence[str], *, most: int, since: datetime, now: datetime
    ) -> bool:
        """Notes that these were met, unless the scope would then have met more than `most` in all
        since then; then it notes nothing, and says False. Exact, however many ask at once."""
        tenant = self._database.tenant
        async with self._database.bookkeeping() as transaction:
            await transaction.execute(QUERIES["lock_scope"], tenant, scope)
            others = await transaction.fetchval(
                QUERIES["count_others"], tenant, scope, since, list(patients)
            )
            if others + len(patients) > most:
                return False
            await transaction.execute(QUERIES["upsert_met"], tenant, scope, now, list(patients))
        return True

    async def forget_before(self, at: datetime) -> None:
        """Drops what no budget counts any more."""
        await self._database.bookkeep_row(QUERIES["delete_met_before"], at)
