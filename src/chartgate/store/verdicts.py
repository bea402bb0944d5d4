"""What the last probe of each connection found out. Without it, writes are off."""

from collections.abc import Sequence
from datetime import datetime

from chartgate.model.audit import AuditEvent
from chartgate.model.verdict import DatedVerdict, Verdict, Verdicts
from chartgate.store.database import Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("verdicts.sql")


class VerdictStore:
    """Verdicts by connection and line."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, connection: str) -> Verdicts:
        """The verdicts on one connection; empty if it was never probed."""
        rows = await self._database.fetch(QUERIES["select_verdicts"], connection)
        return {row["line"]: (row["holds"], row["detail"]) for row in rows}

    async def kept(self) -> tuple[DatedVerdict, ...]:
        """All verdicts on all connections, each with when it was found."""
        rows = await self._database.fetch(QUERIES["select_kept_verdicts"])
        return tuple(
            DatedVerdict(
                connection=row["connection"],
                line=row["line"],
                holds=row["holds"],
                detail=row["detail"],
                probed_at=row["probed_at"],
            )
            for row in rows
        )

    async def put(
        self,
        connection: str,
        verdicts: Sequence[Verdict],
        *,
        probed_at: datetime,
        audit: AuditEvent,
    ) -> None:
        """Replaces all that was known of a connection: a line that is no longer tried is gone."""
        tenant = self._database.tenant
        async with self._database.change(audit) as transaction:
            await transaction.execute(QUERIES["delete_verdicts"], tenant, connection)
            await transaction.execute(
                QUERIES["insert_verdicts"],
                tenant,
                connection,
                [verdict.line for verdict in verdicts],
                [verdict.holds for verdict in verdicts],
                [verdict.detail for verdict in verdicts],
                probed_at,
            )
