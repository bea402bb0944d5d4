"""The inbox: what a commit holds, and which worker may have what."""

import hashlib
from datetime import UTC, datetime

import asyncpg
import pytest

from chartgate.errors import Unavailable
from chartgate.model.audit import AuditEvent
from chartgate.model.message import Arrival, InboxStatus, Processed
from chartgate.store.database import Database, open_database
from chartgate.store.inbox import LANE_SHARE, LOOKAHEAD, InboxStore

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
EVENT = AuditEvent(recorded=AT, action="message.accept", agent="process:listener")


def arrival(control_id: str, *, lane: int = 1, merged: int | None = None, raw: str = "") -> Arrival:
    content = (raw or control_id).encode()
    return Arrival(
        connection="adt",
        sender="A|B",
        control_id=control_id,
        message_type="ADT^A01",
        lane=lane,
        merged_lane=merged,
        digest=hashlib.sha256(content).digest(),
        raw=content,
        ack=b"ack " + content,
        received_at=AT,
    )


@pytest.fixture
def inbox(database: Database) -> InboxStore:
    return InboxStore(database)


async def claimed(inbox: InboxStore, database: Database, *, count_max: int = 100) -> list[str]:
    async with database.connection() as connection, connection.transaction():
        found = await inbox.claim(connection, count_max=count_max)
        return [message.raw.decode() for message in found]


async def test_arrivals_and_their_audit_event_are_one_commit(
    inbox: InboxStore, database: Database
) -> None:
    await inbox.accept([arrival("0")], EVENT)  # makes the key of its connection
    before = await database.fetch_value("SELECT pg_current_xact_id()::text::bigint WHERE $1 <> ''")
    await inbox.accept([arrival("1"), arrival("2")], EVENT)
    after = await database.fetch_value("SELECT pg_current_xact_id()::text::bigint WHERE $1 <> ''")
    assert after - before == 2  # the statement's, and that of this question
    assert await database.fetch_value("SELECT count(*) FROM audit_event WHERE tenant = $1") == 2


async def test_answers_come_in_order_and_repeats_get_the_first_answer(inbox: InboxStore) -> None:
    await inbox.accept([arrival("1")], EVENT)
    found = await inbox.accept(
        [arrival("2"), arrival("1"), arrival("3"), arrival("3", raw="other"), arrival("2")], EVENT
    )
    acks = [stored.ack for stored in found]
    assert acks == [b"ack 2", b"ack 1", b"ack 3", b"ack 3", b"ack 2"]
    assert found[3].digest == arrival("3").digest


async def test_batch_of_repeats_alone_changes_nothing(
    inbox: InboxStore, database: Database
) -> None:
    for _ in range(2):
        await inbox.accept([arrival("1"), arrival("1")], EVENT)
    assert await inbox.counts() == {"queued": 1}
    assert await database.fetch_value("SELECT count(*) FROM audit_event WHERE tenant = $1") == 1


async def test_claim_steps_over_lanes_that_another_worker_holds(
    inbox: InboxStore, database: Database
) -> None:
    await inbox.accept([arrival(str(n), lane=n % 3) for n in range(6)], EVENT)
    async with database.connection() as connection, connection.transaction():
        first = await inbox.claim(connection, count_max=1)
        assert [m.raw for m in first] == [b"0"]
        # It holds the lane of what it took and no other, so the second has the rest.
        assert await claimed(inbox, database) == ["1", "2", "4", "5"]
    assert await claimed(inbox, database) == [str(n) for n in range(6)]


async def test_lane_with_thousands_waiting_has_a_share_of_each_batch(
    inbox: InboxStore, database: Database
) -> None:
    """However far behind them the others stand, and in the order of each lane."""
    many = [arrival(f"many {n}", lane=1) for n in range(10 * LOOKAHEAD * 2)]
    others = [arrival("b", lane=2), arrival("c", lane=3), arrival("d", lane=2)]
    await inbox.accept([*many, *others], EVENT)
    assert await claimed(inbox, database, count_max=10) == [f"many {n}" for n in range(10)]
    share = [f"many {n}" for n in range(LANE_SHARE)]
    assert await claimed(inbox, database, count_max=20) == [*share, "b", "c", "d"]


async def test_merge_among_thousands_holds_up_the_patient_it_merges(
    inbox: InboxStore, database: Database
) -> None:
    """It cannot be passed over on the way to what stands behind its own lane's messages."""
    many = [arrival(f"many {n}", lane=1) for n in range(20 * LOOKAHEAD)]
    behind = [arrival("merge", lane=1, merged=2), arrival("b", lane=2), arrival("c", lane=3)]
    await inbox.accept([*many, *behind], EVENT)
    share = [f"many {n}" for n in range(LANE_SHARE)]
    assert await claimed(inbox, database, count_max=20) == [*share, "c"]


async def test_merge_waits_while_either_lane_is_held(inbox: InboxStore, database: Database) -> None:
    await inbox.accept([arrival("a", lane=1)], EVENT)
    async with database.connection() as connection, connection.transaction():
        assert len(await inbox.claim(connection, count_max=10)) == 1
        more = [
            arrival("merge", lane=2, merged=1),
            arrival("b", lane=2),
            arrival("c", lane=1),
            arrival("d", lane=3),
        ]
        await inbox.accept(more, EVENT)
        assert await claimed(inbox, database) == ["d"]
    assert await claimed(inbox, database) == ["a", "merge", "b", "c", "d"]


async def test_message_when_it_has_ended_is_never_claimed_again(
    inbox: InboxStore, database: Database
) -> None:
    await inbox.accept([arrival("1"), arrival("2")], EVENT)
    async with database.change(EVENT) as transaction:
        [first, _] = await inbox.claim(transaction, count_max=10)
        ended = Processed(id=first.id, status=InboxStatus.FILTERED, reason="not wanted")
        await inbox.end(transaction, [ended])
    assert await claimed(inbox, database) == ["2"]
    with pytest.raises(AssertionError):
        async with database.change(EVENT) as transaction:
            await inbox.end(transaction, [ended])


async def test_filtered_message_without_a_reason_is_refused_by_the_store(
    inbox: InboxStore, database: Database
) -> None:
    await inbox.accept([arrival("1")], EVENT)

    async def end_without_reason() -> None:
        async with database.change(EVENT) as transaction:
            [first] = await inbox.claim(transaction, count_max=1)
            await inbox.end(transaction, [Processed(id=first.id, status=InboxStatus.FILTERED)])

    with pytest.raises(asyncpg.CheckViolationError):
        await end_without_reason()


async def test_tenants_never_see_one_another(
    inbox: InboxStore, database: Database, database_url: str
) -> None:
    await inbox.accept([arrival("1")], EVENT)
    other = await open_database(database_url, tenant="other", masters=database.vault.masters)
    assert await InboxStore(other).counts() == {}
    assert [s.taken for s in await InboxStore(other).accept([arrival("1")], EVENT)] == [True]
    assert await claimed(InboxStore(other), other) == ["1"]
    await other.close()


async def test_accept_when_the_store_is_gone_says_so(inbox: InboxStore, database: Database) -> None:
    await database.close()
    with pytest.raises(Unavailable):
        await inbox.accept([arrival("1")], EVENT)


async def test_accept_when_its_connection_dies_has_a_new_one_next_time(
    inbox: InboxStore, database: Database
) -> None:
    await inbox.accept([arrival("1")], EVENT)
    async with database.standing() as connection:
        pid = connection.get_server_pid()
    await database.fetch("SELECT pg_terminate_backend($2) WHERE $1 <> ''", pid)
    with pytest.raises(Unavailable):
        await inbox.accept([arrival("2")], EVENT)
    await inbox.accept([arrival("2")], EVENT)
    assert await inbox.counts() == {"queued": 2}
