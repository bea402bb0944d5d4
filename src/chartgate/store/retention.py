"""Deleting what is older than its period: a bounded batch of one class at a time."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("retention.sql")
BATCH_S = 120.0  # a batch of a large table

# What each class is made of: names of queries, in the order in which they must run.
CLASSES: Mapping[str, tuple[str, ...]] = {
    "expired": ("delete_expired",),
    "disclosure": ("delete_frames", "delete_bodies", "delete_read_sets"),
    "record": ("delete_current", "delete_versions"),
    "inbox": ("empty_messages",),
    "quarantine": ("empty_quarantine",),
    "outgoing": ("delete_outgoing",),
    "proposals": ("delete_proposals",),
    "events": ("delete_notifications", "delete_events"),
    "accounting": ("delete_accountings",),
    "audit": ("prune_events",),
}


@dataclass(frozen=True, kw_only=True)
class Held:
    """What legal holds keep."""

    everybody: bool
    patients: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one query deleted."""

    count: int
    digest: str  # over what names each row, in order
    ranges: tuple[tuple[int, int], ...] = ()  # of leaves whose events are gone: first, end


@dataclass(frozen=True, kw_only=True)
class Due:
    """What one query may delete."""

    query: str
    before: datetime
    own: Mapping[str, datetime] = field(default_factory=dict)  # of charters with another period


class RetentionStore:
    """Old rows of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take_turn_in(self, transaction: Connection) -> bool:
        """Whether nobody else deletes now; until the transaction ends."""
        taken: bool = await transaction.fetchval(QUERIES["take_turn"], self._database.tenant)
        return taken

    async def delete_in(
        self, transaction: Connection, due: Due, held: Held, *, count_max: int
    ) -> Batch:
        """Deletes so many at most."""
        tenant = self._database.tenant
        keys = await transaction.fetch(QUERIES["select_held_keys"], tenant, list(held.patients))
        own = (list(due.own), list(due.own.values())) if due.query == "delete_frames" else ()
        rows = await transaction.fetch(
            QUERIES[due.query],
            tenant,
            due.before,
            [row["id"] for row in keys],
            list(held.patients),
            count_max,
            *own,
            timeout=BATCH_S,
        )
        names = sorted(row["what"] for row in rows)
        seqs = [row["seq"] for row in rows] if due.query == "prune_events" else []
        return Batch(
            count=len(rows),
            digest=hashlib.sha256(b"".join(names)).hexdigest(),
            ranges=ranges_of(seqs),
        )


def ranges_of(numbers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The numbers as ranges without gaps: first, and one past the last."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number:
            found[-1][1] += 1
        else:
            found.append([number, number + 1])
    return tuple((first, end) for first, end in found)
