"""How far each audit record repository has been sent the ledger: a cursor, a lease, a back-off."""

from dataclasses import dataclass
from datetime import datetime

from chartgate.store.database import Database, Row
from chartgate.store.queries import load_queries

QUERIES = load_queries("atna.sql")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A destination that is ours until the lease ends."""

    destination: str
    seq: int  # of the event to send next
    failures: int  # in a row, so far
    lease_until: datetime


@dataclass(frozen=True, kw_only=True)
class AtnaStanding:
    """How a destination stands."""

    destination: str
    sent: int  # events that it has taken
    lag: int  # events that it has not
    oldest: datetime | None  # when the first of them was recorded
    failures: int
    sent_at: datetime | None
    last_error: str | None


class AtnaStore:
    """The cursors of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self, destination: str, *, at: datetime, lease_until: datetime, first: int
    ) -> Claim | None:
        """The destination, if it is due and free; one that is new begins at number `first`."""
        row = await self._database.bookkeep_row(
            QUERIES["claim_destination"], destination, at, lease_until, first
        )
        if row is None:
            return None
        return Claim(
            destination=destination,
            seq=row["seq"],
            failures=row["failures"],
            lease_until=lease_until,
        )

    async def note_sent(self, claim: Claim, seq: int, *, at: datetime) -> None:
        """All events below `seq` were taken."""
        await self._database.bookkeep_row(
            QUERIES["note_sent"], claim.destination, seq, at, claim.lease_until
        )

    async def note_failed(self, claim: Claim, seq: int, *, retry_at: datetime, error: str) -> None:
        """Those below `seq` were taken, the next one was not."""
        await self._database.bookkeep_row(
            QUERIES["note_failed"], claim.destination, seq, retry_at, error, claim.lease_until
        )

    async def release(self, claim: Claim, seq: int, *, next_try_at: datetime) -> None:
        """There was nothing to send below `seq`."""
        await self._database.bookkeep_row(
            QUERIES["release"], claim.destination, seq, next_try_at, claim.lease_until
        )

    async def standing(self) -> tuple[AtnaStanding, ...]:
        """Every destination that was ever sent to."""
        rows = await self._database.fetch(QUERIES["read_standing"])
        return tuple(_standing(row) for row in rows)


def _standing(row: Row) -> AtnaStanding:
    return AtnaStanding(
        destination=row["destination"],
        sent=row["seq"],
        lag=max(0, row["size"] - row["seq"]),
        oldest=row["oldest"],
        failures=row["failures"],
        sent_at=row["sent_at"],
        last_error=row["last_error"],
    )
