"""Intake end to end on a real store: what is acknowledged is kept, and nothing else is."""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.adapters.loader import load_feeds
from chartgate.config import MllpConfig
from chartgate.errors import ConfigError
from chartgate.flows import events
from chartgate.formats.hl7v2 import parse
from chartgate.formats.mllp import frame
from chartgate.gate import Gate
from chartgate.model.message import Received
from chartgate.store.database import Database
from chartgate.store.inbox import InboxStore
from chartgate.store.record import RecordStore
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt, header, merge, message, patient, siu
from chartgate.transform.hl7v2 import messages as transforms
from tests.flows.feeds import FEED, feed_gate

CORPUS = Path(__file__).parents[3] / "shared" / "corpora" / "hl7v2"


@pytest.fixture
def gate(database: Database, clock: FakeClock, tmp_path: Path) -> Gate:
    return feed_gate(database, clock, tmp_path, id_from="identifier")


async def accept(gate: Gate, *raws: bytes, flaw: str = "") -> list[str]:
    """MSA-1 of each answer; "" where there is none."""
    batch = [Received(connection=FEED, raw=raw, flaw=flaw) for raw in raws]
    answers = await events.accept(gate, batch)
    return [parse(answer).value("MSA", 1) or "" if answer else "" for answer in answers]


async def process_all(gate: Gate) -> None:
    while await events.process_next(gate):
        pass


async def actions(database: Database) -> Counter[str]:
    query = "SELECT action FROM audit_event WHERE tenant = $1"
    return Counter(row["action"] for row in await database.fetch(query))


async def quarantine(gate: Gate) -> list[tuple[str, str, int]]:
    query = "SELECT reason_class, position, count FROM quarantine WHERE tenant = $1 ORDER BY id"
    return [tuple(row) for row in await gate.database.fetch(query)]


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


async def test_audit_event_of_a_batch_accounts_for_each_of_its_messages(gate: Gate) -> None:
    await accept(gate, *(adt(control_id=str(n)) for n in range(3)))
    [row] = await gate.database.fetch("SELECT body FROM audit_event WHERE tenant = $1")
    details = json.loads(row["body"])["details"]
    again = """SELECT encode(sha256(string_agg(digest, ''::bytea ORDER BY id)), 'hex'),
               min(id)::text, max(id)::text FROM inbox WHERE tenant = $1"""
    [[digests, first, last]] = await gate.database.fetch(again)
    assert details == {"count": "3", "digests": digests, "first": first, "last": last}


async def test_repeat_when_its_content_is_the_same_gets_the_stored_answer(
    gate: Gate, clock: FakeClock
) -> None:
    received = Received(connection=FEED, raw=adt(control_id="7"))
    [first] = await events.accept(gate, [received])
    clock.advance(60)
    assert await events.accept(gate, [received, received]) == [first, first]
    assert await InboxStore(gate.database).counts() == {"queued": 1}
    assert await actions(gate.database) == {"message.accept": 1}


@pytest.mark.parametrize("together", [True, False])
async def test_control_id_when_used_for_other_content_is_refused(
    gate: Gate, together: bool
) -> None:
    one, other = adt(control_id="7"), adt(control_id="7", mrn="2002")
    if together:
        assert await accept(gate, one, other) == ["AA", "AE"]
    else:
        assert await accept(gate, one) + await accept(gate, other) == ["AA", "AE"]
    assert await quarantine(gate) == [("control-id collision", "MSH-10", 1)]
    assert await InboxStore(gate.database).counts() == {"queued": 1}


def mangled(**changes: str) -> bytes:
    """An ADT whose header has these fields replaced, e.g. m9=""."""
    fields = header().split("|")
    for name, value in changes.items():
        fields[int(name[1:]) - 1] = value
    return message("|".join(fields), patient())


@pytest.mark.parametrize(
    ("raw", "answer", "reason_class", "position"),
    [
        (mangled(m10=""), "AR", "header", "MSH-10"),
        (mangled(m9=""), "AR", "header", "MSH-9"),
        (mangled(m11="T"), "AR", "header", "MSH-11"),
        (mangled(m12="3.0"), "AR", "header", "MSH-12"),
        (mangled(m2="ABCD"), "AE", "header", "MSH-2"),
        (mangled(m10="x" * 200), "AE", "header", "MSH-10"),
        (mangled(m3="x" * 700), "AE", "header", "MSH-3"),
        (adt() + header(control_id="9").encode(), "AE", "structure", "MSH"),
        (adt().replace(b"Ada", b"\xc3("), "AE", "charset", "MSH-18"),
        (adt().replace(b"Ada", b"\x00"), "AE", "structure", ""),
        (b"GET / HTTP/1.1", "", "header", ""),
        (b"", "", "header", ""),
    ],
    ids=range(12),
)
async def test_message_when_it_cannot_be_taken_is_refused_and_kept(
    gate: Gate, raw: bytes, answer: str, reason_class: str, position: str
) -> None:
    """Beside a good one, which is not disturbed."""
    assert await accept(gate, raw, adt(control_id="good")) == [answer, "AA"]
    assert await quarantine(gate) == [(reason_class, position, 1)]
    assert await accept(gate, raw) == [answer]
    assert await quarantine(gate) == [(reason_class, position, 2)]
    assert (await actions(gate.database))["message.quarantine"] == 2


@pytest.mark.parametrize(
    ("flaw", "answer"), [("too large", "AR"), ("truncated", ""), ("noise", "")]
)
async def test_frame_when_flawed_is_kept_and_not_taken(gate: Gate, flaw: str, answer: str) -> None:
    assert await accept(gate, adt() + b"x" * 100_000, flaw=flaw) == [answer]
    [[reason_class, _, _]] = await quarantine(gate)
    [row] = await gate.database.fetch("SELECT length(raw) FROM quarantine WHERE tenant = $1")
    assert reason_class == flaw
    assert (row["length"] <= 64 * 1024) == (flaw == "too large")


async def test_storage_when_down_is_never_a_positive_answer(gate: Gate) -> None:
    await gate.database.close()
    assert await accept(gate, adt(), b"junk", mangled(m10="")) == ["AR", "", "AR"]


async def test_unsupported_trigger_is_filtered_with_its_reason(gate: Gate) -> None:
    assert await accept(gate, message(header("ORU^R01"), patient())) == ["AA"]
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
    assert b"19801399" not in repr(await InboxStore(gate.database).quarantine_counts()).encode()


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


async def test_zone_when_unknown_is_a_sentence(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    gate = feed_gate(database, clock, tmp_path, zone="Mars/Base")
    with pytest.raises(ConfigError, match="Mars/Base"):
        await accept(gate, adt())


async def test_feeds_of_the_config_listen_and_acknowledge(gate: Gate) -> None:
    """Over a real socket: two messages and a repeat in one go, three answers in order."""
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with load_feeds(gate.config, clock=gate.clock) as feeds:
        config = dict(gate.config.__dict__) | {"mllp": MllpConfig(port=0)}
        listening = asyncio.create_task(
            events.listen(
                Gate(**{**gate.__dict__, "config": type(gate.config)(**config)}),
                feeds,
                ready=lambda _, number: port.set_result(number),
            )
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", await port)
        writer.write(frame(adt(control_id="1")) + frame(siu(control_id="2")) + frame(adt()))
        answers = [await reader.readuntil(b"\x1c\r") for _ in range(3)]
        assert [b"MSA|AA|1" in a or b"MSA|AA|2" in a for a in answers] == [True] * 3
        assert answers[0] == answers[2]
        writer.close()
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening


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
    assert set(codes) <= {"AA", "AE", "AR", ""}
    reasons = await InboxStore(database).quarantine_counts()
    at_the_door = {"header", "charset", "structure", "control-id collision"}
    refused = sum(count for kind, _, count, _ in reasons if kind in at_the_door)
    assert refused == sum(codes[code] for code in ("AE", "AR", ""))
    assert sum(counts.values()) <= codes["AA"]
    assert all(reason for _, reason, _, _ in reasons)
