"""Numbered feeds: the number that is awaited moves with the message, or not at all."""

from datetime import UTC, datetime

from chartgate.model.audit import AuditEvent
from chartgate.model.message import Arrival, Expected, SequenceMark, Stored
from chartgate.store.database import Database
from chartgate.store.inbox import InboxStore
from chartgate.store.sequences import ANY, LAST, SequenceStore

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ACCEPTED = AuditEvent(recorded=AT, action="message.accept", agent="process:listener")
MOVED = AuditEvent(recorded=AT, action="feed.sequence", agent="process:listener")


def arrival(number: int, control_id: str = "") -> Arrival:
    return Arrival(
        connection="north",
        sender="A|B",
        control_id=control_id or f"c{number}",
        message_type="ADT^A01",
        lane=1,
        merged_lane=None,
        digest=number.to_bytes(32, "big"),
        raw=b"MSH",
        ack=b"ack %d" % number,
        received_at=AT,
        sequence=number,
    )


def mark(number: int) -> SequenceMark:
    return SequenceMark(connection="north", sender="A|B", number=number)


async def accept(database: Database, *items: Arrival | SequenceMark) -> list[int | str]:
    """The number that is expected, or what became of each."""
    said = await SequenceStore(database).accept(items, ACCEPTED, MOVED)
    return [one.number if isinstance(one, Expected) else _name(one) for one in said]


def _name(stored: Stored) -> str:
    return "taken" if stored.taken else "known"


async def test_link_takes_any_first_number_and_then_each_in_its_turn(database: Database) -> None:
    assert await accept(database, mark(0), arrival(7), arrival(8)) == [ANY, "taken", "taken"]
    assert await accept(database, arrival(10), arrival(9), arrival(10)) == [9, "taken", "taken"]
    assert await accept(database, mark(0)) == [11]
    assert await SequenceStore(database).links() == (("north", "A|B", 11),)


async def test_repeat_is_known_whatever_is_expected(database: Database) -> None:
    assert await accept(database, arrival(1), arrival(1)) == ["taken", "known"]
    assert await accept(database, arrival(1), arrival(2)) == ["known", "taken"]
    assert await InboxStore(database).counts() == {"queued": 2}


async def test_gap_stops_the_link_until_it_is_numbered_anew(database: Database) -> None:
    assert await accept(database, arrival(1), arrival(3), arrival(4)) == ["taken", 2, 2]
    assert await accept(database, mark(-1), arrival(5)) == [ANY, "taken"]
    assert await InboxStore(database).counts() == {"queued": 2}


async def test_gap_stops_the_link_until_a_person_resets_it(database: Database) -> None:
    assert await accept(database, arrival(1), arrival(3)) == ["taken", 2]
    await SequenceStore(database).reset("north", "A|B", expected=3, audit=MOVED)
    assert await accept(database, arrival(3)) == ["taken"]


async def test_number_after_the_last_is_the_first(database: Database) -> None:
    assert await accept(database, arrival(LAST), arrival(1)) == ["taken", "taken"]


async def test_number_and_message_are_audited_once(database: Database) -> None:
    await accept(database, arrival(1), arrival(2))
    await accept(database, arrival(4))
    query = "SELECT action FROM audit_event WHERE tenant = $1 ORDER BY action"
    found = [row["action"] for row in await database.fetch(query)]
    assert found == ["feed.sequence", "message.accept"]
