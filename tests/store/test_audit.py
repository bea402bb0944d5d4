"""The audit writer: every answer waits for its own commit, and none is given without."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from chartgate.errors import Moved, Unavailable
from chartgate.formats.canonical import digest
from chartgate.model.audit import AuditEvent, Outcome, leaf_bytes
from chartgate.model.interaction import Interaction, Seen
from chartgate.model.resource import Copy
from chartgate.store.audit import AuditWriter, Still
from chartgate.store.database import Database, open_database
from chartgate.store.governance import bump_epoch
from chartgate.store.record import RecordStore
from chartgate.testing.clock import FakeClock

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
INTERACTION = Interaction(
    id=str(uuid.UUID(int=1)),
    client="slot-picker",
    charter="clinic-booking",
    site="north-clinic",
    started_at=NOW,
)
READ = AuditEvent(
    recorded=NOW,
    action="fhir.read",
    agent="client:slot-picker",
    entities=("Slot/12",),
    interaction=INTERACTION.id,
    details=(("b", "2"), ("a", "1")),
)
SEEN = Seen(reference="Slot/12", version="3", digest=bytes(32), as_of=NOW)


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[AuditWriter]:
    started = AuditWriter(database)
    await started.start()
    yield started
    await started.close()


async def bodies(database: Database) -> list[bytes]:
    rows = await database.fetch("SELECT body FROM audit_event WHERE tenant = $1 ORDER BY id")
    return [row["body"] for row in rows]


def test_leaf_leaves_out_what_is_not_said() -> None:
    leaf = leaf_bytes(READ, tenant="main")
    assert leaf == (
        b'{"action":"fhir.read","agent":"client:slot-picker","details":{"a":"1","b":"2"},'
        b'"entities":["Slot/12"],"interaction":"00000000-0000-0000-0000-000000000001",'
        b'"outcome":"success","recorded":"2026-03-02T09:00:00.000000+00:00","tenant":"main"}'
    )


def test_leaf_holds_every_field_that_is_said() -> None:
    """A field that is added to the event and forgotten in the leaf would be unprotected."""
    said: dict[str, Any] = {
        name: "x"
        for name in AuditEvent.__dataclass_fields__
        if name not in ("recorded", "action", "outcome", "entities", "details")
    }
    full = AuditEvent(
        recorded=NOW,
        **said,
        action="fhir.read",
        outcome=Outcome.DENIED,
        entities=("Slot/1",),
        details=(("k", "v"),),
    )
    for name in AuditEvent.__dataclass_fields__:
        if name not in ("recorded", "action", "agent", "outcome"):
            empty: Any = () if name in ("entities", "details") else None
            fewer = replace(full, **{name: empty})
            assert leaf_bytes(fewer, tenant="main") != leaf_bytes(full, tenant="main"), name


async def test_record_when_it_returns_has_committed_event_read_set_and_interaction(
    database: Database, writer: AuditWriter
) -> None:
    await writer.record(READ, seen=(SEEN, SEEN), opened=INTERACTION)
    assert await bodies(database) == [leaf_bytes(READ, tenant="main")]
    seen = await database.fetch("SELECT * FROM read_set WHERE tenant = $1")
    assert [(str(row["interaction"]), row["reference"]) for row in seen] == [
        (INTERACTION.id, "Slot/12")
    ] * 2
    opened = await database.fetch_row("SELECT * FROM interaction WHERE tenant = $1")
    assert opened
    assert (str(opened["id"]), opened["started_at"]) == (INTERACTION.id, NOW)


async def test_record_when_called_by_many_at_once_commits_each_once(
    database: Database, writer: AuditWriter
) -> None:
    events = [replace(READ, reason=str(n)) for n in range(1200)]
    await asyncio.gather(*(writer.record(event) for event in events))
    assert sorted(await bodies(database)) == sorted(leaf_bytes(e, tenant="main") for e in events)
    commits = await database.fetch_value(
        "SELECT count(DISTINCT xid) FROM audit_event WHERE tenant = $1"
    )
    assert commits < 12


async def test_record_when_its_caller_has_gone_is_written_all_the_same(
    database: Database, writer: AuditWriter
) -> None:
    """A denial whose asker hung up is still a denial that happened."""
    call = asyncio.create_task(writer.record(replace(READ, outcome=Outcome.DENIED)))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await writer.record(READ)
    assert len(await bodies(database)) == 2


async def test_record_of_an_event_that_postgresql_refuses_fails_alone(
    database: Database, writer: AuditWriter
) -> None:
    bad = replace(READ, patient="Patient/\0")
    calls = [READ, bad, replace(READ, reason="third")]
    results = await asyncio.gather(*map(writer.record, calls), return_exceptions=True)
    assert results[0] == 0
    assert results[2] == 0
    assert isinstance(results[1], Unavailable)
    assert "Patient" not in str(results[1]) + results[1].operator_detail
    assert len(await bodies(database)) == 2


async def test_record_when_connections_are_cut_is_refused_and_then_goes_on_by_itself(
    database: Database, writer: AuditWriter, postgres_admin: Any
) -> None:
    await writer.record(READ)
    name = await database.fetch_value("SELECT current_database() WHERE $1 <> ''")
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
    async with asyncio.TaskGroup() as group:
        outcomes = group.create_task(recorded_of(writer, 400))
        for _ in range(5):
            await asyncio.sleep(0.02)
            await postgres_admin.fetch(cut, name)
    answered = outcomes.result()
    await writer.record(replace(READ, reason="after"))
    stored = set(await bodies(database))
    assert {leaf_bytes(replace(READ, reason=r), tenant="main") for r in answered} <= stored
    assert leaf_bytes(replace(READ, reason="after"), tenant="main") in stored


async def recorded_of(writer: AuditWriter, count: int) -> list[str]:
    """Of `count` calls, those that were told that their event is committed."""
    answered = []
    for n in range(count):
        try:
            await writer.record(replace(READ, reason=str(n)))
            answered.append(str(n))
        except Unavailable:
            await asyncio.sleep(0.001)
    return answered


async def test_record_when_the_store_hangs_is_refused_in_time_and_goes_on_after(
    database: Database, database_url: str
) -> None:
    writer = AuditWriter(database, wait_max_s=0.3, queue_max=3)
    await writer.start()
    await writer.record(READ)
    lock = await asyncpg.connect(database_url)
    held = lock.transaction()
    await held.start()
    await lock.execute("LOCK TABLE audit_event")
    calls = [writer.record(replace(READ, reason=str(n))) for n in range(8)]
    async with asyncio.timeout(2.0):
        refused = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(error, Unavailable) for error in refused)
    assert any("more events wait" in str(error) for error in refused)
    await held.rollback()
    await lock.close()
    await writer.record(READ)
    await writer.close()


async def test_record_when_postgresql_is_gone_is_refused(database_url: str) -> None:
    opened = await open_database(database_url, tenant="main")
    writer = AuditWriter(opened)
    await writer.start()
    await opened.close()
    with pytest.raises(Unavailable, match="nothing is answered"):
        await writer.record(READ)
    await writer.close()


async def test_record_when_not_started_or_closed_is_refused(database: Database) -> None:
    writer = AuditWriter(database)
    with pytest.raises(Unavailable, match="closed"):
        await writer.record(READ)
    await writer.start()
    await writer.close()
    with pytest.raises(Unavailable, match="closed"):
        await writer.record(READ)


async def test_close_commits_what_is_queued(database: Database) -> None:
    writer = AuditWriter(database)
    await writer.start()
    calls = [asyncio.create_task(writer.record(READ)) for _ in range(20)]
    await asyncio.sleep(0)
    await writer.close()
    assert await asyncio.gather(*calls) == [0] * 20
    assert len(await bodies(database)) == 20


async def test_record_gives_the_epoch_that_holds_when_it_is_durable(
    writer: AuditWriter, database: Database
) -> None:
    assert await writer.record(READ) == 0
    async with database.bookkeeping() as transaction:
        await bump_epoch(transaction, database.tenant)
    assert await writer.record(READ) > 0


def copy(clock: FakeClock, text: str) -> Copy:
    body = b'{"v":"%s"}' % text.encode()
    return Copy(
        reference="Slot/1", version=text, digest=digest(body), body=body, as_of=clock.advance(1)
    )


async def test_event_of_a_copy_that_is_not_the_records_any_more_is_kept_and_its_caller_told(
    writer: AuditWriter, database: Database, clock: FakeClock
) -> None:
    old, new = copy(clock, "old"), copy(clock, "new")
    for each in (old, new):
        await RecordStore(database).keep("ehr", [each])
    stills: list[Still | None] = [
        ("ehr", "Slot", "1", new.digest),
        ("ehr", "Slot", "1", old.digest),
        ("other", "Slot", "1", new.digest),
        ("ehr", "Patient", "1", new.digest),
        ("ehr", "Slot", "2", new.digest),
        None,
    ]
    results = await asyncio.gather(
        *(writer.record(READ, still=still) for still in stills), return_exceptions=True
    )
    assert [type(result) for result in results] == [int, Moved, Moved, Moved, Moved, int]
    assert len(await bodies(database)) == len(stills)
