"""Erasing a patient: first the keys, at once; then the rows that are left of what they sealed.

The first step is one short transaction, in which nobody can write; from then on nothing of the
patient can be read. The second can take as long as it likes, and be begun again: what it removes
is told by the keys that were deleted, under which nothing new can appear.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chartgate.model.message import Queued
from chartgate.store.database import Connection, Database, Row
from chartgate.store.queries import load_queries
from chartgate.store.sealed_messages import INBOX, QUARANTINE, opened_raw
from chartgate.store.vault import QUERIES as VAULT

QUERIES = load_queries("erasures.sql")
LONG_S = 3600.0  # looks at all of the record
PAGE = 200  # messages opened at a time


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """One patient at one site."""

    id: str
    site: str
    connections: tuple[str, ...]
    patient: str
    keys: tuple[int, ...]
    reason: str
    asked_by: str
    begun_at: datetime


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """What the patient's keys sealed in the record."""

    references: frozenset[str]
    messages: frozenset[int]  # that made it
    versions: int
    digest: str  # over the digests of the versions, in their order


class ErasureStore:
    """Erasures of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stop_writers_in(self, transaction: Connection) -> None:
        """Waits for what is being written; nothing is written until the transaction ends."""
        await transaction.execute(VAULT["hold_writers"], self._database.tenant)

    async def keys_in(
        self, transaction: Connection, connections: Sequence[str], patient: str
    ) -> tuple[int, ...]:
        """The patient's keys."""
        rows = await transaction.fetch(
            QUERIES["lock_keys"], self._database.tenant, list(connections), patient
        )
        return tuple(row["id"] for row in rows)

    async def under_way_in(
        self, transaction: Connection, connections: Sequence[str], patient: str
    ) -> dict[str, int]:
        """How many proposals and outgoing messages about the patient are not at an end."""
        names = (self._database.tenant, list(connections), patient)
        return {
            "proposals": await transaction.fetchval(QUERIES["count_proposals_under_way"], *names),
            "outgoing": await transaction.fetchval(QUERIES["count_outgoing_under_way"], *names),
        }

    async def begin_in(self, transaction: Connection, erasure: Erasure) -> int:
        """Deletes the keys and empties the patient's proposals; how many."""
        tenant, keys = self._database.tenant, list(erasure.keys)
        proposals: int = await transaction.fetchval(QUERIES["empty_proposals"], tenant, keys)
        await transaction.execute(QUERIES["delete_keys"], tenant, keys)
        await transaction.execute(
            QUERIES["insert_erasure"],
            tenant,
            erasure.id,
            erasure.site,
            list(erasure.connections),
            erasure.patient,
            keys,
            erasure.reason,
            erasure.asked_by,
            erasure.begun_at,
        )
        return proposals

    async def next_open(self) -> Erasure | None:
        """The oldest that has begun and not ended."""
        row = await self._database.fetch_row(QUERIES["select_open"])
        if row is None:
            return None
        lists = {name: tuple(row[name]) for name in ("connections", "keys")}
        return Erasure(**{**row, **lists, "id": str(row["id"])})

    async def sealed(self, keys: Sequence[int]) -> Sealed:
        """What these keys seal, or sealed."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                QUERIES["select_sealed"], self._database.tenant, list(keys), timeout=LONG_S
            )
        digests = sorted(row["digest"] for row in rows)
        return Sealed(
            references=frozenset(row["reference"] for row in rows),
            messages=frozenset(row["message"] for row in rows if row["message"] is not None),
            versions=len(rows),
            digest=hashlib.sha256(b"".join(digests)).hexdigest(),
        )

    async def lanes(
        self, connections: Sequence[str], messages: Sequence[int], patient: str
    ) -> tuple[int, ...]:
        """Lanes that the patient's messages took."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                QUERIES["select_lanes"],
                self._database.tenant,
                list(connections),
                list(messages),
                patient,
                timeout=LONG_S,
            )
        return tuple(row["lane"] for row in rows)

    async def of_lanes(
        self,
        connections: Sequence[str],
        lanes: Sequence[int],
        *,
        after: int,
        only_queued: bool = False,
    ) -> tuple[Queued, ...]:
        """The next messages of these lanes."""
        names = (list(connections), list(lanes), after, PAGE, only_queued)
        rows = await self._database.fetch(QUERIES["select_of_lanes"], *names)
        return tuple(self._queued(INBOX, row) for row in rows)

    async def set_aside(self, connections: Sequence[str], *, after: int) -> tuple[Queued, ...]:
        """The next rows of the quarantine, under their own ids."""
        rows = await self._database.fetch(
            QUERIES["select_set_aside"], list(connections), after, PAGE
        )
        return tuple(self._queued(QUARANTINE, row) for row in rows)

    async def remove_in(
        self,
        transaction: Connection,
        erasure: Erasure,
        *,
        references: Sequence[str],
        messages: Sequence[int],
        set_aside: Sequence[int],
        at: datetime,
    ) -> dict[str, int] | None:
        """Removes the rows that are left; how many of each kind. None: somebody else has."""
        if not await transaction.fetchval(QUERIES["lock_open"], self._database.tenant, erasure.id):
            return None
        keys, connections = list(erasure.keys), list(erasure.connections)
        met = [f"{connection}/{erasure.patient}" for connection in connections]
        steps: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
            ("current", "delete_current", (keys,)),
            ("versions", "delete_versions", (keys,)),
            ("read_set", "delete_read_set", (erasure.site, list(references))),
            ("disclosures", "delete_disclosures", (keys,)),
            ("frames", "empty_frames", (keys,)),
            ("outgoing", "empty_outgoing", (keys,)),
            ("messages", "empty_messages", (list(messages),)),
            (
                "quarantine",
                "empty_quarantine",
                (list(set_aside), list(messages), at, erasure.asked_by),
            ),
            ("met", "delete_met", (met,)),
            ("consents", "delete_consents", (connections, erasure.patient)),
        )
        counts = {}
        for name, query, parameters in steps:
            done = await transaction.execute(
                QUERIES[query], self._database.tenant, *parameters, timeout=LONG_S
            )
            counts[name] = int(str(done).rpartition(" ")[2])
        return counts

    async def end_in(
        self, transaction: Connection, erasure: Erasure, *, at: datetime, counts: str
    ) -> None:
        """Nothing is left."""
        await transaction.execute(
            QUERIES["end_erasure"], self._database.tenant, erasure.id, at, counts
        )

    def _queued(self, table: str, row: Row) -> Queued:
        return Queued(
            id=row["id"],
            connection=row["connection"],
            message_type=row["message_type"],
            raw=opened_raw(self._database, table, row),
            received_at=row["received_at"],
            application_ack=row["application_ack"],
            lane=row["lane"],
        )
