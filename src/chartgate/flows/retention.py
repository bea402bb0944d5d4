"""What is older than its period is deleted, class by class, in bounded batches.

Each batch is one transaction, and its audit event says how many rows went and holds a digest over
what named them. A legal hold beats every period. Of audit events the leaves stay in the ledger, so
that it verifies as before; what went is said by ranges of numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.store.database import Connection
from chartgate.store.holds import HoldStore
from chartgate.store.retention import CLASSES, Batch, Due, Held, RetentionStore

AGENT = "process:worker"
DAY_S = 86_400.0
BATCHES_MAX = 100_000  # of one class in one run


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One class."""

    name: str
    days: float
    before: datetime  # what is older is due
    due: int  # rows; at most as many as one batch looks at


class Retention:
    """The worker's loop: a look now and then, and on at once while there is more."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._next_at: datetime | None = None

    async def delete_next(self) -> int:
        """Deletes one batch; 0: nothing is due, or it is not time to look."""
        now = self._gate.clock()
        if self._next_at is not None and now < self._next_at:
            return 0
        for name in CLASSES:
            if count := await delete_batch(self._gate, name):
                return count
        self._next_at = now + timedelta(seconds=self._gate.config.retention.every_s)
        return 0


async def run(gate: Gate, *, agent: str = AGENT) -> Mapping[str, int]:
    """Deletes all that is due; how many rows of each class."""
    counts = {}
    for name in CLASSES:
        counts[name] = 0
        for _ in range(BATCHES_MAX):
            count = await delete_batch(gate, name, agent=agent)
            counts[name] += count
            if not count:
                break
    return counts


async def delete_batch(gate: Gate, name: str, *, agent: str = AGENT) -> int:
    """Deletes the next rows of a class; how many."""
    for due in _due(gate, name):
        async with gate.database.change_found() as (transaction, events):
            batch = await _delete(gate, transaction, due)
            if batch.count:
                events.extend(_events(gate, name, due, batch, agent))
        if batch.count:
            return batch.count
    return 0


async def standing(gate: Gate) -> tuple[Standing, ...]:
    """Each class with its period and what is due; changes nothing."""
    return tuple([await _standing(gate, name) for name in CLASSES])


def days_of(gate: Gate, name: str) -> float:
    """The period of a class. A charter that wants its audit kept longer keeps all of it."""
    days: float = getattr(gate.config.retention, f"{name}_days")
    if name == "audit":
        own = (c.retention_s.get("audit", 0.0) for c in gate.charters.charters.values())
        days = max([days, *(seconds / DAY_S for seconds in own)])
    return days


async def _standing(gate: Gate, name: str) -> Standing:
    count = 0
    for due in _due(gate, name):
        async with gate.database.change_found() as (transaction, _):  # adds no event: undone
            count += (await _delete(gate, transaction, due)).count
    days = days_of(gate, name)
    return Standing(name=name, days=days, before=gate.clock() - timedelta(days=days), due=count)


def _due(gate: Gate, name: str) -> list[Due]:
    now = gate.clock()
    own = {}
    if name == "disclosure":
        own = {
            charter.name: now - timedelta(seconds=charter.retention_s["payload"])
            for charter in gate.charters.charters.values()
            if "payload" in charter.retention_s
        }
    before = now - timedelta(days=days_of(gate, name))
    return [
        # Of bodies it is their frames that say how long they are needed.
        Due(query=query, before=now if query == "delete_bodies" else before, own=own)
        for query in CLASSES[name]
    ]


async def _delete(gate: Gate, transaction: Connection, due: Due) -> Batch:
    store = RetentionStore(gate.database)
    nothing = Batch(count=0, digest="")
    if not await store.take_turn_in(transaction):
        return nothing
    await gate.database.vault.hold_in(transaction)  # no hold is placed before this ends
    held = await _held(gate)
    if held.everybody and due.query != "delete_expired":
        return nothing
    return await store.delete_in(transaction, due, held, count_max=gate.config.retention.batch)


async def _held(gate: Gate) -> Held:
    """A hold on one site's everybody keeps all: rows do not say of which site they are."""
    holds = await HoldStore(gate.database).all()
    return Held(
        everybody=any(hold.patient is None for hold in holds),
        patients=tuple(sorted({hold.patient for hold in holds if hold.patient})),
    )


def _events(gate: Gate, name: str, due: Due, batch: Batch, agent: str) -> list[AuditEvent]:
    """One, or of audit events one for each range of numbers."""
    said = (("before", due.before.isoformat(timespec="seconds")), ("class", name))
    if name != "audit":
        details = (
            *said,
            ("count", str(batch.count)),
            ("digest", batch.digest),
            ("rows", due.query),
        )
        return [_event(gate, agent, "retention.delete", details)]
    return [
        _event(
            gate,
            agent,
            "retention.prune",
            (
                *said,
                ("count", str(end - first)),
                ("digest", batch.digest),
                ("end", str(end)),
                ("first", str(first)),
            ),
        )
        for first, end in batch.ranges
    ]


def _event(gate: Gate, agent: str, action: str, details: tuple[tuple[str, str], ...]) -> AuditEvent:
    return AuditEvent(recorded=gate.clock(), action=action, agent=agent, details=details)
