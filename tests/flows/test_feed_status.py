"""How the feeds stand: exact counts, ages, and what is dead."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from chartgate.flows import feed_status, intake
from chartgate.flows.feed_status import Folding
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.drift import DriftFinding, FeedKey
from chartgate.model.message import Received
from chartgate.store import feed_counts
from chartgate.store.database import Database
from chartgate.store.drift import DriftStore
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt, header, message, patient
from tests.flows.feeds import CHARTER, CLIENT, FEED, accept, feed_gate
from tests.flows.test_events import process_all


@pytest.fixture
def gate(database: Database, clock: FakeClock, tmp_path: Path) -> Gate:
    return feed_gate(database, clock, tmp_path, notify_url="http://127.0.0.1:9/")


async def filled(gate: Gate) -> None:
    """One delivered, one quarantined, one filtered, one noise, two queued."""
    wrong = adt("A08", "bad", mrn="p2").replace(b"19800102", b"19801399")
    await accept(gate, adt("A08", "1", mrn="p1"), wrong, message(header("ZZZ^Z01", "f"), patient()))
    await process_all(gate)
    await intake.accept(gate, [Received(connection=FEED, raw=b"HELLO", flaw="noise")])
    await accept(gate, adt("A08", "2"), adt("A08", "3"))


async def test_everything_in_stands_somewhere(gate: Gate, clock: FakeClock) -> None:
    await filled(gate)
    clock.advance(30)
    found = await feed_status.feed_status(gate)
    [feed] = found.feeds
    assert (feed.connection, feed.received) == (FEED, 5)
    stands = (feed.delivered, feed.queued, feed.quarantined, feed.filtered)
    assert stands == (1, 2, 1, 1)
    assert (feed.conserved, found.conserved) == (True, True)
    assert list(feed.filtered_by_reason.values()) == [1]
    assert {one.reason_class: (one.rows, one.oldest_s) for one in feed.quarantine} == {
        "content": (1, 30.0),
        "noise": (1, 30.0),
    }
    assert (feed.oldest_queued_s, feed.oldest_queued_is_less) == (30.0, False)
    assert feed.received_per_s_minute > 0
    assert all(row.counted == row.kept for row in await feed_status.recount(gate))


async def test_oldest_behind_a_long_queue_is_said_to_be_less(
    gate: Gate, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await accept(gate, adt("A08", "1"))
    clock.advance(10)
    await gate.database.fetch(
        "WITH late AS (INSERT INTO inbox (tenant, connection, sender, control_id, message_type,"
        " lane, digest, raw, ack, received_at) SELECT $1, 'other', 's', '1', 't', 1,"
        " sha256('1'), '1', '', $2::timestamptz RETURNING id)"
        " INSERT INTO inbox_change (tenant, connection, received, queued)"
        " SELECT $1, 'other', 1, 1 FROM late",
        clock(),
    )
    monkeypatch.setattr(feed_counts, "QUEUE_LOOK_MAX", 1)
    first, other = (await feed_status.feed_status(gate)).feeds
    assert (first.oldest_queued_s, first.oldest_queued_is_less) == (10.0, False)
    assert (other.oldest_queued_s, other.oldest_queued_is_less) == (10.0, True)


async def test_subscription_is_dead_once_its_tries_failed_for_five_minutes(
    gate: Gate, clock: FakeClock
) -> None:
    await accept(gate, adt("A08", "1"))
    await process_all(gate)
    await gate.database.fetch(
        "UPDATE notification SET attempts = 3, last_error = 'no answer' WHERE tenant = $1"
    )
    # The store's own clock says when the message ended; this one says what time it is now.
    ended = await gate.database.fetch_value("SELECT max(ended_at) FROM inbox WHERE tenant = $1")

    async def at(seconds: float) -> Any:
        clock.now = ended + timedelta(seconds=seconds)
        [one] = (await feed_status.feed_status(gate)).subscriptions
        return one

    one = await at(299)
    assert (one.client, one.charter, one.waiting, one.attempts) == (CLIENT, CHARTER, 1, 3)
    assert (one.last_error, one.dead) == ("no answer", False)
    assert (await at(301)).dead
    await gate.database.fetch("UPDATE notification SET attempts = 0 WHERE tenant = $1")
    assert not (await at(301)).dead


async def test_status_of_a_store_without_messages_is_empty(gate: Gate) -> None:
    found = await feed_status.feed_status(gate)
    assert (found.feeds, found.subscriptions, found.destinations) == ((), (), ())
    assert found.conserved


async def test_tail_says_nothing_of_what_a_message_says(gate: Gate) -> None:
    await filled(gate)
    lines = await feed_status.tail(gate, connection=FEED, count=3)
    assert [line.control_id for line in lines] == ["f", "2", "3"]
    assert "Example" not in repr(lines)


async def test_worker_folds_now_and_then(gate: Gate, clock: FakeClock) -> None:
    left = "SELECT count(*) FROM inbox_change WHERE tenant = $1"
    folding = Folding(gate)
    await accept(gate, adt("A08", "1"))
    assert await folding.fold_next() == 0
    assert await gate.database.fetch_value(left) == 0
    await accept(gate, adt("A08", "2"))
    await folding.fold_next()
    assert await gate.database.fetch_value(left) == 1
    clock.advance(5)
    await folding.fold_next()
    assert await gate.database.fetch_value(left) == 0


async def test_open_drift_is_counted_by_connection(gate: Gate, clock: FakeClock) -> None:
    await accept(gate, adt("A08", "1"))
    finding = DriftFinding(
        id=0,
        feed=FeedKey(FEED, "ADT1|NORTH", "ADT^A08"),
        position="ZPI",
        kind="new-segment",
        detail="",
        was="",
        now="",
        count=1,
        examples=(1,),
        first_seen_at=clock(),
        last_seen_at=clock(),
    )
    event = AuditEvent(recorded=clock(), action="feed.drift", agent="process:worker")
    async with gate.database.change(event) as transaction:
        await DriftStore(gate.database).open(transaction, finding)
    [feed] = (await feed_status.feed_status(gate)).feeds
    assert feed.drift == 1
