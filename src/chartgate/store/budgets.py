"""How many patients somebody has met: what a budget of patients counts."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("budgets.sql")
KEPT = timedelta(days=90)  # longer than any interaction goes on


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
            await transaction.execute(QUERIES["delete_met_before"], tenant, now - KEPT)
        return True


async def forget_patient(
    transaction: Connection, tenant: str, connections: Sequence[str], patient: str
) -> None:
    """For an erasure: that anybody met this patient."""
    named = [f"{connection}/{patient}" for connection in connections]
    await transaction.execute(QUERIES["delete_met_of"], tenant, named)
