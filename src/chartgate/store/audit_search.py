"""Searching the audit, and what its reports keep: reviews, accountings and suspensions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from chartgate.model.audit import AuditEvent, Outcome, read_leaf
from chartgate.store.database import Connection, Database, Row
from chartgate.store.queries import load_queries

QUERIES = load_queries("audit_search.sql")

EVER = datetime(1, 1, 2, tzinfo=UTC)
NEVER = datetime(9999, 12, 30, tzinfo=UTC)
ID_MAX = 2**63 - 1
SEARCH_WITHIN_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What is asked of the audit. None leaves open."""

    patient: str | None = None  # "Patient/7"
    agent: str | None = None  # "client:slot-picker"
    action: str | None = None
    outcome: Outcome | None = None
    site: str | None = None
    since: datetime = EVER
    until: datetime = NEVER


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a page ended: the next begins before it."""

    recorded: datetime = NEVER
    id: int = ID_MAX


@dataclass(frozen=True, kw_only=True)
class Found:
    """One event, and its number in the ledger (None: it has none yet)."""

    seq: int | None
    event: AuditEvent
    place: Place
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Activity:
    """How often an agent did something, with what outcome."""

    agent: str
    action: str
    outcome: str
    events: int
    patients: int
    first: datetime
    last: datetime


@dataclass(frozen=True, kw_only=True)
class Review:
    """An activity review that was signed."""

    since: datetime
    until: datetime
    signed_by: str
    signed_at: datetime
    digest: str
    note: str


class AuditSearch:
    """Reads the audit of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tenant = database.tenant

    async def search(
        self, criteria: Criteria, *, before: Place | None = None, count_max: int
    ) -> list[Found]:
        """At most so many events, newest first. Raises Unavailable."""
        place = before or Place()
        async with self._database.connection() as connection, connection.transaction(readonly=True):
            await connection.execute(QUERIES["plan_anew"])
            rows = await connection.fetch(
                QUERIES["search_events"],
                self._tenant,
                criteria.patient,
                criteria.agent,
                criteria.action,
                criteria.outcome.value if criteria.outcome else None,
                criteria.site,
                criteria.since,
                criteria.until,
                place.recorded,
                place.id,
                count_max,
                timeout=SEARCH_WITHIN_S,
            )
        return [_found(row) for row in rows]

    async def activity(self, *, since: datetime, until: datetime) -> list[Activity]:
        """What each agent did."""
        rows = await self._database.fetch(QUERIES["count_by_agent"], since, until)
        return [Activity(**row) for row in rows]

    async def reads_by_hour(
        self, *, since: datetime, until: datetime
    ) -> list[tuple[str, datetime, int]]:
        """How much each agent read or searched in each hour."""
        rows = await self._database.fetch(QUERIES["count_by_agent_and_hour"], since, until)
        return [(row["agent"], row["hour"], row["events"]) for row in rows]

    async def keep_review(self, transaction: Connection, review: Review) -> None:
        """Stores a signature."""
        await transaction.execute(
            QUERIES["insert_review"],
            self._tenant,
            review.since,
            review.until,
            review.signed_by,
            review.signed_at,
            review.digest,
            review.note,
        )

    async def reviews(self, *, since: datetime, until: datetime) -> list[Review]:
        """Signatures of reviews that touch this span."""
        rows = await self._database.fetch(QUERIES["read_reviews"], since, until)
        return [Review(**row) for row in rows]

    async def keep_accounting(
        self,
        transaction: Connection,
        id_: str,
        patient: str,
        span: Sequence[datetime],
        *,
        by: str,
        at: datetime,
        body: bytes,
    ) -> None:
        """Stores an accounting as it is given."""
        await transaction.execute(
            QUERIES["insert_accounting"], self._tenant, UUID(id_), patient, *span, by, at, body
        )

    async def accountings_since(self, patient: str, since: datetime) -> int:
        """How many were given about this patient: the first in twelve months is free."""
        count: int = await self._database.fetch_value(QUERIES["count_accountings"], patient, since)
        return count

    async def accounting(self, id_: str) -> bytes | None:
        """One that was given."""
        body: bytes | None = await self._database.fetch_value(QUERIES["read_accounting"], UUID(id_))
        return body

    async def suspend(
        self,
        transaction: Connection,
        patient: str,
        recipient: str,
        *,
        until: datetime,
        reason: str,
        by: str,
        at: datetime,
    ) -> None:
        """Keeps a recipient out of this patient's accountings until then."""
        await transaction.execute(
            QUERIES["put_suspension"], self._tenant, patient, recipient, until, reason, by, at
        )

    async def suspended(self, patient: str, *, at: datetime) -> dict[str, datetime]:
        """Recipients that this patient is not told of now, and until when."""
        rows = await self._database.fetch(QUERIES["read_suspensions"], patient, at)
        return {row["recipient"]: row["until"] for row in rows}


def _found(row: Row) -> Found:
    return Found(
        seq=row["seq"],
        event=read_leaf(row["body"]),
        place=Place(recorded=row["recorded"], id=row["id"]),
        body=row["body"],
    )
