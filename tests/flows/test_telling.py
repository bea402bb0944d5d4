"""The change goes out as a message, while reads and guards stay with the FHIR connection."""

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from chartgate.adapters.hl7v2_mllp.sender import Sender
from chartgate.adapters.loader import load_connections
from chartgate.config import ConnectionConfig
from chartgate.demo.receiver import MessageReceiver, running_receiver
from chartgate.errors import Unprocessable
from chartgate.flows import bulk_rollbacks, commits, halts, rollbacks, undo_views
from chartgate.flows.proposals import Submission, submit
from chartgate.flows.undo_lists import Selection
from chartgate.formats.hl7v2 import parse
from chartgate.model.principal import Person
from chartgate.model.proposal import Proposal, Status
from chartgate.store.database import Database
from chartgate.store.proposals import ProposalStore
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import (
    OPERATOR,
    OSEI,
    PICKER,
    SCRIBE,
    SITE,
    SOFIA,
    Clinic,
    Killed,
    kill_around,
    open_clinic,
    sample_charter,
)
from tests.flows.undoing import undo_all

ENGINE = "north-engine"
THROUGH = (
    (
        "writes: [create Appointment, patch Slot.status]",
        f"through: {{north-clinic: {ENGINE}}}\n    writes: [create Appointment]",
    ),
)
OPTIONS = {
    "send_host": "127.0.0.1",
    "ack_timeout_s": 0.3,
    "application_timeout_s": 0.3,
    "writes": "SIU",
    "id_from": "identifier",
}


@dataclass(kw_only=True)
class House:
    """A clinic whose bookings go to an engine."""

    clinic: Clinic
    receiver: MessageReceiver

    @property
    def kinds(self) -> list[str]:
        return [one.kind for one in self.receiver.journal]

    async def approved(self) -> Proposal:
        submission = await self.clinic.booking()
        only = replace(submission, changes=submission.changes[:1])
        return await self.clinic.approve(await submit(self.clinic.gate, PICKER, only))

    async def verified(self) -> Proposal:
        approved = await self.approved()
        assert await commits.commit_next(self.clinic.gate, "w1")
        return await self.clinic.get(approved)

    async def undone(self, proposal: Proposal, who: Person = SOFIA) -> Proposal:
        gate = self.clinic.gate
        await rollbacks.request_rollback(gate, who, proposal.id, reason="wrong day")
        for _ in range(10):
            await rollbacks.rollback_next(gate, "w1")
            found = await self.clinic.get(proposal)
            if found.status is not Status.ROLLING_BACK:
                break
            self.clinic.clock.advance(31)
        return found


@asynccontextmanager
async def open_house(
    database: Database,
    clock: FakeClock,
    folder: Path,
    *,
    charter: str = "clinic-booking",
    change: Sequence[tuple[str, str]] = THROUGH,
    recognises: bool = True,
    **options: Any,
) -> AsyncIterator[House]:
    running = sample_charter(charter, change=change)
    async with (
        open_clinic(database, clock, folder, charters=[running]) as clinic,
        running_receiver(MessageReceiver(clock=clock, recognises=recognises)) as receiver,
    ):
        connection = ConnectionConfig(
            name=ENGINE,
            adapter="hl7v2_mllp",
            site=SITE,
            options={**OPTIONS, "send_port": receiver.port, **options},
        )
        config = replace(clinic.gate.config, connections={ENGINE: connection})
        async with load_connections(config, clock=clock, verdicts={}) as opened:
            sinks = {**clinic.gate.sinks, **opened.sinks}
            clinic.gate = replace(clinic.gate, config=config, sinks=sinks)
            yield House(clinic=clinic, receiver=receiver)


@pytest.fixture
async def house(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(database, clock, tmp_path, recognises_duplicates=True) as opened:
        yield opened


async def test_ai_proposes_a_person_approves_the_engine_books_and_the_undo_calls_off(
    house: House,
) -> None:
    clinic = house.clinic
    writes = len(clinic.hospital.journal.requests)
    verified = await house.verified()
    assert verified.status is Status.VERIFIED
    assert house.kinds == ["SIU^S12"]
    [message] = [parse(raw) for raw in house.receiver.received]
    assert message.value("SCH", 1) == verified.id
    patient = clinic.hospital.scenario.booking_patient
    assert message.value("PID", 3) == patient.partition("/")[2]
    assert message.value("SCH", 25) == "Booked"
    assert verified.receipt is not None
    assert verified.receipt.said == "AA"
    assert verified.receipt.effects[0].version_after == message.value("MSH", 10)
    clinic.clock.advance(60)
    undone = await house.undone(verified)
    assert undone.status is Status.ROLLED_BACK
    assert house.kinds == ["SIU^S12", "SIU^S15"]
    assert not house.receiver.stands(verified.id)
    assert len(clinic.hospital.journal.requests) == writes, "the EHR itself was not written"
    [event] = await clinic.audited("proposal.commit")
    assert (event["details"]["acknowledged"], event["details"]["writes"]) == ("AA", "create")
    [event] = await clinic.audited("proposal.rolled-back")
    assert (event["details"]["acknowledged"], event["details"]["writes"]) == ("AA", "delete")
    assert [e["details"]["status"] for e in await clinic.audited("proposal.verify")] == ["verified"]


async def test_guard_that_broke_sends_no_message(house: House) -> None:
    approved = await house.approved()
    slot = house.clinic.hospital.scenario.free_slots[0]
    house.clinic.hospital.edit({**house.clinic.hospital.resource(slot), "status": "busy"})
    await commits.commit_next(house.clinic.gate, "w1")
    found = await house.clinic.get(approved)
    assert found.status is Status.HANDED_OFF
    assert house.receiver.received == []


@pytest.mark.parametrize("what", ["guard", "gone"])
async def test_guard_is_looked_at_when_the_line_to_the_engine_stands(
    house: House, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Nothing in a message holds a guard, so the look is as late as it can be."""
    approved = await house.approved()
    hospital, slot = house.clinic.hospital, house.clinic.hospital.scenario.free_slots[0]
    connect = Sender._connect

    async def slow(sender: Sender) -> Any:
        if what == "guard":
            hospital.edit({**hospital.resource(slot), "status": "busy"})
        else:
            hospital.chart.put(slot, None, method="DELETE")
        return await connect(sender)

    monkeypatch.setattr(Sender, "_connect", slow)
    found = await house.clinic.commit_until_done(approved)
    assert found.status is Status.HANDED_OFF
    assert house.receiver.received == []


@pytest.mark.parametrize("fault", ["lose_answer", "lose_message", "say_nothing", "babble"])
async def test_lost_answer_is_settled_by_the_same_bytes_again(house: House, fault: str) -> None:
    house.receiver.faults = [fault]
    approved = await house.approved()
    await commits.commit_next(house.clinic.gate, "w1")
    assert (await house.clinic.get(approved)).status is Status.COMMITTING
    verified = await house.clinic.commit_until_done(approved)
    assert verified.status is Status.VERIFIED
    assert house.kinds == ["SIU^S12"]
    assert len(set(house.receiver.received)) == 1, "not the same bytes"
    assert verified.receipt is not None
    assert verified.receipt.resolved


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_worker_killed_around_a_transaction_leaves_one_effect(
    house: House, monkeypatch: pytest.MonkeyPatch, number: int, place: str
) -> None:
    """Intent, receipt, verdict: whatever was stored, the next worker finds out and goes on."""
    approved = await house.approved()
    with monkeypatch.context() as patch:
        kill_around(patch, number, place)
        with pytest.raises(Killed):
            await commits.commit_next(house.clinic.gate, "w1")
    done = await house.clinic.commit_until_done(approved)
    assert done.status is Status.VERIFIED
    assert house.kinds == ["SIU^S12"]
    assert len(await house.clinic.audited("proposal.commit")) == 1


async def test_lost_answer_of_a_system_that_forgets_goes_to_a_person(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_house(database, clock, tmp_path, recognises=False) as house:
        house.receiver.faults = ["lose_answer"]
        found = await house.clinic.commit_until_done(await house.approved())
        assert found.status is Status.HANDED_OFF
        assert "could not be found out" in (found.reason or "")
        assert len(house.receiver.received) == 1, "it was sent again"


async def test_halt_holds_the_message_and_its_repeat(house: House) -> None:
    clinic = house.clinic
    house.receiver.faults = ["lose_message"]
    approved = await house.approved()
    await commits.commit_next(clinic.gate, "w1")
    await halts.halt(clinic.gate, OPERATOR, reason="drill")
    clinic.clock.advance(31)
    await commits.commit_next(clinic.gate, "w1")
    assert len(house.receiver.received) == 1, "it was sent again in a halt"
    assert house.receiver.journal == []
    assert (await clinic.get(approved)).status is Status.COMMITTING


async def test_message_is_not_sent_again_once_it_is_old(house: House) -> None:
    house.receiver.faults = ["lose_message"]
    approved = await house.approved()
    await commits.commit_next(house.clinic.gate, "w1")
    house.clinic.clock.advance(61)
    await commits.commit_next(house.clinic.gate, "w1")
    found = await house.clinic.get(approved)
    assert found.status is Status.HANDED_OFF
    assert len(house.receiver.received) == 1


async def test_refusal_hands_off_with_the_code_and_no_word_of_the_answer(house: House) -> None:
    house.receiver.faults = ["refuse"]
    found = await house.clinic.commit_until_done(await house.approved())
    assert found.status is Status.HANDED_OFF
    assert f"{ENGINE} refused SIU^S12 with AE (101)" in (found.reason or "")
    assert "on demand" not in (found.reason or ""), "the words of the answer are repeated"
    assert house.receiver.journal == []


async def test_enhanced_mode_waits_for_the_application(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_house(database, clock, tmp_path, ack_mode="enhanced") as house:
        verified = await house.verified()
        assert verified.status is Status.VERIFIED
        assert b"|AL|AL|" in house.receiver.received[0]
        assert len(house.receiver.accepted) == 1, "its acknowledgement was not acknowledged"


async def test_safe_storage_alone_verifies_nothing(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_house(database, clock, tmp_path, ack_mode="enhanced") as house:
        house.receiver.faults = ["only_take"]
        found = await house.clinic.commit_until_done(await house.approved())
        assert found.status is Status.HANDED_OFF
        assert "could not be found out" in (found.reason or "")


@pytest.mark.parametrize("writes", ["MDM", ""])
async def test_what_the_connection_does_not_name_is_refused_at_once(
    database: Database, clock: FakeClock, tmp_path: Path, writes: str
) -> None:
    async with open_house(database, clock, tmp_path, writes=writes) as house:
        with pytest.raises(Unprocessable, match=r"SIU\^S12 is not among the writes"):
            await house.approved()


async def test_what_no_message_can_tell_is_refused_at_once(house: House) -> None:
    submission = await house.clinic.booking()
    changes = [dict(submission.changes[0])]
    changes[0]["resource"] = {**changes[0]["resource"], "patientInstruction": "fast"}
    with pytest.raises(Unprocessable, match="no place for Appointment"):
        await submit(house.clinic.gate, PICKER, replace(submission, changes=changes))


async def test_patient_whom_the_engine_does_not_know_is_refused_before_anything_is_sent(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_house(database, clock, tmp_path, id_from="uuid5") as house:
        found = await house.clinic.commit_until_done(await house.approved())
        assert found.status is Status.HANDED_OFF
        assert "PID-3: the patient has no identifier" in (found.reason or "")
        assert house.receiver.received == []
        assert not await ProposalStore(database).attempts(found.id, "commit")


@pytest.mark.parametrize("how", ["of another site", "gone", "takes no messages"])
async def test_connection_that_is_another_since_the_approval_is_sent_nothing(
    house: House, how: str
) -> None:
    approved = await house.approved()
    gate, here = house.clinic.gate, house.clinic.gate.config.connections[ENGINE]
    elsewhere = {ENGINE: replace(here, site="south")} if how == "of another site" else {}
    sinks = dict(gate.sinks)
    if how == "gone":
        del sinks[ENGINE]
    elif how == "takes no messages":
        sinks[ENGINE] = sinks["north-ehr"]
    config = replace(gate.config, connections=elsewhere)
    house.clinic.gate = replace(gate, config=config, sinks=sinks)
    found = await house.clinic.commit_until_done(approved)
    assert found.status is Status.HANDED_OFF
    assert "nothing was sent" in (found.reason or "")
    assert house.receiver.received == []


PHONE = {"system": "phone", "use": "home", "value": "+1 555 0177"}
CONTACT = (
    (
        "writes: [create Appointment, patch Slot.status]",
        f"through: {{north-clinic: {ENGINE}}}\n    writes: [patch Patient.telecom]",
    ),
    (
        (
            "- same: [Slot.status, Slot.start, Slot.end]\n      - none: "
            '"Appointment?actor={Appointment.participant.actor[Practitioner]}'
            '&date={Appointment.start}&status=booked"'
        ),
        "- same: [Patient.telecom]",
    ),
    ("rules: [appointment-within-slot, slot-is-free, same-patient]", "rules: []"),
)


async def contact_changed(house: House) -> Proposal:
    clinic = house.clinic
    patient = clinic.hospital.scenario.booking_patient
    submission = Submission(
        site=SITE,
        action="book",
        changes=[
            {
                "interaction": "patch",
                "reference": patient,
                "patch": [{"op": "add", "path": "/telecom", "value": [PHONE]}],
            }
        ],
        confidence=0.93,
        rationale="A new number.",
        interaction=await clinic.see(PICKER, patient),
    )
    approved = await clinic.approve(await submit(clinic.gate, PICKER, submission))
    assert await commits.commit_next(clinic.gate, "w1")
    return await clinic.get(approved)


async def test_patient_is_changed_by_a08_and_gets_its_former_values_back(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_house(database, clock, tmp_path, change=CONTACT, writes="ADT") as house:
        clinic = house.clinic
        patient = clinic.hospital.scenario.booking_patient
        before = clinic.hospital.resource(patient)
        verified = await contact_changed(house)
        assert verified.status is Status.VERIFIED
        clinic.hospital.edit({**before, "telecom": [PHONE]})  # as the engine's EHR would
        assert (await house.undone(verified)).status is Status.ROLLED_BACK
        first, second = [parse(raw) for raw in house.receiver.received]
        assert first.value("PID", 13) == PHONE["value"]
        former = [t["value"] for t in before.get("telecom", ()) if t.get("use") != "work"]
        assert second.value("PID", 13) == (former[0] if former else '""')
        assert house.kinds == ["ADT^A08", "ADT^A08"]


async def test_undo_is_not_sent_over_a_later_edit(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    """No message has a precondition: the look before it is what keeps a later edit."""
    async with open_house(database, clock, tmp_path, change=CONTACT, writes="ADT") as house:
        verified = await contact_changed(house)
        clinic = house.clinic
        patient = clinic.hospital.scenario.booking_patient
        theirs = {**PHONE, "value": "+1 555 0188"}
        clinic.hospital.edit({**clinic.hospital.resource(patient), "telecom": [theirs]})
        found = await house.undone(verified)
        assert found.status is Status.VERIFIED
        assert "moved on" in (found.reason or "")
        assert house.kinds == ["ADT^A08"]


async def test_what_is_shown_of_a_told_write_is_what_can_be_looked_up(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_house(database, clock, tmp_path, change=CONTACT, writes="ADT") as house:
        clinic = house.clinic
        verified = await contact_changed(house)
        [found] = await undo_views.compare(clinic.gate, SOFIA, verified.id)
        assert found.moved_on, "the engine's EHR does not show it"
        patient = clinic.hospital.scenario.booking_patient
        clinic.hospital.edit({**clinic.hospital.resource(patient), "telecom": [PHONE]})
        [found] = await undo_views.compare(clinic.gate, SOFIA, verified.id)
        assert not found.moved_on


async def test_all_that_was_told_is_taken_back_in_one_go(house: House) -> None:
    verified = await house.verified()
    gate = house.clinic.gate
    assert await undo_views.compare(gate, SOFIA, verified.id) == ()
    selection = Selection(client="slot-picker")
    plan = await bulk_rollbacks.plan(gate, SOFIA, selection)
    assert [item.verdict for item in plan.items] == ["undo"]
    assert house.kinds == ["SIU^S12"], "a dry run sends nothing"
    await bulk_rollbacks.roll_back(gate, SOFIA, selection, shown=plan.digest, reason="wrong")
    assert await undo_all(house.clinic, verified) == [Status.ROLLED_BACK]
    assert house.kinds == ["SIU^S12", "SIU^S15"]


NOTE = "Seen today.\nPain | less ~ than before."
FILED = (
    (
        "writes: [create DocumentReference]",
        f"through: {{north-clinic: {ENGINE}}}\n    writes: [create DocumentReference]",
    ),
)


async def test_note_is_filed_by_mdm_and_withdrawn(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_house(
        database, clock, tmp_path, charter="visit-note", change=FILED, writes="MDM"
    ) as house:
        clinic = house.clinic
        visit = clinic.hospital.scenario.visit
        submission = Submission(
            site=SITE,
            action="file-note",
            changes=[{"interaction": "create", "resource": _note(clinic, NOTE)}],
            confidence=0.9,
            rationale="Drafted from the visit.",
            interaction=await clinic.see(SCRIBE, visit),
        )
        proposal = await submit(clinic.gate, SCRIBE, submission)
        await clinic.approve(proposal, OSEI)
        assert await commits.commit_next(clinic.gate, "w1")
        verified = await clinic.get(proposal)
        assert verified.status is Status.VERIFIED
        [message] = [parse(raw) for raw in house.receiver.received]
        assert message.value("TXA", 12) == proposal.id
        assert message.value("PV1", 19) is None, "no number of the visit is known to it"
        segment = message.segment("OBX")
        assert segment is not None
        assert "\n".join(one.value() or "" for one in segment.repetitions(5)) == NOTE
        assert (await house.undone(verified, OSEI)).status is Status.ROLLED_BACK
        assert house.kinds == ["MDM^T02", "MDM^T11"]


def _note(clinic: Clinic, text: str) -> dict[str, Any]:
    scenario = clinic.hospital.scenario
    data = base64.b64encode(text.encode()).decode()
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "docStatus": "preliminary",
        "type": {"coding": [{"system": "http://loinc.org", "code": "11506-3"}]},
        "subject": {"reference": scenario.visit_patient},
        "date": "2026-03-02T09:00:00Z",
        "content": [{"attachment": {"contentType": "text/plain", "data": data}}],
        "context": {"encounter": [{"reference": scenario.visit}]},
    }


async def test_undo_that_is_refused_leaves_what_stands(house: House) -> None:
    verified = await house.verified()
    house.receiver.faults = ["refuse"]
    found = await house.undone(verified)
    assert found.status is Status.VERIFIED
    assert "refused SIU^S15" in (found.reason or "")
    assert house.receiver.stands(verified.id)


async def test_lost_answer_of_an_undo_is_settled(house: House) -> None:
    verified = await house.verified()
    house.receiver.faults = ["lose_answer"]
    assert (await house.undone(verified)).status is Status.ROLLED_BACK
    assert house.kinds == ["SIU^S12", "SIU^S15"]
