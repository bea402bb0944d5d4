"""At which stage of its rollout each charter stands."""

from datetime import datetime

from chartgate.model.charter import STAGES, Charter
from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("stages.sql")


class StageStore:
    """Stages of one tenant's charters."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def current(self, charter: Charter) -> str:
        """The stage that was set, or the first of the rollout where none was yet."""
        stage: str | None = await self._database.fetch_value(QUERIES["select_stage"], charter.name)
        if stage is not None:
            return stage
        return charter.rollout[0].name if charter.rollout else STAGES[0]

    async def standing(self, charter: str) -> tuple[str, datetime] | None:
        """The stage that was set and when; None: none was yet."""
        row = await self._database.fetch_row(QUERIES["select_standing"], charter)
        return (row["stage"], row["set_at"]) if row else None

    async def put(
        self, transaction: Connection, charter: str, stage: str, *, set_by: str, at: datetime
    ) -> None:
        """Sets the stage."""
        await transaction.execute(
            QUERIES["upsert_stage"], self._database.tenant, charter, stage, set_by, at
        )
