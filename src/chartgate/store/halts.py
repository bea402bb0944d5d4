"""Halts in force. They are looked up where they matter, never cached."""

from dataclasses import dataclass
from datetime import datetime

from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("halts.sql")

EVERYTHING = "*"


@dataclass(frozen=True, kw_only=True)
class Halt:
    """No new write goes out under `scope`, which is a charter or "*"."""

    scope: str
    reason: str
    halted_by: str
    halted_at: datetime


class HaltStore:
    """Halts of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def in_force(self, charter: str) -> str | None:
        """The reason why nothing under `charter` may be written now; None: it may."""
        reason: str | None = await self._database.fetch_value(QUERIES["select_in_force"], charter)
        return reason

    async def listed(self) -> tuple[Halt, ...]:
        """All halts in force."""
        rows = await self._database.fetch(QUERIES["select_halts"])
        return tuple(Halt(**row) for row in rows)

    async def insert(self, transaction: Connection, halt: Halt) -> None:
        """Puts a halt in force; one on the same scope is replaced."""
        await transaction.execute(
            QUERIES["insert_halt"],
            self._database.tenant,
            halt.scope,
            halt.reason,
            halt.halted_by,
            halt.halted_at,
        )

    async def delete(self, transaction: Connection, scope: str) -> bool:
        """Ends a halt. False if there was none."""
        result: str = await transaction.execute(
            QUERIES["delete_halt"], self._database.tenant, scope
        )
        return result == "DELETE 1"
