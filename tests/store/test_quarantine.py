"""The quarantine: one row for the same bytes and class, and the ways out of it."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from chartgate.errors import NotFound
from chartgate.model.audit import AuditEvent
from chartgate.model.message import Arrival, InboxStatus, Processed, Rejected
from chartgate.store.database import Database
from chartgate.store.inbox import InboxStore
from chartgate.store.quarantine import QuarantineStatus, QuarantineStore, Selection

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
EVENT = AuditEvent(recorded=AT, action="message.process", agent="process:worker")
RAW = b"MSH|^~\\&|ADT1|NORTH|||20240102||ADT^A01^ADT_A01|%b|P|2.5\rPID|1\r"
EVERYTHING = Selection()


@pytest.fixture
def quarantine(database: Database) -> QuarantineStore:
    return QuarantineStore(database)


def rejected(
    number: int | None = None, *, kind: str = "content", raw: bytes = RAW, at: datetime = AT
) -> Rejected:
    return Rejected(
        connection="adt",
        inbox_id=number,
        reason_class=kind,
        reason="no date",
        position="PID-7",
        raw=raw,
        seen_at=at,
    )


async def taken(database: Database, *names: str, connection: str = "adt") -> list[int]:
    """Messages in the queue; their ids."""
    arrivals = [
        Arrival(
            connection=connection,
            sender="ADT1|NORTH",
            control_id=name,
            message_type="ADT^A01",
            lane=1,
            merged_lane=None,
            digest=hashlib.sha256(RAW % name.encode()).digest(),
            raw=RAW % name.encode(),
            ack=b"",
            received_at=AT,
        )
        for name in names
    ]
    await InboxStore(database).accept(arrivals, EVENT)
    query = "SELECT id FROM inbox WHERE tenant = $1 AND control_id = ANY($2) ORDER BY id"
    return [row["id"] for row in await database.fetch(query, list(names))]


async def end(database: Database, status: InboxStatus, *ids: int, kind: str = "content") -> None:
    """Ends messages as a worker does."""
    reason = None if status is InboxStatus.DELIVERED else "no date"
    async with database.change(EVENT) as transaction:
        ended = [Processed(id=number, status=status, reason=reason) for number in ids]
        await InboxStore(database).end(transaction, ended)
        store = QuarantineStore(database)
        if status is InboxStatus.QUARANTINED:
            raws = {
                row["id"]: row["raw"]
                for row in await transaction.fetch(
                    "SELECT id, raw FROM inbox WHERE id = ANY($1)", list(ids)
                )
            }
            some = [rejected(number, kind=kind, raw=raws[number]) for number in ids]
            await store.add_in(transaction, some)
        else:
            await store.settle_in(transaction, ids, at=AT, by="process:worker")


async def requeue(database: Database, *ids: int) -> tuple[int, ...]:
    async with database.change(EVENT) as transaction:
        return await QuarantineStore(database).requeue_in(transaction, ids)


async def statuses(database: Database) -> list[tuple[Any, ...]]:
    query = "SELECT reason_class, status, count FROM quarantine WHERE tenant = $1 ORDER BY id"
    return [tuple(row) for row in await database.fetch(query)]


async def test_same_bytes_and_class_are_one_row_with_a_count(
    quarantine: QuarantineStore, database: Database
) -> None:
    later = AT + timedelta(minutes=1)
    await quarantine.add([rejected(raw=b"noise"), rejected(raw=b"noise")], EVENT)
    await quarantine.add([rejected(raw=b"noise", at=later), rejected(kind="other")], EVENT)
    other, noise = await quarantine.listed(EVERYTHING, status=None, limit=10)
    assert (noise.count, noise.first_seen_at, noise.last_seen_at) == (3, AT, later)
    assert (noise.sender, noise.message_type) == ("", "")
    assert (other.reason_class, other.count) == ("other", 1)


async def test_row_names_sender_type_and_digest_and_has_the_bytes(
    quarantine: QuarantineStore,
) -> None:
    await quarantine.add([rejected()], EVENT)
    [row] = await quarantine.listed(EVERYTHING, status=QuarantineStatus.OPEN, limit=10)
    assert (row.sender, row.message_type) == ("ADT1|NORTH", "ADT^A01")
    opened = await quarantine.get(row.id)
    assert (opened.raw, opened.digest) == (RAW, hashlib.sha256(RAW).digest())
    assert not hasattr(row, "raw")


async def test_sender_that_is_noise_is_kept_short_and_printable(
    quarantine: QuarantineStore,
) -> None:
    await quarantine.add([rejected(raw=b"MSH|^~\\&|\x1b[2J\xff" + b"x" * 999 + b"|N\r")], EVENT)
    [row] = await quarantine.listed(EVERYTHING, status=None, limit=10)
    assert len(row.sender) == 200
    assert row.sender.startswith("�[2J�x")


async def test_row_that_is_not_there_says_how_to_find_one(quarantine: QuarantineStore) -> None:
    with pytest.raises(NotFound, match="feed quarantine list"):
        await quarantine.get(5)


async def test_list_by_class_connection_status_and_time(
    quarantine: QuarantineStore, database: Database
) -> None:
    await quarantine.add([rejected(raw=b"1"), rejected(raw=b"2", kind="header")], EVENT)
    async with database.change(EVENT) as transaction:
        assert await quarantine.close_in(
            transaction, 1, QuarantineStatus.DISMISSED, at=AT, by="process:cli/x", because="noise"
        )

    async def ids(status: QuarantineStatus | None = None, **chosen: Any) -> list[int]:
        rows = await quarantine.listed(Selection(**chosen), status=status, limit=10)
        return [row.id for row in rows]

    assert await ids() == [2, 1]
    assert await ids(QuarantineStatus.OPEN) == [2]
    assert await ids(reason="header") == [2]
    assert await ids(connection="other") == []
    assert await ids(since=AT) == [2, 1]
    assert await ids(until=AT) == []


async def test_row_that_was_closed_is_open_again_when_the_bytes_come_again(
    quarantine: QuarantineStore, database: Database
) -> None:
    await quarantine.add([rejected()], EVENT)
    async with database.change(EVENT) as transaction:
        assert await quarantine.close_in(
            transaction, 1, QuarantineStatus.DISMISSED, at=AT, by="process:cli/x", because="noise"
        )
        again = quarantine.close_in(
            transaction, 1, QuarantineStatus.FIXED, at=AT, by="process:cli/y"
        )
        assert not await again
    await quarantine.add([rejected()], EVENT)
    row = await quarantine.get(1)
    assert (row.status, row.because, row.count) == (QuarantineStatus.OPEN, None, 2)


async def test_dismissal_without_a_reason_is_refused_by_the_store(
    quarantine: QuarantineStore, database: Database
) -> None:
    await quarantine.add([rejected()], EVENT)

    async def dismiss() -> None:
        async with database.change(EVENT) as transaction:
            await quarantine.close_in(
                transaction, 1, QuarantineStatus.DISMISSED, at=AT, by="process:cli/x"
            )

    with pytest.raises(asyncpg.CheckViolationError):
        await dismiss()


async def test_replayed_message_closes_its_row_once_it_gets_through(
    quarantine: QuarantineStore, database: Database
) -> None:
    ids = await taken(database, "a")
    await end(database, InboxStatus.QUARANTINED, *ids)
    assert await requeue(database, *ids) == tuple(ids)
    [row] = await quarantine.listed(EVERYTHING, status=QuarantineStatus.OPEN, limit=10)
    assert row.queued_again
    await end(database, InboxStatus.DELIVERED, *ids)
    assert await statuses(database) == [("content", "replayed", 1)]


async def test_replayed_message_when_it_fails_again_counts_once_more(database: Database) -> None:
    ids = await taken(database, "a")
    for _ in range(2):
        await end(database, InboxStatus.QUARANTINED, *ids)
        await requeue(database, *ids)
    assert await statuses(database) == [("content", "open", 2)]


async def test_replayed_message_when_it_fails_otherwise_has_one_open_row(
    database: Database,
) -> None:
    ids = await taken(database, "a")
    await end(database, InboxStatus.QUARANTINED, *ids)
    await requeue(database, *ids)
    await end(database, InboxStatus.QUARANTINED, *ids, kind="internal")
    assert await statuses(database) == [("content", "replayed", 1), ("internal", "open", 1)]


async def test_requeue_twice_is_once_also_at_the_same_time(database: Database) -> None:
    ids = await taken(database, *(str(n) for n in range(50)))
    await end(database, InboxStatus.QUARANTINED, *ids)
    found = await asyncio.gather(*(requeue(database, *ids) for _ in range(4)))
    assert sorted(len(some) for some in found) == [0, 0, 0, 50]
    await end(database, InboxStatus.DELIVERED, *ids)
    assert await requeue(database, *ids) == ()


async def test_close_and_requeue_of_one_message_never_both_happen(
    quarantine: QuarantineStore, database: Database
) -> None:
    """An edited copy and its original must not both be processed."""
    ids = await taken(database, *(str(n) for n in range(20)))
    await end(database, InboxStatus.QUARANTINED, *ids)

    async def close(number: int) -> bool:
        async with database.change(EVENT) as transaction:
            return await quarantine.close_in(
                transaction, number, QuarantineStatus.FIXED, at=AT, by="process:cli/x"
            )

    rows = await quarantine.listed(EVERYTHING, status=None, limit=99)
    both = [
        await asyncio.gather(close(row.id), requeue(database, row.inbox_id or 0)) for row in rows
    ]
    assert all(closed != bool(queued) for closed, queued in both)


async def test_replayable_pages_by_id_and_leaves_out_what_never_was_a_message(
    quarantine: QuarantineStore, database: Database
) -> None:
    ids = await taken(database, "a", "b", "c", "d")
    await end(database, InboxStatus.QUARANTINED, *ids[:3])
    await end(database, InboxStatus.FILTERED, ids[3])
    await quarantine.add([rejected(raw=b"noise")], EVENT)

    async def found(after: int = 0, **chosen: Any) -> list[int]:
        rows = await quarantine.replayable(Selection(**chosen), after=after, limit=2)
        return [row.id for row in rows]

    assert await found() == ids[:2]
    assert await found(after=ids[1]) == [ids[2]]
    assert await found(after=ids[1], filtered=True) == ids[2:]
    assert await found(ids=(2,)) == [(await quarantine.get(2)).inbox_id]
    assert await found(reason="no date", filtered=True) == [ids[3]]
    assert await found(connection="other", filtered=True) == []
    assert await quarantine.unreplayable(EVERYTHING) == 1
    assert await quarantine.unreplayable(Selection(reason="header")) == 0


async def test_summary_counts_what_is_open_by_connection_and_class(
    quarantine: QuarantineStore,
) -> None:
    before = AT - timedelta(hours=2)
    await quarantine.add([rejected(raw=b"1", at=before), rejected(raw=b"2")], EVENT)
    await quarantine.add([rejected(raw=b"2"), rejected(raw=b"3", kind="header")], EVENT)
    content, header = await quarantine.summary(at=AT)
    assert (content.reason_class, content.rows, content.times) == ("content", 2, 3)
    assert (content.last_hour, content.oldest) == (1, before)
    assert (header.reason_class, header.rows) == ("header", 1)
