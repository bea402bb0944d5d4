"""Messages on their way out, by lane.

A worker holds a lane as a whole, by lease and fence: two workers never send in one lane at the
same time, and what a worker still writes after it has lost the lane is refused. How often the
destination failed stands with the lane, since it says something about the link; how often the
content was refused stands with the message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chartgate.errors import InvalidTransition
from chartgate.model.audit import AuditEvent
from chartgate.model.outgoing import (
    DestinationStatus,
    Draft,
    Lane,
    Outgoing,
    OutgoingStatus,
    Settled,
)
from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries
from chartgate.store.vault import CONNECTION_KEY, Key

QUERIES = load_queries("outgoing.sql")
NOBODY = 0  # no row has this id


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What an application acknowledgement was about."""

    id: int
    destination: str
    cause: str
    patient: str | None
    is_new: bool  # False: it was recorded before, and nothing was changed


class OutgoingStore:
    """Outgoing messages of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def queue_in(
        self,
        transaction: Connection,
        drafts: Sequence[Draft],
        *,
        at: datetime,
        failed: str = "",
    ) -> Mapping[str, int]:
        """Queues the drafts in their order; ids of those that are new, by control id.

        With `failed` they are kept and never sent, for that reason.
        """
        if not drafts:
            return {}
        tenant = self._database.tenant
        status = OutgoingStatus.FAILED if failed else OutgoingStatus.QUEUED
        whose = [(d.destination, d.patient or CONNECTION_KEY) for d in drafts]
        keys = await self._database.vault.keys_in(transaction, whose)
        sealed = [self._sealed(keys[one], d) for one, d in zip(whose, drafts, strict=True)]
        rows = await transaction.fetch(
            QUERIES["insert_outgoing"],
            tenant,
            at,
            status.value,
            failed or None,
            [d.destination for d in drafts],
            [d.lane for d in drafts],
            [d.control_id for d in drafts],
            [d.cause for d in drafts],
            [d.patient for d in drafts],
            sealed,
            [keys[one].id for one in whose],
        )
        if rows and not failed:
            lanes = sorted({(d.destination, d.lane) for d in drafts})  # one order: no deadlock
            columns = ([d for d, _ in lanes], [lane for _, lane in lanes])
            await transaction.execute(QUERIES["ensure_lanes"], tenant, at, *columns)
            await transaction.execute(QUERIES["notify_outgoing"], tenant)
        return {row["control_id"]: row["id"] for row in rows}

    async def claim(
        self, room: Mapping[str, int], *, at: datetime, lease_until: datetime
    ) -> tuple[Lane, ...]:
        """Lanes that are due and nobody's, of each destination at most as many as it has room."""
        async with self._database.bookkeeping() as transaction:
            rows = await transaction.fetch(
                QUERIES["claim_lanes"],
                self._database.tenant,
                at,
                lease_until,
                list(room),
                list(room.values()),
            )
        return tuple(Lane(**row) for row in rows)

    async def head(self, lane: Lane, *, after: Settled | None) -> Outgoing | None:
        """The first message of the lane that waits, but for the one just settled."""
        settled = after.id if after else NOBODY
        row = await self._database.fetch_row(
            QUERIES["select_head"], lane.destination, lane.name, settled
        )
        return self._outgoing(row) if row else None

    async def advance(
        self,
        lane: Lane,
        *audit: AuditEvent,
        settled: Settled | None,
        sending: Outgoing | None,
        at: datetime,
        lease_until: datetime,
    ) -> bool:
        """In one transaction: how the last message ended, and the intent to send the next one.

        False where the next one is settled meanwhile, by a late answer: it must not be sent, and
        nothing was done. Raises InvalidTransition where the lane has passed to another worker.
        """
        tenant = self._database.tenant
        try:
            async with self._database.change(*audit) as transaction:
                held = await transaction.execute(
                    QUERIES["hold_lane"], tenant, *_key(lane), lease_until, settled is not None
                )
                if _count(held) != 1:
                    raise InvalidTransition("the lane has passed to another worker")
                if settled is not None:
                    # No row: a late application acknowledgement has settled it already.
                    await transaction.execute(
                        QUERIES["settle_sent"],
                        tenant,
                        settled.id,
                        settled.status.value,
                        settled.ack,
                        settled.reason,
                        at,
                    )
                if sending is not None:
                    marked = await transaction.execute(
                        QUERIES["mark_sent"], tenant, sending.id, sending.status.value
                    )
                    if _count(marked) != 1:
                        raise _Overtaken
        except _Overtaken:
            return False
        return True

    async def put_off(
        self,
        lane: Lane,
        *,
        until: datetime,
        failures: int,
        error: str,
        refused: tuple[int, bytes] | None = None,
    ) -> None:
        """Lets go of the lane until then. `refused`: the message whose content was, and the ACK;
        `error` holds no patient data."""
        tenant = self._database.tenant
        async with self._database.bookkeeping() as transaction:
            done = await transaction.execute(
                QUERIES["put_off_lane"], tenant, *_key(lane), until, failures, error
            )
            if refused and _count(done) == 1:
                await transaction.execute(QUERIES["note_refusal"], tenant, *refused)

    async def release(self, lane: Lane) -> None:
        """Lets go of the lane; whoever is next may have it at once."""
        async with self._database.bookkeeping() as transaction:
            await transaction.execute(QUERIES["release_lane"], self._database.tenant, *_key(lane))

    async def applied_in(
        self,
        transaction: Connection,
        control_id: str,
        code: str,
        *,
        at: datetime,
        destination: str | None = None,
    ) -> Applied | None:
        """Records an application acknowledgement (AA, AE or AR) of the message with this control
        id; None where it is none that we sent, or not clear which. The caller's transaction
        leaves the audit event.

        It also proves that the message arrived: one that still waited for the acknowledgement of
        its commit is not sent again. AE and AR make it failed. The first one counts.
        """
        tenant = self._database.tenant
        rows = await transaction.fetch(QUERIES["lock_outgoing"], tenant, control_id, destination)
        if len(rows) != 1:
            return None
        [row] = rows
        is_new = row["applied"] is None and row["status"] != OutgoingStatus.FAILED.value
        if is_new:
            taken = code == "AA"
            ended = OutgoingStatus.ACKNOWLEDGED if taken else OutgoingStatus.FAILED
            await transaction.execute(
                QUERIES["apply_outgoing"],
                tenant,
                row["id"],
                row["status"],
                ended.value,
                code,
                at,
                None if taken else f"the destination's application answered {code}",
            )
        return Applied(
            id=row["id"],
            destination=row["destination"],
            cause=row["cause"],
            patient=row["patient"],
            is_new=is_new,
        )

    async def by_destination(self, *, now: datetime) -> tuple[DestinationStatus, ...]:
        """How things stand, by destination that ever had a message to take."""
        counts, failed, errors = [
            {row["destination"]: row for row in await self._database.fetch(QUERIES[name])}
            for name in (
                "count_by_destination",
                "select_failed_by_destination",
                "select_lane_errors",
            )
        ]
        return tuple(
            _status(name, counts.get(name), failed.get(name), errors.get(name), now)
            for name in sorted({*counts, *failed, *errors})
        )

    def _sealed(self, key: Key, draft: Draft) -> bytes:
        place = ("outgoing", draft.destination, draft.control_id)
        return self._database.vault.seal(key, draft.raw, *place)

    def _outgoing(self, row: Any) -> Outgoing:
        place = ("outgoing", row["destination"], row["control_id"])
        opened = self._database.vault.open(row["raw"], row["sealed_by"], row["wrapped"], *place)
        values = {**row, "status": OutgoingStatus(row["status"]), "raw": opened}
        return Outgoing(**{name: values[name] for name in values.keys() - {"sealed_by", "wrapped"}})


class _Overtaken(Exception):
    """The message that was to be sent next is settled."""


def _status(name: str, count: Any, failed: Any, error: Any, now: datetime) -> DestinationStatus:
    oldest_at = count["oldest_at"] if count else None
    troubled = error is not None and error["last_error"] is not None
    return DestinationStatus(
        destination=name,
        waiting=count["waiting"] if count else 0,
        oldest_at=oldest_at,
        age_s=max(0.0, (now - oldest_at).total_seconds()) if oldest_at else 0.0,
        attempts=count["attempts"] if count else 0,
        failures=error["failures"] if error else 0,
        last_error=error["last_error"] if troubled else "",
        next_try_at=error["next_try_at"] if troubled else None,
        failed=failed["failed"] if failed else 0,
        last_failure=failed["last_failure"] if failed else "",
    )


def _key(lane: Lane) -> tuple[str, str, int]:
    return lane.destination, lane.name, lane.fence


def _count(status: str) -> int:
    """Rows of "UPDATE n"."""
    return int(status.rpartition(" ")[2])
