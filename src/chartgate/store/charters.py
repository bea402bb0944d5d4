"""Every revision of every charter that has run, so that an audit entry's digest leads to a text."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from chartgate.model.audit import AuditEvent
from chartgate.model.charter import Charter
from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("charters.sql")


class CharterStore:
    """Revisions by charter and digest."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self, charters: Sequence[Charter]) -> frozenset[tuple[str, str]]:
        """(name, digest) of those that are kept already."""
        digests = [c.digest for c in charters]
        rows = await self._database.fetch(QUERIES["select_charter_digests"], digests)
        return frozenset((row["charter"], row["digest"]) for row in rows)

    async def keep(
        self,
        charters: Sequence[Charter],
        bodies: Mapping[str, bytes],
        *,
        loaded_at: datetime,
        audit: Sequence[AuditEvent],
    ) -> None:
        """Keeps the revisions; one that is there already stays. `bodies` are by charter."""
        async with self._database.change(*audit) as transaction:
            await self.insert(transaction, charters, bodies, loaded_at=loaded_at)

    async def insert(
        self,
        transaction: Connection,
        charters: Sequence[Charter],
        bodies: Mapping[str, bytes],
        *,
        loaded_at: datetime,
    ) -> None:
        """As `keep`, in a change that does more."""
        for charter in charters:
            await transaction.execute(
                QUERIES["insert_charter_revision"],
                self._database.tenant,
                charter.name,
                charter.digest,
                charter.revision,
                bodies[charter.name],
                loaded_at,
            )
