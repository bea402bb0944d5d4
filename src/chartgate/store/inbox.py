"""Messages as they came: accepted many in one commit, claimed by patient lane, kept for ever."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from chartgate.model.audit import AuditEvent, leaf_bytes
from chartgate.model.message import Arrival, Processed, Queued, Stored
from chartgate.store.database import Connection, Database, Row
from chartgate.store.queries import load_queries
from chartgate.store.sealed_messages import INBOX, opened_raw, queued, sealed_raws

QUERIES = load_queries("inbox.sql")

# Stand in the audit event for what only the store can know; sorted as canonical JSON sorts them.
UNKNOWN = {"count": "@count@", "digests": "@digests@", "first": "@first@", "last": "@last@"}
NO_TIME = datetime.max.replace(tzinfo=UTC)  # stands for `recorded`, which differs each time
NO_TIME_TEXT = NO_TIME.isoformat(timespec="microseconds").encode()
LOOKAHEAD = 4  # times the batch: how far to look for lanes that no other worker holds
LANE_SHARE = 10  # messages of one lane in a batch: a patient with thousands delays nobody else


class InboxStore:
    """The inbox of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(self, arrivals: Sequence[Arrival], audit: AuditEvent) -> tuple[Stored, ...]:
        """Makes the arrivals durable and answers for each, in order. Raises Unavailable.

        The audit event is committed with them; its details get how many messages are new, the
        first and last id they got, and the SHA-256 over their digests in the order of the ids.
        """
        if not arrivals:
            return ()
        async with self._database.standing() as connection:
            return await self.accept_in(connection, arrivals, audit)

    async def accept_in(
        self, connection: Connection, arrivals: Sequence[Arrival], audit: AuditEvent
    ) -> tuple[Stored, ...]:
        """As `accept`, on the caller's connection; in a transaction it counts once that commits."""
        new = {key_of(a): a for a in reversed(arrivals)}  # of repeats in one batch the first
        first = [a for a in arrivals if new.get(key_of(a)) is a]
        rows = [(a.connection, a.digest, a.raw) for a in first]
        raws = await sealed_raws(self._database, connection, INBOX, rows)
        taken = await connection.fetchval(
            QUERIES["accept_arrivals"], *self._accept_parameters(first, raws, audit)
        )
        if taken == len(arrivals):
            return tuple(Stored(taken=True, ack=a.ack, digest=a.digest) for a in arrivals)
        stored = await self.accepted_in(connection, first)
        return tuple(stored[key_of(a)] for a in arrivals)

    async def claim(self, transaction: Connection, *, count_max: int) -> tuple[Queued, ...]:
        """The oldest messages whose lanes nobody else holds, in order, of each lane a few; the
        lanes are then held until the transaction ends.

        A message waits while an older one of either of its lanes does, so every patient's
        messages are processed in the order of their ids, by however many workers.
        """
        lanes, count = _lanes_wanted(await self._waiting(transaction, count_max), count_max)
        if not lanes:
            return ()
        rows = await transaction.fetch(QUERIES["lock_lanes"], self._database.tenant, lanes, count)
        held = {row["lane"] for row in rows}
        # Looked at again, since the lanes' holder may just have finished some of these.
        waiting = await self._waiting(transaction, count_max)
        chosen = _in_order(waiting, held, count_max=count_max)
        found = await transaction.fetch(
            QUERIES["select_messages"], self._database.tenant, [row["id"] for row in chosen]
        )
        return tuple(queued(self._database, row) for row in found)

    async def _waiting(self, transaction: Connection, count_max: int) -> list[Row]:
        """The head of the queue. Where a few lanes fill it, what stands behind them comes too."""
        tenant, window = self._database.tenant, count_max * LOOKAHEAD
        waiting: list[Row] = await transaction.fetch(QUERIES["select_waiting"], tenant, window)
        if len(waiting) == window:
            counts = Counter(lane for row in waiting for lane in _lanes(row))
            full = [lane for lane, count in counts.items() if count >= LANE_SHARE]
            if sum(min(count, LANE_SHARE) for count in counts.values()) < count_max:
                waiting += await transaction.fetch(
                    QUERIES["select_behind"], tenant, waiting[-1]["id"], full, count_max
                )
        return waiting

    async def end(self, transaction: Connection, ended: Sequence[Processed]) -> None:
        """Moves queued messages to where they ended."""
        count = await transaction.fetchval(
            QUERIES["end_messages"],
            self._database.tenant,
            [e.id for e in ended],
            [e.status.value for e in ended],
            [e.reason for e in ended],
            [" ".join(e.flags) for e in ended],
        )
        assert count == len(ended), "only a lane's holder ends its messages"

    async def raw(self, message: int) -> bytes | None:
        """The bytes of one message as they came; None where there is no such message, or it was
        erased."""
        row = await self._database.fetch_row(QUERIES["select_raw"], message)
        return (opened_raw(self._database, INBOX, row) or None) if row else None

    async def counts(self) -> Mapping[str, int]:
        """How many messages stand in each status."""
        rows = await self._database.fetch(QUERIES["count_by_status"])
        return {row["status"]: row["count"] for row in rows}

    def _accept_parameters(
        self, arrivals: Sequence[Arrival], raws: Sequence[bytes], audit: AuditEvent
    ) -> list[Any]:
        parts = _body_parts(replace(audit, recorded=NO_TIME), self._database.tenant)
        recorded = audit.recorded.isoformat(timespec="microseconds").encode()
        return [
            self._database.tenant,
            audit.recorded,
            [a.connection for a in arrivals],
            [a.sender for a in arrivals],
            [a.control_id for a in arrivals],
            [a.message_type for a in arrivals],
            [a.lane for a in arrivals],
            [a.merged_lane for a in arrivals],
            [a.digest for a in arrivals],
            raws,
            [a.ack for a in arrivals],
            [a.application_ack for a in arrivals],
            audit.action,
            audit.agent,
            audit.outcome.value,
            *(part.replace(NO_TIME_TEXT, recorded) for part in parts),
        ]

    async def accepted_in(
        self, connection: Connection, arrivals: Sequence[Arrival]
    ) -> dict[tuple[str, str, str], Stored]:
        """Those of the arrivals that are here already, by `key_of`."""
        rows = await connection.fetch(
            QUERIES["select_accepted"],
            self._database.tenant,
            [a.connection for a in arrivals],
            [a.sender for a in arrivals],
            [a.control_id for a in arrivals],
        )
        return {
            (row["connection"], row["sender"], row["control_id"]): Stored(
                taken=False, ack=row["ack"], digest=row["digest"]
            )
            for row in rows
        }


@lru_cache(maxsize=64)
def _body_parts(audit: AuditEvent, tenant: str) -> tuple[bytes, ...]:
    """The event's canonical bytes, cut where the store puts in what it knows."""
    rest = leaf_bytes(replace(audit, details=tuple(UNKNOWN.items())), tenant=tenant)
    parts: list[bytes] = []
    for token in UNKNOWN.values():
        part, _, rest = rest.partition(token.encode())
        parts.append(part)
    return (*parts, rest)


def key_of(arrival: Arrival) -> tuple[str, str, str]:
    """What a sender repeats when it sends the same message again."""
    return arrival.connection, arrival.sender, arrival.control_id


def _lanes(row: Any) -> tuple[int, ...]:
    merged = row["merged_lane"]
    return (row["lane"],) if merged is None else (row["lane"], merged)


def _lanes_wanted(waiting: Sequence[Row], count_max: int) -> tuple[list[int], int]:
    """Lanes in the order in which they are to be tried, and how many of them make a batch: what
    other workers hold is stepped over, and what is not needed is left to them."""
    lanes = {lane: None for row in waiting for lane in _lanes(row)}
    chosen = _in_order(waiting, set(lanes), count_max=count_max)
    first = {lane: None for row in chosen for lane in _lanes(row)}
    return list(first | lanes), len(first)


def _in_order(waiting: Sequence[Row], held: set[int], *, count_max: int) -> list[Row]:
    """What may be processed: of lanes held, with nothing older left out in them."""
    chosen: list[Row] = []
    taken: Counter[int] = Counter()
    blocked: set[int] = set()
    for row in waiting:
        lanes = _lanes(row)
        free = held.issuperset(lanes) and blocked.isdisjoint(lanes)
        if free and all(taken[lane] < LANE_SHARE for lane in lanes):
            chosen.append(row)
            taken.update(lanes)
            if len(chosen) == count_max:
                break
        else:
            blocked.update(lanes)
    return chosen
