"""Interactions and their read sets. They are written by the audit writer, with the read's event,
so that what an AI saw and the entry that it saw it are durable together."""

from chartgate.model.interaction import Interaction, Seen
from chartgate.store.database import Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("interactions.sql")


class InteractionStore:
    """Reads interactions of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, id_: str) -> Interaction | None:
        """The interaction with this UUID, if there is one."""
        row = await self._database.fetch_row(QUERIES["select_interaction"], id_)
        return Interaction(id=id_, **row) if row else None

    async def read_set(self, id_: str) -> tuple[Seen, ...]:
        """All that was seen in it, in the order of seeing."""
        rows = await self._database.fetch(QUERIES["select_read_set"], id_)
        return tuple(Seen(**row) for row in rows)
