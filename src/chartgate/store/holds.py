"""Legal holds: what may not be deleted or erased, whatever its age."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chartgate.errors import NotFound
from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries
from chartgate.store.vault import QUERIES as VAULT

QUERIES = load_queries("holds.sql")


@dataclass(frozen=True, kw_only=True)
class Hold:
    """One, in force until it is lifted."""

    id: str
    patient: str | None  # None: everybody
    site: str | None  # None: all
    reason: str
    placed_by: str
    placed_at: datetime
    lifted_by: str | None = None
    lifted_at: datetime | None = None
    lift_reason: str | None = None


class HoldStore:
    """Holds of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, *, lifted: bool = False) -> tuple[Hold, ...]:
        """Those in force, the oldest first; with `lifted` also the others."""
        rows = await self._database.fetch(QUERIES["select_holds"], lifted)
        return tuple(Hold(**{**row, "id": str(row["id"])}) for row in rows)

    async def on_in(self, transaction: Connection, *, patient: str, site: str) -> tuple[str, ...]:
        """Ids of those that hold this patient at this site."""
        tenant = self._database.tenant
        rows = await transaction.fetch(QUERIES["select_holds_on"], tenant, patient, site)
        return tuple(str(row["id"]) for row in rows)

    async def place_in(self, transaction: Connection, hold: Hold) -> None:
        """Waits for what is being erased or deleted; what begins afterwards finds the hold."""
        await transaction.execute(VAULT["hold_writers"], self._database.tenant)
        await transaction.execute(
            QUERIES["insert_hold"],
            self._database.tenant,
            hold.id,
            hold.patient,
            hold.site,
            hold.reason,
            hold.placed_by,
            hold.placed_at,
        )

    async def lift_in(
        self, transaction: Connection, id_: str, *, by: str, at: datetime, reason: str
    ) -> None:
        """Raises NotFound where there is none in force of this id."""
        try:
            number = UUID(id_)
        except ValueError:
            raise NotFound(f"{id_} is no id of a hold") from None
        done = await transaction.execute(
            QUERIES["lift_hold"], self._database.tenant, number, by, at, reason
        )
        if done != "UPDATE 1":
            raise NotFound(f"there is no hold {id_} in force; `chartgate hold list` shows them")
