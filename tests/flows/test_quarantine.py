"""Looking at what was set aside, mending a copy of it, and dismissing it."""

import json
from pathlib import Path
from typing import Any

import pytest

from chartgate.errors import ConfigError, Invalid, NotFound, Unprocessable, VersionConflict
from chartgate.flows import intake, quarantine
from chartgate.formats.canonical import digest
from chartgate.gate import Gate
from chartgate.model.message import Received
from chartgate.model.principal import Process
from chartgate.store.database import Database
from chartgate.store.inbox import InboxStore
from chartgate.store.quarantine import QuarantineStatus, QuarantineStore, Selection
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt
from tests.flows.feeds import FEED, accept, feed_gate
from tests.flows.test_events import current, dict_of, process_all

WHO = Process(id="cli/olu")
WRONG = adt("A08", "bad", mrn="p1").replace(b"19800102", b"19801399")


@pytest.fixture
async def gate(database: Database, clock: FakeClock, tmp_path: Path) -> Any:
    """A gate with one message that has no such day in PID-7, in row 1 of the quarantine."""
    gate = feed_gate(database, clock, tmp_path, id_from="identifier")
    await gate.audit.start()
    assert await accept(gate, WRONG) == ["AA"]
    await process_all(gate)
    yield gate
    await gate.audit.close()


async def audited(gate: Gate, action: str) -> list[dict[str, Any]]:
    query = "SELECT body FROM audit_event WHERE tenant = $1 AND action = $2 ORDER BY id"
    return [json.loads(row["body"]) for row in await gate.database.fetch(query, action)]


async def raw_of(gate: Gate, row: Any) -> bytes | None:
    return await InboxStore(gate.database).raw(row["id"])


async def status_of(gate: Gate, row: int = 1) -> str:
    return (await QuarantineStore(gate.database).get(row)).status.value


async def test_list_tells_rows_and_what_is_open_and_nothing_of_the_patient(gate: Gate) -> None:
    found = await quarantine.listed(gate, Selection(), status=QuarantineStatus.OPEN, limit=9)
    assert [(row.position, row.message_type) for row in found.rows] == [("PID-7", "ADT^A08")]
    assert [(one.connection, one.rows) for one in found.open] == [(FEED, 1)]
    for secret in ("Example", "19801399", "p1^"):
        assert secret not in repr(found)


async def test_who_looks_at_a_message_is_in_the_audit_first(gate: Gate) -> None:
    opened = await quarantine.show(gate, WHO, 1)
    assert opened.raw == WRONG
    [event] = await audited(gate, "quarantine.show")
    assert event["agent"] == "process:cli/olu"
    assert event["entities"] == ["Quarantine/1", "Message/1"]
    assert event["details"] == {"digest": digest(WRONG).hex()}


async def test_nothing_is_shown_while_the_audit_cannot_be_written(gate: Gate) -> None:
    await gate.audit.close()
    with pytest.raises(Exception, match="audit trail is closed"):
        await quarantine.show(gate, WHO, 1)


async def test_row_that_is_not_there(gate: Gate) -> None:
    with pytest.raises(NotFound, match="there is no 7 in the quarantine"):
        await quarantine.show(gate, WHO, 7)


async def test_fixed_copy_is_delivered_and_the_original_stays_byte_for_byte(gate: Gate) -> None:
    plan = await quarantine.plan_fix(gate, WHO, 1, values={"PID-7": "19801130"})
    assert await status_of(gate) == "open"
    message = await quarantine.fix(gate, WHO, plan)
    assert await status_of(gate) == "fixed"
    await process_all(gate)
    assert (await current(gate, "Patient/p1"))["birthDate"] == "1980-11-30"
    rows = await gate.database.fetch(
        "SELECT id, status, digest, edited_from FROM inbox WHERE tenant = $1 ORDER BY id"
    )
    original, copy = rows
    assert (original["status"], await raw_of(gate, original)) == ("quarantined", WRONG)
    assert original["digest"] == digest(WRONG)
    assert (copy["id"], copy["status"], copy["edited_from"]) == (message, "delivered", 1)
    assert await raw_of(gate, copy) == WRONG.replace(b"19801399", b"19801130")
    opened = await QuarantineStore(gate.database).get(1)
    assert (opened.raw, opened.copy, opened.resolved_by) == (WRONG, message, WHO.agent)


async def test_fix_is_audited_with_places_and_digests_and_without_values(gate: Gate) -> None:
    values = {"PID-7": "19801130", "PID-5.1": "Secretname"}
    plan = await quarantine.plan_fix(gate, WHO, 1, values=values)
    message = await quarantine.fix(gate, WHO, plan)
    [event] = await audited(gate, "quarantine.fix")
    assert event["details"] == {
        "places": "PID-7 PID-5.1",
        "digest": digest(WRONG).hex(),
        "copy_digest": plan.copy.digest.hex(),
    }
    assert event["entities"] == ["Quarantine/1", "Message/1", f"Message/{message}"]
    everything = repr(await gate.database.fetch("SELECT body FROM audit_event WHERE tenant = $1"))
    assert "Secretname" not in everything
    assert "19801130" not in everything


async def test_copy_of_another_patient_goes_into_that_patients_lane(gate: Gate) -> None:
    plan = await quarantine.plan_fix(gate, WHO, 1, values={"PID-3.1": "p2", "PID-7": "19801130"})
    await quarantine.fix(gate, WHO, plan)
    query = "SELECT count(DISTINCT lane) FROM inbox WHERE tenant = $1"
    assert await gate.database.fetch_value(query) == 2


async def test_second_fix_of_one_row_is_refused_and_queues_nothing(gate: Gate) -> None:
    plans = [
        await quarantine.plan_fix(gate, WHO, 1, values={"PID-7": day})
        for day in ("19801130", "19801129")
    ]
    await quarantine.fix(gate, WHO, plans[0])
    with pytest.raises(VersionConflict, match="1 was dealt with meanwhile"):
        await quarantine.fix(gate, WHO, plans[1])
    with pytest.raises(VersionConflict, match="1 is fixed already by process:cli/olu"):
        await quarantine.plan_fix(gate, WHO, 1, values={"PID-7": ""})
    assert await InboxStore(gate.database).counts() == {"quarantined": 1, "queued": 1}
    assert len(await audited(gate, "quarantine.fix")) == 1


async def test_copy_that_fails_too_has_a_row_of_its_own(gate: Gate) -> None:
    plan = await quarantine.plan_fix(gate, WHO, 1, values={"PID-7": "19801398"})
    message = await quarantine.fix(gate, WHO, plan)
    await process_all(gate)
    opened = await QuarantineStore(gate.database).get(2)
    assert (opened.inbox_id, opened.status) == (message, QuarantineStatus.OPEN)
    assert await status_of(gate) == "fixed"


async def test_bytes_that_never_were_a_message_become_one_by_a_file(gate: Gate) -> None:
    noise = WRONG.replace(b"|bad|", b"||")
    await intake.accept(gate, [Received(connection=FEED, raw=noise)])
    row = await gate.database.fetch_value("SELECT max(id) FROM quarantine WHERE tenant = $1")
    edited = noise.replace(b"||P|", b"|new|P|").replace(b"19801399", b"19801130")
    with pytest.raises(Unprocessable, match="would be refused: there is no control id"):
        await quarantine.plan_fix(gate, WHO, row, edited=noise + b"ZZ1|1\r")
    plan = await quarantine.plan_fix(gate, WHO, row, edited=edited)
    assert plan.places == ("MSH-10", "PID-7")
    await quarantine.fix(gate, WHO, plan)
    await process_all(gate)
    assert (await InboxStore(gate.database).counts())["delivered"] == 1


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "say what to change"),
        ({"pid-7": "x"}, "is no place"),
        ({"ZZZ-1": "x"}, r"has no ZZZ\[1\]"),
        ({"MSH-2": "x"}, "MSH-2: other delimiters"),
        ({"PID-7": "19801399"}, "the same, byte for byte"),
        ({"MSH-10": ""}, "would be refused: there is no control id"),
    ],
)
async def test_fix_that_cannot_be_is_refused_before_anything_happens(
    gate: Gate, values: dict[str, str], sentence: str
) -> None:
    with pytest.raises(Invalid, match=sentence):
        await quarantine.plan_fix(gate, WHO, 1, values=values)


async def test_value_of_a_message_that_cannot_be_read_is_for_a_file(gate: Gate) -> None:
    await intake.accept(gate, [Received(connection=FEED, raw=b"HELLO", flaw="noise")])
    row = await gate.database.fetch_value("SELECT max(id) FROM quarantine WHERE tenant = $1")
    with pytest.raises(Invalid, match=r"edit it as a file: `show ID --raw"):
        await quarantine.plan_fix(gate, WHO, row, values={"PID-7": "x"})


async def test_fix_on_a_connection_that_is_configured_no_more_says_so(gate: Gate) -> None:
    dict_of(gate.config.connections).clear()
    with pytest.raises(ConfigError, match=f"{FEED} is configured no more"):
        await quarantine.plan_fix(gate, WHO, 1, values={"PID-7": "19801130"})


async def test_dismissed_row_is_closed_with_reason_and_person(gate: Gate) -> None:
    await quarantine.dismiss(gate, WHO, 1, because="a test of the sender")
    opened = await QuarantineStore(gate.database).get(1)
    assert (opened.status, opened.because) == (QuarantineStatus.DISMISSED, "a test of the sender")
    [event] = await audited(gate, "quarantine.dismiss")
    assert (event["reason"], event["agent"]) == ("a test of the sender", WHO.agent)
    with pytest.raises(VersionConflict, match="1 is dismissed already"):
        await quarantine.dismiss(gate, WHO, 1, because="again")


@pytest.mark.parametrize("because", ["", " ", "two\nlines", "x" * 501])
async def test_dismissal_without_a_reason_that_can_be_kept(gate: Gate, because: str) -> None:
    with pytest.raises(Invalid, match="say why, in one line"):
        await quarantine.dismiss(gate, WHO, 1, because=because)


@pytest.mark.parametrize(
    ("after", "places"),
    [
        (WRONG.replace(b"Ada", b"Bea"), ("PID-5",)),
        (WRONG + b"NTE|1||one\rNTE|2||two\r", ("NTE", "NTE[2]")),
        (WRONG.replace(b"\r", b"\r\n"), ("line ends",)),
        (b"HELLO", ("message",)),
    ],
)
def test_changed_places_are_named(after: bytes, places: tuple[str, ...]) -> None:
    assert quarantine.changed_places(WRONG, after) == places
