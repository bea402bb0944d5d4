"""The outbox: numbers without gaps, one worker a subscription, nothing out of order."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from chartgate.model.audit import AuditEvent
from chartgate.model.message import Event
from chartgate.store.database import Database
from chartgate.store.outbox import OutboxStore

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
AUDIT = AuditEvent(recorded=AT, action="message.process", agent="process:worker")
WANTS = {("north", "SIU^S12"): [("picker", "booking"), ("scribe", "notes")]}
LATER = AT + timedelta(seconds=10)


def event(number: int, kind: str = "SIU^S12") -> Event:
    return Event(site="north", kind=kind, focus=(f"Slot/{number}",), occurred_at=AT, message=number)


@pytest.fixture
def outbox(database: Database) -> OutboxStore:
    return OutboxStore(database)


async def append(outbox: OutboxStore, database: Database, *events: Event) -> None:
    async with database.change(AUDIT) as transaction:
        await outbox.append_in(transaction, events, WANTS, at=AT)


async def numbers(
    outbox: OutboxStore, *, at: datetime = AT, lease: datetime = LATER, count_max: int = 10
) -> dict[str, list[int]]:
    claimed = await outbox.claim(at=at, lease_until=lease, count_max=count_max)
    return {some[0].client: [n.number for n in some] for some in claimed}


async def test_events_are_numbered_for_each_subscription_that_wants_them(
    outbox: OutboxStore, database: Database
) -> None:
    await append(outbox, database, event(1), event(2, "ADT^A08"), event(3))
    assert await numbers(outbox) == {"picker": [1, 2], "scribe": [1, 2]}
    assert await numbers(outbox) == {}


async def test_numbers_when_many_write_at_once_have_no_gap(
    outbox: OutboxStore, database: Database
) -> None:
    await asyncio.gather(*(append(outbox, database, event(n)) for n in range(1, 21)))
    found = await numbers(outbox, count_max=100)
    assert found["picker"] == list(range(1, 21))


async def test_number_of_a_transaction_that_failed_is_used_again(
    outbox: OutboxStore, database: Database
) -> None:

    async def fail() -> None:
        async with database.change(AUDIT) as transaction:
            await outbox.append_in(transaction, [event(1)], WANTS, at=AT)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    await append(outbox, database, event(2))
    assert (await numbers(outbox))["picker"] == [1]


async def test_lease_when_it_has_run_out_is_given_again(
    outbox: OutboxStore, database: Database
) -> None:
    await append(outbox, database, event(1), event(2))
    assert await numbers(outbox, count_max=1) == {"picker": [1], "scribe": [1]}
    assert await numbers(outbox, at=AT + timedelta(seconds=5)) == {}
    again = LATER + timedelta(seconds=1)
    after = await numbers(outbox, at=again, lease=again + timedelta(seconds=9))
    assert after == {"picker": [1, 2], "scribe": [1, 2]}


async def test_what_stands_behind_a_failed_one_waits_for_it(
    outbox: OutboxStore, database: Database
) -> None:
    await append(outbox, database, event(1), event(2))
    [mine, _] = await outbox.claim(at=AT, lease_until=LATER, count_max=10)
    await outbox.failed(mine[0], next_try_at=LATER, error="answered 500")
    await outbox.release(mine[0], lease_until=LATER)
    assert await numbers(outbox, at=AT + timedelta(seconds=5)) == {}
    after = await numbers(outbox, at=LATER, lease=LATER + timedelta(seconds=9))
    assert after == {"picker": [1, 2]}


async def test_delivered_is_delivered_for_good(outbox: OutboxStore, database: Database) -> None:
    await append(outbox, database, event(1), event(2))
    for some in await outbox.claim(at=AT, lease_until=LATER, count_max=1):
        await outbox.delivered(some[0], AUDIT, at=AT)
    assert await numbers(outbox) == {"picker": [2], "scribe": [2]}
    assert await outbox.stuck() == ()
