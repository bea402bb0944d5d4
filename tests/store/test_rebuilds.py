"""Rebuilt records in the store: one a connection, one tenant's, each message looked at once."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chartgate.formats.canonical import digest
from chartgate.model.audit import AuditEvent
from chartgate.model.resource import Copy
from chartgate.store.database import Database, open_database
from chartgate.store.rebuilds import Looked, Rebuild, RebuildStore
from chartgate.store.record import RecordStore

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FEED = "adt"
STARTED = AuditEvent(recorded=AT, action="feed.rebuild-start", agent="process:cli")
REBUILD = Rebuild(
    connection=FEED,
    revision="r1",
    overrides=None,
    cursor=0,
    folded=0,
    filtered=0,
    refused=0,
    examples=(),
    started_by="process:cli",
    started_at=AT,
)


@pytest.fixture
def store(database: Database) -> RebuildStore:
    return RebuildStore(database)


def copy(reference: str, body: bytes) -> Copy:
    return Copy(reference=reference, version="", digest=digest(body), body=body, as_of=AT)


async def differences(store: RebuildStore) -> dict[str, tuple[bytes | None, bytes | None]]:
    return {d.reference: (d.before, d.after) async for d in store.differences(REBUILD)}


async def queue(database: Database, count: int) -> None:
    """So many messages, all queued; their ids count from 1."""
    query = """
        INSERT INTO inbox (tenant, connection, sender, control_id, message_type, lane, digest, raw,
                           ack, received_at)
        SELECT $1, $2, 's', n::text, 'ADT^A08', 1, sha256(''), 'MSH'::bytea, ''::bytea, now()
        FROM generate_series(1, $3::int) n"""
    await database.fetch(query, FEED, count)


async def end(database: Database, *ids: int, status: str = "delivered") -> None:
    query = "UPDATE inbox SET status = $2, reason = 'x' WHERE tenant = $1 AND id = ANY($3)"
    await database.fetch(query, status, list(ids))


async def next_ids(
    store: RebuildStore, database: Database, *, past_waiting: bool = False
) -> list[int]:
    rebuild = await store.get(FEED)
    assert rebuild is not None
    async with database.bookkeeping() as transaction:
        found = await store.next_in(transaction, rebuild, past_waiting=past_waiting, count_max=2)
    return [message.id for message in found]


async def look(store: RebuildStore, database: Database, *ids: int) -> None:
    async with database.bookkeeping() as transaction:
        await store.advance_in(transaction, REBUILD, Looked(folded=ids, filtered=(), refused=()))


async def test_one_of_a_connection_begins_and_is_audited_once(
    store: RebuildStore, database: Database
) -> None:
    assert await store.begin(REBUILD, STARTED)
    assert not await store.begin(replace(REBUILD, revision="r2"), STARTED)
    assert await store.get(FEED) == REBUILD
    assert await store.begin(replace(REBUILD, connection="lab", overrides=""), STARTED)
    assert [one.connection for one in await store.all()] == [FEED, "lab"]
    audited = "SELECT count(*) FROM audit_event WHERE tenant = $1"
    assert await database.fetch_value(audited) == 2


async def test_file_that_is_empty_is_not_the_running_one(store: RebuildStore) -> None:
    await store.begin(replace(REBUILD, overrides=""), STARTED)
    found = await store.get(FEED)
    assert found is not None
    assert found.overrides == ""


async def test_messages_come_in_order_up_to_the_first_that_waits(
    store: RebuildStore, database: Database
) -> None:
    await store.begin(REBUILD, STARTED)
    await queue(database, 5)
    await end(database, 1, 2, 4, 5)
    assert await next_ids(store, database) == [1, 2]
    await look(store, database, 1, 2)
    assert await next_ids(store, database) == []
    assert await next_ids(store, database, past_waiting=True) == [4, 5]
    await end(database, 3, status="filtered")
    assert await next_ids(store, database) == [4, 5]


async def test_messages_that_were_delivered_behind_the_cursor_come_last(
    store: RebuildStore, database: Database
) -> None:
    await store.begin(REBUILD, STARTED)
    await queue(database, 4)
    await end(database, 1, 4)
    await end(database, 2, 3, status="quarantined")
    await look(store, database, 1, 4)
    assert await next_ids(store, database) == []
    await end(database, 2, 3)
    rebuild = await store.get(FEED)
    assert rebuild is not None
    assert await store.remaining(rebuild) == 2
    assert await next_ids(store, database) == [2, 3]
    await look(store, database, 2, 3)
    assert await next_ids(store, database) == []
    rebuild = await store.get(FEED)
    assert rebuild is not None
    assert (rebuild.cursor, rebuild.folded, await store.remaining(rebuild)) == (4, 4, 0)


async def test_first_of_the_refused_are_kept_as_examples(
    store: RebuildStore, database: Database
) -> None:
    await store.begin(REBUILD, STARTED)
    for start in (1, 16):
        ids = tuple(range(start, start + 15))
        async with database.bookkeeping() as transaction:
            looked = Looked(folded=(), filtered=(), refused=ids)
            await store.advance_in(transaction, REBUILD, looked)
    rebuild = await store.get(FEED)
    assert rebuild is not None
    assert (rebuild.refused, rebuild.examples) == (30, tuple(range(1, 21)))


async def test_differences_are_what_one_lacks_or_says_otherwise(
    store: RebuildStore, database: Database
) -> None:
    record = RecordStore(database)
    same = copy("Patient/same", b"{}")
    await record.keep(FEED, [same, copy("Patient/a", b'{"a":1}'), copy("Patient/gone", b"{}")])
    await record.keep(
        REBUILD.shadow, [same, copy("Patient/a", b'{"a":2}'), copy("Patient/new", b"{}")]
    )
    assert await differences(store) == {
        "Patient/a": (b'{"a":1}', b'{"a":2}'),
        "Patient/gone": (b"{}", None),
        "Patient/new": (None, b"{}"),
    }


async def test_differences_are_fetched_in_pages(
    store: RebuildStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chartgate.store.rebuilds.PAGE", 3)
    copies = [copy(f"Patient/{number}", b"{}") for number in range(10)]
    await RecordStore(database).keep(REBUILD.shadow, copies)
    assert len(await differences(store)) == 10


async def test_switched_record_is_the_rebuilt_one_and_old_versions_stay(
    store: RebuildStore, database: Database
) -> None:
    record = RecordStore(database)
    await store.begin(REBUILD, STARTED)
    old, gone = copy("Patient/a", b'{"a":1}'), copy("Patient/gone", b"{}")
    new, more = copy("Patient/a", b'{"a":2}'), copy("Patient/new", b"{}")
    await record.keep(FEED, [old, gone])
    await record.keep("other", [old])
    await record.keep(REBUILD.shadow, [new, more])
    async with database.bookkeeping() as transaction:
        await store.copy_versions_in(transaction, REBUILD)
    assert await record.current(FEED, "Patient/a") == old
    async with database.bookkeeping() as transaction:
        await store.switch_in(transaction, REBUILD)
    assert await record.current(FEED, "Patient/a") == new
    assert await record.current(FEED, "Patient/new") == more
    assert await record.current(FEED, "Patient/gone") is None
    assert await record.version(FEED, "Patient/gone", gone.digest) == b"{}"
    assert await record.version(FEED, "Patient/a", old.digest) == old.body
    assert await record.current("other", "Patient/a") == old
    assert await store.get(FEED) is None
    assert await record.current(REBUILD.shadow, "Patient/a") is None


async def test_rebuild_of_another_tenant_is_not_seen(
    store: RebuildStore, database: Database, database_url: str
) -> None:
    await store.begin(REBUILD, STARTED)
    other = await open_database(database_url, tenant="other")
    try:
        assert await RebuildStore(other).get(FEED) is None
        assert await RebuildStore(other).begin(REBUILD, STARTED)
    finally:
        await other.close()
