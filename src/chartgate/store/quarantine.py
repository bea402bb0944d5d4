"""What could not be taken or transformed: its bytes, why, and what was done about it.

open → fixed (an edited copy took its place) | replayed (a later try got through) | dismissed (a
person said why); all of these → open again when the same bytes fail once more.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from chartgate.errors import Erased, NotFound
from chartgate.formats.hl7v2 import read_header
from chartgate.model.audit import AuditEvent
from chartgate.model.message import Arrival, Rejected
from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries
from chartgate.store.sealed_messages import INBOX, QUARANTINE, opened_raw, sealed_raws

QUERIES = load_queries("quarantine.sql")
NAME_MAX = 200  # characters of a sender's own words, which may be noise


class QuarantineStatus(Enum):
    """Where a row of the quarantine stands."""

    OPEN = "open"
    FIXED = "fixed"  # an edited copy took its place
    REPLAYED = "replayed"  # a later try got through
    DISMISSED = "dismissed"  # a person said why


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """One row, without its bytes: nothing in it is about a patient."""

    id: int
    connection: str
    inbox_id: int | None  # None: the bytes never became a message
    sender: str
    message_type: str
    reason_class: str
    reason: str
    position: str
    digest: bytes
    first_seen_at: datetime
    last_seen_at: datetime
    count: int
    status: QuarantineStatus
    resolved_at: datetime | None
    resolved_by: str | None
    because: str | None
    queued_again: bool  # a replay put its message back, and it is not processed yet


@dataclass(frozen=True, kw_only=True)
class Opened(Quarantined):
    """One row with its bytes."""

    raw: bytes
    copy: int | None  # the message that is an edited copy of it


@dataclass(frozen=True, kw_only=True)
class OpenCount:
    """How many open rows one connection has of one class."""

    connection: str
    reason_class: str
    rows: int
    times: int  # with repeats
    last_hour: int  # rows seen within it
    oldest: datetime


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which rows; a None says nothing. Times are those of last seen, or of receipt where a
    message was filtered."""

    ids: tuple[int, ...] | None = None
    reason: str | None = None  # class
    connection: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    filtered: bool = False  # also what was filtered, where `reason` is the reason itself

    @property
    def parameters(self) -> tuple[object, ...]:
        """As the queries take them."""
        ids = None if self.ids is None else list(self.ids)
        return ids, self.reason, self.connection, self.since, self.until


@dataclass(frozen=True, kw_only=True)
class Replayable:
    """A message that could be queued again."""

    id: int
    connection: str
    status: str


class QuarantineStore:
    """The quarantine of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, rejected: Sequence[Rejected], *audit: AuditEvent) -> None:
        """Keeps bytes that never became a message of the inbox. Raises Unavailable."""
        async with self._database.change(*audit) as transaction:
            await self.add_in(transaction, rejected)

    async def add_in(self, transaction: Connection, rejected: Sequence[Rejected]) -> None:
        """As `add`, inside the caller's transaction. The same bytes for the same class are one
        row, with a count."""
        first: dict[tuple[str, str, bytes], Rejected] = {}
        counts: Counter[tuple[str, str, bytes]] = Counter()
        for one in rejected:
            key = (one.connection, one.reason_class, hashlib.sha256(one.raw).digest())
            first.setdefault(key, one)
            counts[key] += 1
        keys = sorted(first)  # one order everywhere: no deadlock
        rows = [first[key] for key in keys]
        names = [_names(row.raw) for row in rows]
        sealing = [(r.connection, key[2], r.raw) for key, r in zip(keys, rows, strict=True)]
        raws = await sealed_raws(self._database, transaction, QUARANTINE, sealing)
        await transaction.execute(
            QUERIES["upsert_quarantine"],
            self._database.tenant,
            [r.connection for r in rows],
            [r.inbox_id for r in rows],
            [sender for sender, _ in names],
            [message_type for _, message_type in names],
            [r.reason_class for r in rows],
            [r.reason for r in rows],
            [r.position for r in rows],
            [digest for _, _, digest in keys],
            raws,
            [r.seen_at for r in rows],
            [r.seen_at for r in rows],
            [counts[key] for key in keys],
        )
        known = [r for r in rows if r.inbox_id is not None]
        if known:
            await transaction.execute(
                QUERIES["settle_other_reasons"],
                self._database.tenant,
                [r.inbox_id for r in known],
                [r.reason_class for r in known],
                [r.seen_at for r in known],
            )

    async def settle_in(
        self, transaction: Connection, delivered: Sequence[int], *, at: datetime, by: str
    ) -> None:
        """Closes the open rows of messages that have just been delivered or filtered; costs one
        look into an index of open rows where there are none."""
        if delivered:
            await transaction.execute(
                QUERIES["settle_messages"], self._database.tenant, list(delivered), at, by
            )

    async def listed(
        self, selection: Selection, *, status: QuarantineStatus | None, limit: int
    ) -> tuple[Quarantined, ...]:
        """The newest rows first."""
        _, *rest = selection.parameters
        wanted = status.value if status else None
        rows = await self._database.fetch(QUERIES["select_listed"], wanted, *rest, limit)
        return tuple(
            Quarantined(**{**row, "status": QuarantineStatus(row["status"])}) for row in rows
        )

    async def get(self, id: int) -> Opened:  # noqa: A002 - its own name
        """One row with its bytes. Raises NotFound."""
        row = await self._database.fetch_row(QUERIES["select_one"], id)
        if row is None:
            raise NotFound(
                f"there is no {id} in the quarantine; `chartgate feed quarantine list` shows them"
            )
        raw = opened_raw(self._database, QUARANTINE, row)
        if not row["raw"]:  # what was sealed is never empty, whatever came
            raise Erased("what was set aside here was about a patient who has been erased")
        values = {**row, "status": QuarantineStatus(row["status"]), "raw": raw}
        return Opened(**{name: values[name] for name in values.keys() - {"key_id", "wrapped"}})

    async def summary(self, *, at: datetime) -> tuple[OpenCount, ...]:
        """What is open, by connection and class, the most first."""
        rows = await self._database.fetch(QUERIES["summarise_open"], at)
        return tuple(OpenCount(**row) for row in rows)

    async def counts(self) -> tuple[tuple[str, str, int, datetime], ...]:
        """Reason class, reason, how many, first seen; the most frequent first."""
        rows = await self._database.fetch(QUERIES["count_quarantine"])
        return tuple(tuple(row) for row in rows)

    async def close_in(
        self,
        transaction: Connection,
        id: int,  # noqa: A002 - its own name
        status: QuarantineStatus,
        *,
        at: datetime,
        by: str,
        because: str | None = None,
    ) -> bool:
        """Moves an open row to an end, unless its message waits for another try; whether it did."""
        tenant = self._database.tenant
        message = await transaction.fetchval(QUERIES["lock_message"], tenant, id)
        if message not in (None, "quarantined"):
            return False
        done = await transaction.execute(
            QUERIES["close_open"], tenant, id, status.value, at, by, because
        )
        return str(done) == "UPDATE 1"

    async def insert_copy_in(
        self, transaction: Connection, copy: Arrival, *, control_id: str, edited_from: int
    ) -> int | None:
        """Queues an edited copy; its id, or None if it was here before."""
        sealing = [(copy.connection, copy.digest, copy.raw)]
        [raw] = await sealed_raws(self._database, transaction, INBOX, sealing)
        found: int | None = await transaction.fetchval(
            QUERIES["insert_copy"],
            self._database.tenant,
            copy.connection,
            copy.sender,
            control_id,
            copy.message_type,
            copy.lane,
            copy.merged_lane,
            copy.digest,
            raw,
            copy.ack,
            copy.received_at,
            edited_from,
        )
        return found

    async def replayable(
        self, selection: Selection, *, after: int, limit: int
    ) -> tuple[Replayable, ...]:
        """The next messages that may be queued again, in the order of their ids."""
        rows = await self._database.fetch(
            QUERIES["select_replayable"], *selection.parameters, selection.filtered, after, limit
        )
        return tuple(Replayable(**row) for row in rows)

    async def unreplayable(self, selection: Selection) -> int:
        """How many open rows match whose bytes never became a message."""
        count: int = await self._database.fetch_value(
            QUERIES["count_unreplayable"], *selection.parameters
        )
        return count

    async def requeue_in(self, transaction: Connection, messages: Sequence[int]) -> tuple[int, ...]:
        """Queues these again, so far as they still may be; which of them, in order."""
        tenant = self._database.tenant
        await transaction.execute(QUERIES["lock_messages"], tenant, list(messages))
        rows = await transaction.fetch(QUERIES["requeue"], tenant, list(messages))
        return tuple(row["id"] for row in rows)


def _names(raw: bytes) -> tuple[str, str]:
    """Sender and message type, so far as a header tells them."""
    header = read_header(raw)
    if header is None:
        return "", ""
    component = header.separators.component.encode()
    kind = b"^".join(part for part in header.field(9).split(component)[:2] if part)
    return _shown(header.field(3) + b"|" + header.field(4)), _shown(kind)


def _shown(name: bytes) -> str:
    text = name.decode("utf-8", "replace")[:NAME_MAX]
    return "".join(c if c.isprintable() else "�" for c in text)
