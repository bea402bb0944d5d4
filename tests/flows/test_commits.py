"""The commit: at most one effect, whatever happens to the hospital, the answer or the worker."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.errors import OutcomeUnknown, VersionConflict
from chartgate.flows import commits, halts, reviews
from chartgate.flows.impasses import SAY_CANNOT_TELL
from chartgate.flows.permissions import SAY_TAMPERED
from chartgate.flows.proposals import show, submit
from chartgate.model.proposal import Proposal, Status, content_bytes
from chartgate.model.write import change_json
from chartgate.policy.charters import compile_book
from chartgate.store.database import Database
from chartgate.store.handoffs import HandoffStore
from chartgate.store.proposals import ProposalStore
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import (
    CLERK,
    NORA,
    OPERATOR,
    SOFIA,
    Clinic,
    Killed,
    kill_around,
    open_clinic,
    sample_charter,
)

WRITES = ("transaction", "create", "patch", "update")


async def test_approved_booking_is_written_read_back_and_verified(clinic: Clinic) -> None:
    verified = await clinic.verified()
    assert verified.status is Status.VERIFIED
    assert clinic.effects(verified) == 1
    slot = verified.content.changes[1].reference
    assert slot is not None
    assert clinic.hospital.resource(slot)["status"] == "busy"
    assert verified.receipt is not None
    assert verified.compensation is not None
    assert not await commits.commit_next(clinic.gate, "w1"), "nothing is left to do"
    (event,) = await clinic.audited("proposal.commit")
    assert event["patient"] == clinic.hospital.scenario.booking_patient
    assert [e["details"]["status"] for e in await clinic.audited("proposal.verify")] == ["verified"]


async def test_commit_takes_three_round_trips(clinic: Clinic) -> None:
    await clinic.approved()
    clinic.hospital.journal.clear()
    await commits.commit_next(clinic.gate, "w1")
    counts = clinic.hospital.journal.counts
    assert counts == {"read": 3, "search": 1, "transaction": 1}, "guards, write, read-back"


async def test_slot_taken_meanwhile_sends_nothing_and_goes_to_staff(clinic: Clinic) -> None:
    """Not back to review: nobody may approve a second booking of a slot that is taken."""
    approved = await clinic.approved()
    slot = clinic.hospital.scenario.free_slots[0]
    clinic.hospital.edit({**clinic.hospital.resource(slot), "status": "busy"})
    await commits.commit_next(clinic.gate, "w1")
    conflicted = await clinic.get(approved)
    assert conflicted.status is Status.HANDED_OFF
    assert conflicted.reason is not None
    assert f"status of {slot} changed" in conflicted.reason
    assert "slot is not free" in conflicted.reason
    assert clinic.effects(conflicted) == 0
    view = await show(clinic.gate, SOFIA, approved.id)
    assert view.handoff is not None
    assert view.handoff.worklist == "front-desk"


async def test_slot_moved_meanwhile_sends_nothing_and_goes_back_to_review(clinic: Clinic) -> None:
    approved = await clinic.approved()
    slot = clinic.hospital.scenario.free_slots[0]
    clinic.hospital.edit({**clinic.hospital.resource(slot), "end": "2026-03-03T23:45:00Z"})
    await commits.commit_next(clinic.gate, "w1")
    conflicted = await clinic.get(approved)
    assert conflicted.status is Status.PENDING_REVIEW
    assert conflicted.reason is not None
    assert f"end of {slot} changed" in conflicted.reason
    assert conflicted.content.version == 2
    assert conflicted.decided_by is None
    assert clinic.effects(conflicted) == 0
    view = await show(clinic.gate, SOFIA, approved.id)
    assert [d.path for d in view.changed_since] == ["end"]
    with pytest.raises(VersionConflict, match="changed after you opened it"):
        await clinic.approve(approved)


async def test_none_guard_that_finds_something_sends_nothing(clinic: Clinic) -> None:
    approved = await clinic.approved()
    created = approved.content.changes[0].resource
    assert created is not None
    clinic.hospital.edit({**created, "id": "made-by-the-desk"})
    await commits.commit_next(clinic.gate, "w1")
    conflicted = await clinic.get(approved)
    assert conflicted.status is Status.PENDING_REVIEW
    assert "must not be there" in (conflicted.reason or "")
    view = await show(clinic.gate, SOFIA, approved.id)
    (approve,) = [p for p in view.permissions if p.action == "approve"]
    assert not approve.permitted
    assert "must not be there" in approve.sentence


async def test_change_outside_the_guarded_elements_is_no_conflict(clinic: Clinic) -> None:
    approved = await clinic.approved()
    slot = clinic.hospital.scenario.free_slots[0]
    clinic.hospital.edit({**clinic.hospital.resource(slot), "comment": "by the window"})
    await commits.commit_next(clinic.gate, "w1")
    verified = await clinic.get(approved)
    assert verified.status is Status.VERIFIED
    now = clinic.hospital.resource(slot)
    assert (now["status"], now["comment"]) == ("busy", "by the window")


async def test_conflict_approved_again_on_what_was_shown_is_written(clinic: Clinic) -> None:
    """Task.status is guarded; the reviewer is shown the new status and still wants the change."""
    task = clinic.hospital.scenario.authorisation
    interaction = await clinic.see(CLERK, task)
    period = {"start": "2026-03-02T09:00:00Z", "end": "2026-03-16T09:00:00Z"}
    submission = replace(
        await clinic.booking(),
        action="update-status",
        interaction=interaction,
        changes=[
            {
                "interaction": "patch",
                "reference": task,
                "patch": [
                    {"op": "replace", "path": "/status", "value": "in-progress"},
                    {"op": "add", "path": "/executionPeriod", "value": period},
                ],
            }
        ],
    )
    proposal = await submit(clinic.gate, CLERK, submission)
    await clinic.approve(proposal, NORA)
    clinic.hospital.edit({**clinic.hospital.resource(task), "status": "received"})
    await commits.commit_next(clinic.gate, "w1")
    conflicted = await clinic.get(proposal)
    assert conflicted.status is Status.PENDING_REVIEW
    shown = {d.path: (d.before, d.after) for d in conflicted.content.differences}
    assert shown["status"] == ("received", "in-progress")
    await clinic.approve(conflicted, NORA)
    await commits.commit_next(clinic.gate, "w1")
    assert (await clinic.get(proposal)).status is Status.VERIFIED
    assert clinic.hospital.resource(task)["status"] == "in-progress"


async def test_target_that_is_gone_is_handed_off(clinic: Clinic) -> None:
    approved = await clinic.approved()
    slot = clinic.hospital.scenario.free_slots[0]
    clinic.hospital.chart.put(slot, None, method="DELETE")
    await commits.commit_next(clinic.gate, "w1")
    handed = await clinic.get(approved)
    assert handed.status is Status.HANDED_OFF
    assert "no longer there" in (handed.reason or "")
    assert len(await clinic.audited("proposal.conflict")) == 1
    handoff = await HandoffStore(clinic.database).of_proposal(approved.id)
    assert handoff is not None
    assert handoff.worklist == "front-desk"


@pytest.mark.parametrize(
    ("fault", "value"),
    [
        ("error_after_applying", 500),
        ("error_after_applying", 504),
        ("reset_after_applying", True),
        ("hang_after_applying_s", 1.5),
    ],
)
async def test_lost_answer_is_resolved_by_reading_and_written_once(
    clinic: Clinic, fault: str, value: Any
) -> None:
    approved = await clinic.approved()
    clinic.hospital.faults.switch(fault, value, interactions=WRITES, times=1)
    await commits.commit_next(clinic.gate, "w1")
    assert (await clinic.get(approved)).status is Status.COMMITTING, "not guessed"
    done = await clinic.commit_until_done(approved)
    assert done.status is Status.VERIFIED
    assert done.receipt is not None
    assert done.receipt.resolved
    assert clinic.effects(done) == 1


async def test_request_that_arrives_late_is_written_once(clinic: Clinic) -> None:
    approved = await clinic.approved()
    clinic.hospital.faults.switch("apply_late_s", 0.3, interactions=WRITES, times=1)
    await commits.commit_next(clinic.gate, "w1")
    clinic.clock.advance(31)
    await commits.commit_next(clinic.gate, "w1")
    clinic.clock.advance(31)
    await asyncio.sleep(0.4)  # the late request is on the hospital's own clock
    done = await clinic.commit_until_done(approved)
    assert done.status is Status.VERIFIED
    assert clinic.effects(done) == 1


async def test_system_that_is_down_is_tried_again_until_it_is_back(clinic: Clinic) -> None:
    approved = await clinic.approved()
    clinic.hospital.faults.switch("down", "503")
    for _ in range(8):
        await commits.commit_next(clinic.gate, "w1")
        clinic.clock.advance(301)
    assert (await clinic.get(approved)).status is Status.APPROVED
    clinic.hospital.faults.clear()
    assert (await clinic.commit_until_done(approved)).status is Status.VERIFIED
    assert clinic.effects(approved) == 1


async def test_outcome_that_cannot_be_found_out_goes_to_a_person(clinic: Clinic) -> None:
    approved = await clinic.approved()

    async def lost() -> None:
        clinic.hospital.faults.switch("down", "503")
        raise OutcomeUnknown("the answer was lost")

    clinic.sink.after["commit"] = lost
    await commits.commit_next(clinic.gate, "w1")
    clinic.clock.advance(61)
    await commits.commit_next(clinic.gate, "w1")
    handed = await clinic.get(approved)
    assert handed.status is Status.HANDED_OFF
    assert handed.reason == SAY_CANNOT_TELL
    (attempt,) = await ProposalStore(clinic.database).attempts(approved.id, "commit")
    assert attempt.verdict == "cannot-tell"


async def test_what_the_system_changed_on_saving_is_found_and_handed_off(clinic: Clinic) -> None:
    approved = await clinic.approved()
    clinic.hospital.faults.switch(
        "change_on_save", {"set": {"/status": "waitlist"}}, types=["Appointment"]
    )
    await commits.commit_next(clinic.gate, "w1")
    handed = await clinic.get(approved)
    assert handed.status is Status.HANDED_OFF
    assert (handed.reason or "").startswith(commits.SAY_MISMATCH)
    assert "status" in (handed.reason or "")
    (event,) = await clinic.audited("proposal.verify")
    assert event["outcome"] == "failed"


async def test_system_without_working_preconditions_is_not_written(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_clinic(database, clock, tmp_path, probed=False) as clinic:
        approved = await clinic.approved()
        await commits.commit_next(clinic.gate, "w1")
        handed = await clinic.get(approved)
        assert handed.status is Status.HANDED_OFF
        assert "chartgate probe" in (handed.reason or "")
        assert not clinic.hospital.journal.requests


async def test_halt_holds_what_is_approved_and_a_resume_checks_it_anew(clinic: Clinic) -> None:
    approved = await clinic.approved()
    await halts.halt(clinic.gate, OPERATOR, reason="drill")
    assert not await commits.commit_next(clinic.gate, "w1")
    slot = clinic.hospital.scenario.free_slots[0]
    clinic.hospital.edit({**clinic.hospital.resource(slot), "status": "busy"})
    await halts.resume(clinic.gate, OPERATOR, reason="drill is over")
    await commits.commit_next(clinic.gate, "w1")
    assert (await clinic.get(approved)).status is Status.HANDED_OFF
    assert clinic.effects(approved) == 0


async def test_halt_at_the_last_line_before_the_write_holds_it(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved = await clinic.approved()
    last_look = ProposalStore.last_look

    async def halted_just_now(store: ProposalStore, *given: Any, **named: Any) -> Any:
        await halts.halt(clinic.gate, OPERATOR, scope="clinic-booking", reason="drill")
        return await last_look(store, *given, **named)

    monkeypatch.setattr(ProposalStore, "last_look", halted_just_now)
    await commits.commit_next(clinic.gate, "w1")
    monkeypatch.undo()
    held = await clinic.get(approved)
    assert held.status is Status.APPROVED
    assert not clinic.hospital.journal.requests
    assert not await commits.commit_next(clinic.gate, "w1")
    await halts.resume(clinic.gate, OPERATOR, scope="clinic-booking", reason="over")
    await commits.commit_next(clinic.gate, "w1")
    assert (await clinic.get(approved)).status is Status.VERIFIED


async def test_stage_back_to_shadow_hands_off_what_was_approved(clinic: Clinic) -> None:
    approved = await clinic.approved()
    await halts.set_stage(clinic.gate, OPERATOR, "clinic-booking", "shadow")
    await commits.commit_next(clinic.gate, "w1")
    handed = await clinic.get(approved)
    assert (handed.status, handed.reason) == (Status.HANDED_OFF, commits.SAY_SHADOW)
    assert not clinic.hospital.journal.requests


async def test_stage_back_to_shadow_at_the_last_line_before_the_write_holds_it(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved = await clinic.approved()
    last_look = ProposalStore.last_look

    async def back_to_shadow(store: ProposalStore, *given: Any, **named: Any) -> Any:
        await halts.set_stage(clinic.gate, OPERATOR, "clinic-booking", "shadow")
        return await last_look(store, *given, **named)

    monkeypatch.setattr(ProposalStore, "last_look", back_to_shadow)
    await commits.commit_next(clinic.gate, "w1")
    monkeypatch.undo()
    assert (await clinic.get(approved)).status is Status.APPROVED
    await commits.commit_next(clinic.gate, "w1")
    assert (await clinic.get(approved)).status is Status.HANDED_OFF
    assert not clinic.hospital.journal.requests


def content_of(proposal: Proposal) -> bytes:
    content = proposal.content
    return content_bytes(content.changes, content.differences, content.base)


async def test_content_changed_in_the_database_after_approval_is_not_written(
    clinic: Clinic,
) -> None:
    """By somebody who has the key as well: what was decided on has another digest."""
    approved = await clinic.approved()
    assert approved.patient is not None
    whose, vault = (approved.connection, approved.patient), clinic.database.vault
    place = ("proposal_content", approved.id, "1")
    async with clinic.database.bookkeeping() as transaction:
        key = (await vault.keys_in(transaction, [whose]))[whose]
        form = orjson.loads(content_of(approved))
        form["changes"][0]["resource"]["participant"][0]["actor"]["reference"] = "Patient/N1009"
        body = vault.seal(key, orjson.dumps(form), *place)
        await transaction.execute("UPDATE proposal_content SET body = $1", body)
    await commits.commit_next(clinic.gate, "w1")
    handed = await clinic.get(approved)
    assert (handed.status, handed.reason) == (Status.HANDED_OFF, SAY_TAMPERED)
    assert not clinic.hospital.journal.requests


async def test_worker_whose_lease_passed_on_sends_nothing_and_moves_nothing(
    clinic: Clinic,
) -> None:
    approved = await clinic.approved()
    slow = asyncio.Event()
    reached = asyncio.Event()

    async def stall() -> None:
        reached.set()
        await slow.wait()

    clinic.sink.after["commit"] = stall
    zombie = asyncio.create_task(commits.commit_next(clinic.gate, "zombie"))
    await reached.wait()
    clinic.clock.advance(31)
    assert await commits.commit_next(clinic.gate, "w2"), "the lease has ended"
    after = await clinic.get(approved)
    assert after.status is Status.VERIFIED
    slow.set()
    assert await zombie
    assert await clinic.get(approved) == after, "an older claim cannot move it"
    assert clinic.effects(approved) == 1
    assert len(await clinic.audited("proposal.commit")) == 1


async def test_worker_that_wakes_up_before_its_send_after_its_lease_sends_nothing(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved = await clinic.approved()
    slow, reached = asyncio.Event(), asyncio.Event()
    last_look = ProposalStore.last_look

    async def stalled(store: ProposalStore, *given: Any, **named: Any) -> Any:
        reached.set()
        await slow.wait()
        return await last_look(store, *given, **named)

    monkeypatch.setattr(ProposalStore, "last_look", stalled)
    zombie = asyncio.create_task(commits.commit_next(clinic.gate, "zombie"))
    await reached.wait()
    monkeypatch.undo()
    clinic.clock.advance(31)
    await clinic.commit_until_done(approved)
    slow.set()
    await zombie
    assert len(clinic.sink.sent) == 1
    assert clinic.effects(approved) == 1


@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("before", "commit"),
        ("after", "commit"),
        ("before", "resolve"),
        ("after", "resolve"),
        ("before", "compensation"),
    ],
)
async def test_worker_killed_around_a_call_leaves_what_another_finishes(
    clinic: Clinic, place: str, call: str
) -> None:
    approved = await clinic.approved()

    async def killed() -> None:
        raise Killed

    traps = clinic.sink.before if place == "before" else clinic.sink.after
    traps[call] = killed
    if call == "resolve":
        clinic.hospital.faults.switch("reset_after_applying", True, interactions=WRITES, times=1)
        await commits.commit_next(clinic.gate, "w1")
        clinic.clock.advance(31)
    with pytest.raises(Killed):
        await commits.commit_next(clinic.gate, "w1")
    done = await clinic.commit_until_done(approved)
    assert done.status is Status.VERIFIED
    assert clinic.effects(done) == 1


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("place", ["before", "after"])
async def test_worker_killed_around_a_transaction_leaves_what_another_finishes(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, number: int, place: str
) -> None:
    """The commit has three: intent, receipt, verdict."""
    approved = await clinic.approved()
    with monkeypatch.context() as patch:
        kill_around(patch, number, place)
        with pytest.raises(Killed):
            await commits.commit_next(clinic.gate, "w1")
    done = await clinic.commit_until_done(approved)
    assert done.status is Status.VERIFIED
    assert clinic.effects(done) == 1
    assert len(await clinic.audited("proposal.commit")) == 1


async def test_many_workers_at_once_write_each_proposal_once(clinic: Clinic) -> None:
    slots = clinic.hospital.scenario.free_slots[:6]
    proposals = [await clinic.approved(slot) for slot in slots]
    for _ in slots:  # one after the other, as they are for one patient
        await asyncio.gather(*(commits.commit_next(clinic.gate, f"w{i}") for i in range(20)))
        clinic.clock.advance(31)
    for proposal in proposals:
        assert (await clinic.get(proposal)).status is Status.VERIFIED
        assert clinic.effects(proposal) == 1


async def test_charter_that_stopped_proposing_it_hands_it_off(clinic: Clinic) -> None:
    approved = await clinic.approved()
    charter = sample_charter("clinic-booking", change=[("  book:\n", "  reserve:\n")])
    clinic.gate.running.charters = compile_book([charter])
    await commits.commit_next(clinic.gate, "w1")
    handed = await clinic.get(approved)
    assert (handed.status, handed.reason) == (Status.HANDED_OFF, commits.SAY_NO_CHARTER)


async def test_earlier_version_that_lands_late_is_no_verified_commit(clinic: Clinic) -> None:
    """Sent, not found, in conflict, edited, approved anew: and then the first request arrives."""
    approved = await clinic.approved()

    async def held_up() -> None:
        raise OutcomeUnknown("the answer was lost")

    clinic.sink.before["commit"] = held_up
    await commits.commit_next(clinic.gate, "w1")
    (attempt,) = await ProposalStore(clinic.database).attempts(approved.id, "commit")
    clinic.clock.advance(31)
    await commits.commit_next(clinic.gate, "w1")
    taken = {**(approved.content.changes[0].resource or {}), "id": "made-by-the-desk"}
    clinic.hospital.edit(taken)
    clinic.clock.advance(31)
    await commits.commit_next(clinic.gate, "w1")
    conflicted = await clinic.get(approved)
    assert conflicted.status is Status.PENDING_REVIEW
    clinic.hospital.edit({**taken, "status": "cancelled"})
    changes = [change_json(c) for c in conflicted.content.changes]
    changes[0]["resource"] = {**changes[0]["resource"], "comment": "as edited"}
    edited = await reviews.edit(
        clinic.gate, SOFIA, approved.id, changes_raw=changes, digest=conflicted.content.digest
    )
    await clinic.approve(edited)
    await clinic.sink.commit(attempt.prepared.write)
    done = await clinic.commit_until_done(approved)
    assert (done.status, done.content.version) == (Status.HANDED_OFF, 3)
    assert commits.EARLIER_VERSION in (done.reason or "")
    assert clinic.effects(approved) == 1


async def test_stage_back_to_suggest_hands_off_what_the_rule_approved(clinic: Clinic) -> None:
    await halts.set_stage(clinic.gate, OPERATOR, "clinic-booking", "full")
    automatic = await clinic.booked(confidence=0.99)
    assert automatic.status is Status.APPROVED
    await halts.set_stage(clinic.gate, OPERATOR, "clinic-booking", "suggest")
    await commits.commit_next(clinic.gate, "w1")
    handed = await clinic.get(automatic)
    assert (handed.status, handed.reason) == (Status.HANDED_OFF, commits.SAY_NOT_ITSELF)
    assert not clinic.hospital.journal.requests


async def test_charter_that_lets_less_be_written_hands_off_what_was_approved(
    clinic: Clinic,
) -> None:
    approved = await clinic.approved()
    narrowed = ("[create Appointment, patch Slot.status]", "[create Appointment]")
    charter = sample_charter("clinic-booking", change=[narrowed])
    clinic.gate.running.charters = compile_book([charter])
    await commits.commit_next(clinic.gate, "w1")
    handed = await clinic.get(approved)
    assert (handed.status, handed.reason) == (Status.HANDED_OFF, commits.SAY_NO_CHARTER)
    assert not clinic.hospital.journal.requests


async def test_connection_changed_in_the_database_after_approval_is_not_written(
    clinic: Clinic,
) -> None:
    approved = await clinic.approved()
    clinic.gate.sources["other-ehr"] = clinic.gate.sources["north-ehr"]  # type: ignore[index]
    clinic.gate.sinks["other-ehr"] = clinic.gate.sinks["north-ehr"]  # type: ignore[index]
    async with clinic.database.bookkeeping() as transaction:
        await transaction.execute("UPDATE proposal SET connection = 'other-ehr'")
    await commits.commit_next(clinic.gate, "w1")
    handed = await clinic.get(approved)
    assert (handed.status, handed.reason) == (Status.HANDED_OFF, commits.SAY_NO_CHARTER)
    assert not clinic.hospital.journal.requests
