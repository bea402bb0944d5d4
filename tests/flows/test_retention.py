"""Old rows go when their period is over, and not a moment before; a hold beats every period."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from chartgate.config import Config, RetentionConfig, parse_config
from chartgate.errors import ConfigError
from chartgate.flows import erasure, events, intake, retention
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.disclosure import Piece, Shown
from chartgate.model.interaction import Interaction
from chartgate.model.message import Received
from chartgate.model.principal import Person
from chartgate.model.resource import Copy
from chartgate.store.database import Database
from chartgate.store.disclosures import DisclosureStore
from chartgate.store.record import RecordStore
from chartgate.store.retention import CLASSES, ranges_of
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt
from tests.flows.clinics import EHR, Clinic
from tests.flows.feeds import FEED, feed_gate
from tests.flows.ledgers import Ledger, open_ledger
from tools import verify_ledger

WHO = Person(id="privacy-officer", roles=(), sites=())
DAY_S = 86_400


@pytest.fixture
async def gate(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Gate]:
    made = feed_gate(database, clock, tmp_path, id_from="identifier")
    await made.audit.start()
    yield made
    await made.audit.close()


async def show(gate: Gate, name: str, patient: str = "Patient/1") -> str:
    """An AI client is shown something now; the interaction."""
    id_, body = str(uuid4()), canonical_bytes({"resourceType": "Patient", "name": name})
    event = AuditEvent(
        recorded=gate.clock(),
        action="fhir.read",
        agent="client:x",
        patient=patient,
        interaction=id_,
    )
    opened = Interaction(
        id=id_, client="x", charter="clinic-booking", site="s", started_at=gate.clock()
    )
    piece = Piece(digest=digest(body), body=body, patient=patient)
    await gate.audit.record(event, opened=opened, disclosed=Shown(connection=EHR, pieces=(piece,)))
    return id_


async def answers(gate: Gate, interaction: str) -> list[bytes | None]:
    return [d.answer for d in await DisclosureStore(gate.database).of_interaction(interaction)]


async def count(database: Database, table: str) -> int:
    found: int = await database.fetch_value(
        f"SELECT count(*) FROM {table} WHERE tenant = $1"  # noqa: S608 - the test's own words
    )
    return found


def days(clock: FakeClock, number: float) -> None:
    clock.advance(number * DAY_S)


async def test_snapshot_goes_when_its_charters_period_is_over_and_not_before(
    gate: Gate, clock: FakeClock
) -> None:
    """The sample charter says 90 days; its event stays for six years."""
    id_ = await show(gate, "Ada")
    days(clock, 89.9)
    assert (await retention.run(gate))["disclosure"] == 0
    assert None not in await answers(gate, id_)
    later = await show(gate, "Ben")
    days(clock, 0.2)
    assert (await retention.run(gate))["disclosure"] == 2  # the frame and the body
    assert await answers(gate, id_) == []
    assert None not in await answers(gate, later)
    query = "SELECT count(*) FROM audit_event WHERE tenant = $1 AND action = 'fhir.read'"
    assert await gate.database.fetch_value(query) == 2


async def test_body_that_was_shown_again_stays_with_its_later_frame(
    gate: Gate, clock: FakeClock
) -> None:
    await show(gate, "Ada")
    days(clock, 60)
    later = await show(gate, "Ada")
    days(clock, 60)
    await retention.run(gate)
    [answer] = await answers(gate, later)
    assert answer is not None
    assert b"Ada" in answer


async def test_version_that_is_current_of_a_feed_stays_for_ever_the_others_go(
    gate: Gate, clock: FakeClock
) -> None:
    for control_id in ("1", "2"):
        raw = adt(control_id=control_id).replace(b"^Ada", f"^Ada{control_id}".encode())
        await intake.accept(gate, [Received(connection=FEED, raw=raw)])
        while await events.process_next(gate):
            pass
        clock.advance(1)
    body = canonical_bytes({"resourceType": "Patient", "id": "live"})
    seen = Copy(
        reference="Patient/live", version="1", digest=digest(body), body=body, as_of=clock()
    )
    await RecordStore(gate.database).keep(EHR, [seen])
    days(clock, 366)
    counts = await retention.run(gate)
    assert counts["record"] == 1 + 1 + 1  # an old version; what the EHR said, and its version
    assert counts["inbox"] == 2
    record = RecordStore(gate.database)
    kept = await record.current(FEED, "Patient/1001")
    assert kept is not None
    assert b"Ada2" in kept.body
    assert await record.current(EHR, "Patient/live") is None
    assert await count(gate.database, "inbox") == 2


async def test_proposal_goes_with_all_that_hangs_on_it_once_it_ended_long_ago(
    clinic: Clinic,
) -> None:
    await clinic.verified()
    under_way = await clinic.approved(clinic.hospital.scenario.free_slots[1])
    days(clinic.clock, 2193)
    assert (await retention.run(clinic.gate))["proposals"] == 1
    assert (await clinic.get(under_way)).status.value == "approved"
    assert await count(clinic.database, "proposal_content") == 1
    assert await count(clinic.database, "proposal_attempt") == 0


@pytest.mark.parametrize("patient", ["Patient/1", None])
async def test_hold_beats_every_period(gate: Gate, clock: FakeClock, patient: str | None) -> None:
    held = await show(gate, "Ada", "Patient/1")
    other = await show(gate, "Ben", "Patient/2")
    hold = await erasure.place_hold(gate, WHO, patient=patient, site=None, reason="docket 7")
    days(clock, 10_000)
    await retention.run(gate)
    assert None not in await answers(gate, held)
    assert bool(await answers(gate, held))
    assert bool(await answers(gate, other)) == (patient is None)
    await erasure.lift_hold(gate, WHO, hold.id, reason="settled")
    await retention.run(gate)
    assert await answers(gate, held) == []


async def test_each_batch_is_bounded_and_audited_with_a_count_and_a_digest(
    gate: Gate, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(gate.config, retention=RetentionConfig(batch=2))
    monkeypatch.setitem(gate.__dict__, "config", config)
    for number in range(5):
        await show(gate, f"N{number}")
    days(clock, 100)
    assert await retention.delete_batch(gate, "disclosure") == 2
    await retention.run(gate)
    query = "SELECT body FROM audit_event WHERE tenant = $1 AND action = 'retention.delete'"
    details = [orjson.loads(r["body"])["details"] for r in await gate.database.fetch(query)]
    frames = [d for d in details if d["rows"] == "delete_frames"]
    assert [d["count"] for d in frames] == ["2", "2", "1"]
    assert len({d["digest"] for d in details}) > 1
    assert all(len(d["digest"]) == 64 for d in details)


async def test_status_changes_nothing_and_says_what_is_due(gate: Gate, clock: FakeClock) -> None:
    id_ = await show(gate, "Ada")
    days(clock, 100)
    due = {one.name: one.due for one in await retention.standing(gate)}
    assert due["disclosure"] >= 1
    assert due["audit"] == 0
    assert None not in await answers(gate, id_)
    assert bool(await answers(gate, id_))


async def test_worker_looks_now_and_then_and_goes_on_while_there_is_more(
    gate: Gate, clock: FakeClock
) -> None:
    loop = retention.Retention(gate)
    assert await loop.delete_next() == 0
    await show(gate, "Ada")
    days(clock, 100)
    assert await loop.delete_next() == 1
    assert await loop.delete_next() == 1
    assert await loop.delete_next() == 0
    await show(gate, "Ben")
    assert await loop.delete_next() == 0  # it is not time yet


@pytest.fixture
async def ledger(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with open_ledger(database, clock, tmp_path) as opened:
        yield opened


async def strangers_verdict(ledger: Ledger, folder: Path) -> int:
    await ledger.export(folder)
    export, witness = str(folder / "export"), str(folder / "witness-copy.txt")
    return verify_ledger.main([export, "--key", str(ledger.signer.key), "--witness", witness])


async def test_events_older_than_six_years_go_and_the_ledger_verifies_for_us_and_a_stranger(
    ledger: Ledger, tmp_path: Path
) -> None:
    gate = ledger.gate
    await ledger.grow(5, 7)
    before = gate.clock()
    days(ledger.clock, 2191)
    assert (await retention.run(gate))["audit"] == 0
    await ledger.grow(3)
    days(ledger.clock, 2)
    assert (await retention.run(gate))["audit"] == 12
    await ledger.sequence()
    assert (await ledger.verify()).holds
    assert await strangers_verdict(ledger, tmp_path / "out") == 0
    left = await gate.database.fetch("SELECT recorded FROM audit_event WHERE tenant = $1")
    assert min(row["recorded"] for row in left) > before + timedelta(days=2000)


async def test_event_that_went_without_a_word_is_found(ledger: Ledger, tmp_path: Path) -> None:
    """What retention lets go is said in the tree; what somebody else takes is not."""
    await ledger.grow(5)
    async with ledger.database.bookkeeping() as transaction:
        await transaction.execute(
            "DELETE FROM audit_event WHERE id = (SELECT min(id) FROM audit_event)"
        )
    assert not (await ledger.verify()).holds
    assert await strangers_verdict(ledger, tmp_path / "out") == 1


async def test_events_under_no_signed_head_stay(ledger: Ledger) -> None:
    await ledger.add(4)
    days(ledger.clock, 3000)
    assert (await retention.run(ledger.gate))["audit"] == 0


async def test_event_of_a_held_patient_stays_when_the_others_go(ledger: Ledger) -> None:
    gate = ledger.gate
    for patient in ("Patient/1", "Patient/2"):
        await gate.audit.record(
            AuditEvent(recorded=gate.clock(), action="fhir.read", agent="client:x", patient=patient)
        )
    await ledger.sequence()
    await erasure.place_hold(gate, WHO, patient="Patient/1", site=None, reason="docket 7")
    days(ledger.clock, 3000)
    await retention.run(gate)
    query = "SELECT patient FROM audit_event WHERE tenant = $1 AND action = 'fhir.read'"
    assert [row["patient"] for row in await gate.database.fetch(query)] == ["Patient/1"]
    await ledger.sequence()
    assert (await ledger.verify()).holds


@pytest.mark.parametrize(
    "table",
    [{"audit_days": 2191}, {"accounting_days": 100}, {"disclosure_days": 30}, {"audit_days": -1}],
)
def test_period_below_what_the_law_asks_is_refused(table: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        parse_config({"retention": table}, folder=tmp_path)


def test_ten_years_can_be_asked_for(tmp_path: Path) -> None:
    config = parse_config({"retention": {"audit_days": 3653}}, folder=tmp_path)
    assert config.retention.audit_days == 3653


def test_every_class_has_a_period() -> None:
    assert all(hasattr(Config(folder=Path()).retention, f"{name}_days") for name in CLASSES)


@pytest.mark.parametrize(
    ("numbers", "ranges"),
    [([], ()), ([3], ((3, 4),)), ([2, 1, 3, 7, 8], ((1, 4), (7, 9))), ([5, 9], ((5, 6), (9, 10)))],
)
def test_ranges_have_no_gaps(numbers: list[int], ranges: tuple[tuple[int, int], ...]) -> None:
    assert ranges_of(numbers) == ranges
