"""Break-glasses. They are looked up where they matter, never cached."""

from collections.abc import Sequence
from datetime import datetime

from chartgate.errors import NotFound
from chartgate.model.break_glass import BreakGlass
from chartgate.store.database import Connection, Database, Row
from chartgate.store.queries import load_queries

QUERIES = load_queries("break_glass.sql")
BY_TIME = "rule:time"
SAY_NOT_FOUND = "there is no such break-glass"


class BreakGlassStore:
    """Break-glasses of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tenant = database.tenant

    async def get(self, id_: str) -> BreakGlass:
        """Raises NotFound. The id is a UUID in its text form."""
        row = await self._database.fetch_row(QUERIES["select_break_glass"], id_)
        if row is None:
            raise NotFound(SAY_NOT_FOUND)
        return _glass(row)

    async def listed(
        self,
        *,
        person: str | None = None,
        sites: Sequence[str] | None = None,
        to_review: bool = False,
        limit: int,
    ) -> tuple[BreakGlass, ...]:
        """Those that nobody has reviewed yet first, then the newest."""
        rows = await self._database.fetch(
            QUERIES["select_break_glasses"],
            person,
            list(sites) if sites is not None else None,
            to_review,
            limit,
        )
        return tuple(_glass(row) for row in rows)

    async def insert(self, transaction: Connection, glass: BreakGlass) -> None:
        """Opens it."""
        await transaction.execute(
            QUERIES["insert_break_glass"],
            self._tenant,
            glass.id,
            glass.person,
            glass.site,
            glass.patient,
            glass.code,
            glass.words,
            glass.sealed,
            glass.opened_at,
            glass.ends_at,
            glass.review_due_at,
        )

    async def has_open(self, transaction: Connection, glass: BreakGlass) -> bool:
        """Whether this person has this patient's chart open already."""
        row = await transaction.fetchrow(
            QUERIES["select_active"],
            self._tenant,
            glass.person,
            glass.site,
            glass.patient,
            glass.opened_at,
        )
        return row is not None

    async def opened_since(self, transaction: Connection, person: str, since: datetime) -> int:
        """How many this person opened since then."""
        count: int = await transaction.fetchval(
            QUERIES["count_opened_since"], self._tenant, person, since
        )
        return count

    async def has_same_words(self, transaction: Connection, glass: BreakGlass) -> bool:
        """Whether this person gave the very same reason for this patient before."""
        count: int = await transaction.fetchval(
            QUERIES["count_same_words"],
            self._tenant,
            glass.person,
            glass.site,
            glass.patient,
            glass.words,
        )
        return count > 0

    async def end(self, transaction: Connection, id_: str, *, at: datetime, by: str) -> bool:
        """Ends one before its time. False if it has ended."""
        parameters = (self._tenant, id_, at, by)
        return await transaction.fetchval(QUERIES["end_break_glass"], *parameters) is not None

    async def end_all_of(
        self, transaction: Connection, person: str, *, at: datetime, by: str
    ) -> tuple[BreakGlass, ...]:
        """Ends all of a person's that are open."""
        rows = await transaction.fetch(QUERIES["end_all_of"], self._tenant, person, at, by)
        return tuple(_glass(row) for row in rows)

    async def end_due(self, transaction: Connection, *, now: datetime) -> tuple[BreakGlass, ...]:
        """Notes the end of those whose time is over."""
        rows = await transaction.fetch(QUERIES["end_due"], self._tenant, now, BY_TIME)
        return tuple(_glass(row) for row in rows)

    async def note_overdue(
        self, transaction: Connection, *, now: datetime
    ) -> tuple[BreakGlass, ...]:
        """Those that nobody has looked at in time, each once."""
        rows = await transaction.fetch(QUERIES["note_overdue"], self._tenant, now)
        return tuple(_glass(row) for row in rows)

    async def review(
        self,
        transaction: Connection,
        id_: str,
        *,
        at: datetime,
        by: str,
        finding: str,
        remark: str,
    ) -> bool:
        """False if it was reviewed, has not ended, or is the reviewer's own."""
        parameters = (self._tenant, id_, at, by, finding, remark)
        return await transaction.fetchval(QUERIES["review_break_glass"], *parameters) is not None

    async def seen_under(self, glass: BreakGlass) -> int:
        """How many answers the person got while it was open."""
        until = glass.ended_at or glass.ends_at
        count: int = await self._database.fetch_value(
            QUERIES["count_seen_under"], f"person:{glass.person}", glass.opened_at, until
        )
        return count


def _glass(row: Row) -> BreakGlass:
    return BreakGlass(
        **{k: v for k, v in row.items() if k not in ("tenant", "id")}, id=str(row["id"])
    )
