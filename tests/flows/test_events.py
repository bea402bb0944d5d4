"""From the inbox to the record, on a real store: each message ends where it should."""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from chartgate.errors import Unavailable
from chartgate.flows import events
from chartgate.gate import Gate
from chartgate.store.database import Database
from chartgate.store.inbox import InboxStore
from chartgate.store.quarantine import QuarantineStore
from chartgate.store.record import RecordStore
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt, header, merge, message, patient, siu
from chartgate.transform.hl7v2 import messages as transforms
from tests.flows.clinics import Killed
from tests.flows.feeds import FEED, accept, actions, feed_gate, quarantine

CORPUS = Path(__file__).parents[3] / "shared" / "corpora" / "hl7v2"


@pytest.fixture
def gate(database: Database, clock: FakeClock, tmp_path: Path) -> Gate:
    return feed_gate(database, clock, tmp_path, id_from="identifier")


async def process_all(gate: Gate, worker: str = "worker") -> None:
    while await events.process_next(gate, worker):
        pass


async def current(gate: Gate, reference: str) -> dict[str, Any]:
    copy = await RecordStore(gate.database).current(FEED, reference)
    assert copy is not None, reference
    found: dict[str, Any] = orjson.loads(copy.body)
    return found


async def test_message_when_it_is_durable_is_acknowledged_and_becomes_record(gate: Gate) -> None:
    assert await accept(gate, siu("S12", appointment="A1", mrn="p1")) == ["AA"]
    assert await InboxStore(gate.database).counts() == {"queued": 1}
    assert await events.process_next(gate) == 1
    assert (await current(gate, "Appointment/A1"))["status"] == "booked"
    assert (await current(gate, "Patient/p1"))["gender"] == "female"
    [event] = await gate.database.fetch("SELECT * FROM event WHERE tenant = $1")
    assert (event["kind"], event["focus"]) == ("SIU^S12", ["Appointment/A1", "Patient/p1"])
    assert await actions(gate.database) == {"message.accept": 1, "message.process": 1}


async def test_unsupported_trigger_is_filtered_with_its_reason(gate: Gate) -> None:
    assert await accept(gate, message(header("BAR^P01"), patient())) == ["AA"]
    await process_all(gate)
    [row] = await gate.database.fetch("SELECT status, reason FROM inbox WHERE tenant = $1")
    assert tuple(row) == ("filtered", "trigger not supported")


async def test_message_when_wrong_inside_is_quarantined_and_delays_no_other(gate: Gate) -> None:
    wrong = adt(control_id="bad", mrn="p1").replace(b"19800102", b"19801399")
    raws = [adt("A08", f"a{n}", mrn="p1") for n in range(3)] + [wrong, adt("A08", "z", mrn="p1")]
    assert set(await accept(gate, *raws)) == {"AA"}
    await process_all(gate)
    assert await InboxStore(gate.database).counts() == {"delivered": 4, "quarantined": 1}
    assert await quarantine(gate) == [("content", "PID-7", 1)]
    assert b"19801399" not in repr(await QuarantineStore(gate.database).counts()).encode()


@pytest.mark.parametrize("error", [RecursionError, MemoryError, KeyError("secret")])
async def test_fault_of_ours_is_quarantined_and_the_worker_lives(
    gate: Gate, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise error

    monkeypatch.setitem(dict_of(transforms.SUPPORTED), "ADT^A04", broken)
    await accept(gate, adt("A04", "1"), adt("A01", "2"))
    await process_all(gate)
    assert await InboxStore(gate.database).counts() == {"delivered": 1, "quarantined": 1}
    [row] = await gate.database.fetch("SELECT reason FROM quarantine WHERE tenant = $1")
    assert "secret" not in row["reason"]


def dict_of(mapping: Any) -> dict[str, Any]:
    assert isinstance(mapping, dict)
    return mapping


async def test_message_that_the_store_refuses_is_quarantined_alone(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only PostgreSQL finds out must not stop the batch for ever."""
    keep = RecordStore.keep_in

    async def refusing(self: Any, transaction: Any, connection: str, copies: Any) -> None:
        await keep(self, transaction, connection, copies)
        if any(copy.reference == "Patient/bad" for copy in copies):
            await transaction.execute("SELECT 1/0")

    monkeypatch.setattr(RecordStore, "keep_in", refusing)
    await accept(gate, adt("A08", "1", mrn="p1"), adt("A08", "2", mrn="bad"), adt("A08", "3"))
    await process_all(gate)
    assert await InboxStore(gate.database).counts() == {"delivered": 2, "quarantined": 1}
    assert await RecordStore(gate.database).current(FEED, "Patient/bad") is None


@dataclass
class Deadly:
    """Ends the worker that writes about one patient, as a kill does: nothing of it commits."""

    patient: str
    error: BaseException
    deaths: int = 0

    def arm(self, patch: pytest.MonkeyPatch) -> None:
        keep = RecordStore.keep_in

        async def deadly(store: Any, transaction: Any, connection: str, copies: Any) -> None:
            if any(copy.reference == self.patient for copy in copies):
                self.deaths += 1
                raise self.error
            await keep(store, transaction, connection, copies)

        patch.setattr(RecordStore, "keep_in", deadly)


async def ended(database: Database) -> list[tuple[str, str]]:
    """Control id and status, in the order in which the messages ended."""
    query = """SELECT control_id, status FROM inbox
               WHERE tenant = $1 AND status <> 'queued' ORDER BY ended_at, id"""
    return [tuple(row) for row in await database.fetch(query)]


async def test_message_that_ends_its_workers_is_set_aside_and_all_others_arrive(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three workers end with it in hand; the fourth sets it aside. Nothing overtakes."""
    killer = Deadly("Patient/bad", Killed())
    killer.arm(monkeypatch)
    raws = [adt("A08", f"{n}", mrn=mrn) for n, mrn in enumerate(("p1", "bad", "p1", "p2", "bad"))]
    raws[4] = siu("S12", "4", mrn="p1")
    await accept(gate, *raws)
    for worker in ("w1", "w2", "w3"):
        with pytest.raises(Killed):
            await process_all(gate, worker)
    assert killer.deaths == 3
    assert await ended(gate.database) == [("0", "delivered")]  # what stood before it
    await process_all(gate, "w4")
    assert killer.deaths == 3
    assert await ended(gate.database) == [
        ("0", "delivered"), ("1", "quarantined"), ("2", "delivered"), ("3", "delivered"),
        ("4", "delivered"),
    ]  # fmt: skip
    assert await quarantine(gate) == [("internal", "", 1)]
    [row] = await gate.database.fetch("SELECT reason FROM quarantine WHERE tenant = $1")
    assert row["reason"] == "3 workers ended while they had this message in hand"
    counts = await actions(gate.database)
    assert (counts["message.process"], counts["message.quarantine"]) == (4, 1)


async def test_what_a_worker_that_ended_had_in_hand_is_taken_one_by_one(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only so can the next worker tell which of them it was; then batches are whole again."""
    await accept(gate, *(adt("A08", f"{n}", mrn=f"p{n}") for n in range(4)))
    with monkeypatch.context() as patch:
        Deadly("Patient/p2", Killed()).arm(patch)
        with pytest.raises(Killed):
            await events.process_next(gate, "w1")
    await accept(gate, *(adt("A08", f"{n}", mrn=f"p{n}") for n in range(4, 7)))
    taken = []
    while count := await events.process_next(gate, "w2"):
        taken.append(count)
    assert taken == [1, 1, 1, 1, 3]
    assert await InboxStore(gate.database).counts() == {"delivered": 7}


async def test_outage_of_the_store_does_not_count_against_the_message_in_hand(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker lives, so no message of its batch is a suspect, however often it happens."""
    await accept(gate, *(adt("A08", f"{n}", mrn=f"p{n}") for n in range(3)))
    with monkeypatch.context() as patch:
        outage = Deadly("Patient/p1", asyncpg.ConnectionDoesNotExistError("gone"))
        outage.arm(patch)
        for _ in range(events.ENDED_WORKERS_MAX + 2):
            with pytest.raises(Unavailable):
                await events.process_next(gate, "w1")
        assert outage.deaths == events.ENDED_WORKERS_MAX + 2
    assert await events.process_next(gate, "w1") == 3
    assert await InboxStore(gate.database).counts() == {"delivered": 3}


async def test_notes_of_workers_that_ended_go_once_their_messages_are_done(gate: Gate) -> None:
    await accept(gate, adt())
    await events.process_next(gate, "w1")
    await events.forget_workers(gate, "w2")
    assert await gate.database.fetch("SELECT * FROM inbox_batch WHERE tenant = $1") == []


async def test_patient_with_thousands_of_messages_does_not_hold_up_another(gate: Gate) -> None:
    many = [adt("A08", f"many {n}", mrn="many") for n in range(1_000)]
    for first in range(0, len(many), 500):
        await accept(gate, *many[first : first + 500])
    await accept(gate, adt("A08", "other", mrn="other"))
    await events.process_next(gate)
    done = await ended(gate.database)
    assert ("other", "delivered") in done
    assert [one for one, _ in done if one != "other"] == [f"many {n}" for n in range(len(done) - 1)]


async def test_merge_waits_for_both_patients_and_they_for_it(gate: Gate) -> None:
    raws = [
        adt("A08", "1", mrn="old"),
        merge("2", mrn="new", prior="old"),
        adt("A08", "3", mrn="old"),
        adt("A08", "4", mrn="new"),
    ]
    await accept(gate, *raws)
    await process_all(gate)
    old = await current(gate, "Patient/old")
    assert (old["active"], old["link"][0]["other"]) == (False, {"reference": "Patient/new"})
    assert (await current(gate, "Patient/new"))["link"][0]["type"] == "replaces"


async def test_order_of_a_patient_holds_with_several_workers(gate: Gate) -> None:
    """Each patient's last message wins, whoever processed it; merges cross the lanes."""
    dice = random.Random(5)
    patients = [f"p{n}" for n in range(12)]
    last: dict[str, str] = {}
    raws = []
    for number in range(400):
        mrn = dice.choice(patients)
        if number % 25 == 0:
            other = dice.choice([p for p in patients if p != mrn])
            raws.append(merge(f"m{number}", mrn=mrn, prior=other))
        last[mrn] = f"Given{number}"
        raws.append(adt("A08", f"{number}", mrn=mrn).replace(b"Ada", last[mrn].encode()))
    for first in range(0, len(raws), 50):
        assert set(await accept(gate, *raws[first : first + 50])) == {"AA"}

    async def work() -> None:
        while (await InboxStore(gate.database).counts()).get("queued"):
            await events.process_next(gate)

    await asyncio.gather(*(work() for _ in range(4)))
    assert await InboxStore(gate.database).counts() == {"delivered": len(raws)}
    for mrn, given in last.items():
        assert (await current(gate, f"Patient/{mrn}"))["name"][0]["given"] == [given]
    query = "SELECT inbox_id FROM event WHERE tenant = $1"
    assert len(await gate.database.fetch(query)) == len(raws)


async def test_connection_when_configured_no_more_keeps_its_messages(
    gate: Gate, database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    await accept(gate, adt())
    other = feed_gate(database, clock, tmp_path)
    dict_of(other.config.connections).clear()
    await process_all(other)
    assert await quarantine(other) == [("config", "", 1)]


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpora are not beside this checkout")
async def test_corpus_when_sent_is_accounted_for_to_the_last_message(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    """In = delivered + quarantined + filtered; nothing escapes, nothing is left."""
    gate = feed_gate(database, clock, tmp_path, processing_id="")
    lines = (CORPUS / "linuxforhealth" / "messages.jsonl").read_text().splitlines()
    raws = [json.loads(line)["message"].encode() for line in lines]
    codes: Counter[str] = Counter()
    for first in range(0, len(raws), 100):
        codes.update(await accept(gate, *raws[first : first + 100]))
    await process_all(gate)
    counts = await InboxStore(database).counts()
    assert "queued" not in counts
    assert sum(codes.values()) == len(raws)
    assert set(codes) <= {"AA", "AE", "AR", "CA", "CE", "CR", ""}
    reasons = await QuarantineStore(database).counts()
    at_the_door = {"header", "charset", "structure", "control-id collision"}
    refused = sum(count for kind, _, count, _ in reasons if kind in at_the_door)
    answered = sum(codes[code] for code in ("AE", "AR", "CE", "CR"))
    unanswered = codes[""]  # MSH-15 asked for none, taken or not
    assert answered <= refused <= answered + unanswered
    taken = codes["AA"] + codes["CA"] + unanswered - (refused - answered)
    assert sum(counts.values()) == taken
    assert all(reason for _, reason, _, _ in reasons)
