"""What `chartgate status` counts: queues with the time of their oldest, proposals, write rights."""

from datetime import datetime, timedelta
from typing import Any

from chartgate.model.audit import AuditEvent
from chartgate.model.verdict import Verdict
from chartgate.store.database import Database, open_database
from chartgate.store.standing import Probed, Queue, StandingStore
from chartgate.store.verdicts import VerdictStore
from chartgate.testing.clock import FakeClock

NAMES = (
    "messages",
    "notifications",
    "reviews",
    "writes",
    "quarantine",
    "handoffs",
    "handoffs overdue",
    "glass to review",
    "glass overdue",
    "seals broken",
)
DIGEST = bytes(32)


async def queues(database: Database, at: datetime) -> dict[str, Queue]:
    found = await StandingStore(database).queues(at=at)
    return {queue.name: queue for queue in found}


async def put_message(database: Database, number: int, status: str, at: datetime) -> int:
    async with database.bookkeeping() as transaction:
        id_: int = await transaction.fetchval(
            "INSERT INTO inbox (tenant, connection, sender, control_id, message_type, lane, "
            "digest, raw, ack, received_at, status) VALUES ('main', 'north-adt', 's', $1, "
            "'ADT^A04', 1, $2, '', '', $3, $4) RETURNING id",
            str(number),
            DIGEST,
            at,
            status,
        )
    return id_


async def put_proposal(database: Database, number: int, status: str, at: datetime) -> None:
    decided = ("person:sofia", at, "d") if status != "pending-review" else (None, None, None)
    async with database.bookkeeping() as transaction:
        await transaction.execute(
            "INSERT INTO proposal (tenant, id, charter, charter_digest, action, site, connection, "
            "author, interaction, stage, status, content_version, content_digest, confidence, "
            "rationale, created_at, due_at, decided_by, decided_at, decided_digest, changed_at) "
            "VALUES ('main', lpad($1::text, 32, '0')::uuid, 'c', 'd', 'book', 's', 'e', 'client:x', "
            "gen_random_uuid(), 'suggest', $2, 1, 'd', 1, '', $3, $3, $4, $5, $6, $3)",
            str(number),
            status,
            at,
            *decided,
        )


async def test_empty_store_has_every_queue_and_nothing_in_it(
    database: Database, clock: FakeClock
) -> None:
    found = await queues(database, clock())
    assert tuple(found) == NAMES
    assert all((queue.waiting, queue.oldest) == (0, None) for queue in found.values())
    assert await StandingStore(database).proposals() == {}
    assert await StandingStore(database).probed() == ()


async def test_messages_wait_from_when_they_came_until_they_are_worked_off(
    database: Database, clock: FakeClock
) -> None:
    first, later = clock(), clock.advance(60)
    await put_message(database, 1, "delivered", first - timedelta(days=1))
    await put_message(database, 2, "queued", later)
    await put_message(database, 3, "queued", first)
    queue = (await queues(database, clock()))["messages"]
    assert (queue.waiting, queue.oldest) == (2, first)


async def test_notification_is_as_old_as_its_message_whatever_time_the_hospital_told(
    database: Database, clock: FakeClock
) -> None:
    id_ = await put_message(database, 1, "delivered", clock())
    async with database.bookkeeping() as transaction:
        event = await transaction.fetchval(
            "INSERT INTO event (tenant, site, kind, focus, occurred_at, inbox_id) "
            "VALUES ('main', 's', 'ADT^A04', '{}', '1999-01-01T00:00:00Z', $1) RETURNING id",
            id_,
        )
        for number, delivered in ((1, clock()), (2, None)):
            await transaction.execute(
                "INSERT INTO notification (tenant, client, charter, number, event_id, "
                "next_try_at, delivered_at) VALUES ('main', 'c', 'b', $1, $2, $3, $4)",
                number,
                event,
                clock(),
                delivered,
            )
    queue = (await queues(database, clock()))["notifications"]
    assert (queue.waiting, queue.oldest) == (1, clock())


async def test_proposals_are_counted_by_status_and_wait_for_people_or_for_a_worker(
    database: Database, clock: FakeClock
) -> None:
    start = clock()
    for number, status in enumerate(("pending-review", "approved", "approved", "rejected")):
        await put_proposal(database, number, status, clock.advance(10))
    assert await StandingStore(database).proposals() == {
        "approved": 2,
        "pending-review": 1,
        "rejected": 1,
    }
    found = await queues(database, clock())
    assert found["reviews"].waiting == 1
    assert (found["writes"].waiting, found["writes"].oldest) == (2, start + timedelta(seconds=20))


async def test_write_rights_are_summed_up_by_connection(
    database: Database, clock: FakeClock
) -> None:
    verdicts = [
        Verdict(line="history", holds=True, detail=""),
        Verdict(line="delete", holds=False, detail=""),
    ]
    event = AuditEvent(recorded=clock(), action="connection.probe", agent="process:test")
    await VerdictStore(database).put("north-ehr", verdicts, probed_at=clock(), audit=event)
    assert await StandingStore(database).probed() == (
        Probed(connection="north-ehr", holding=1, tried=2, probed_at=clock()),
    )


async def test_other_tenant_counts_nothing_of_it(
    database: Database, database_url: str, clock: FakeClock
) -> None:
    await put_message(database, 1, "queued", clock())
    await put_proposal(database, 1, "pending-review", clock())
    other: Any = await open_database(database_url, tenant="other")
    try:
        found = await queues(other, clock())
        assert {queue.waiting for queue in found.values()} == {0}
        assert await StandingStore(other).proposals() == {}
    finally:
        await other.close()
