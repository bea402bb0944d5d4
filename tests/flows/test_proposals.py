"""Submitting, seeing and withdrawing: what is taken, where it is put, who is shown what."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from chartgate.errors import (
    ChartgateError,
    Denied,
    Invalid,
    InvalidTransition,
    NotFound,
    Throttled,
    Unprocessable,
    VersionConflict,
)
from chartgate.flows import halts
from chartgate.flows.proposals import Submission, listed, show, submit, withdraw
from chartgate.model.principal import Client
from chartgate.model.proposal import Proposal, Status, is_intact
from chartgate.store.database import Database
from chartgate.store.handoffs import HandoffStore
from chartgate.store.proposals import ProposalStore
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import (
    CLERK,
    NORA,
    OPERATOR,
    PICKER,
    SCRIBE,
    SITE,
    SOFIA,
    Clinic,
    open_clinic,
    sample_charter,
)

Change = Callable[[Submission], Submission]


async def test_submitted_booking_waits_for_review_with_our_own_differences(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    assert proposal.status is Status.PENDING_REVIEW
    slot = clinic.hospital.scenario.free_slots[0]
    shown = {(d.reference, d.path): (d.before, d.after) for d in proposal.content.differences}
    assert shown[(slot, "status")] == ("free", "busy")
    assert shown[("Appointment (new)", "status")] == (None, "booked")
    assert proposal.content.changes[1].if_match == "1", "filled in from the read set"
    assert (proposal.due_at - proposal.created_at).total_seconds() == 15 * 60
    stored = await clinic.get(proposal)
    assert stored == proposal
    assert is_intact(stored.content)
    (event,) = await clinic.audited("proposal.submit")
    assert event["agent"] == "client:slot-picker"
    assert event["patient"] == clinic.hospital.scenario.booking_patient
    assert event["interaction"] == proposal.interaction


def _with_change(index: int, **fields: Any) -> Change:
    def change(submission: Submission) -> Submission:
        changes = [dict(c) for c in submission.changes]
        changes[index] |= fields
        return replace(submission, changes=changes)

    return change


def _with_resource(**fields: Any) -> Change:
    def change(submission: Submission) -> Submission:
        resource = {**submission.changes[0]["resource"], **fields}
        return _with_change(0, resource=resource)(submission)

    return change


OTHER_PATIENT = [
    {"actor": {"reference": "Patient/N1009"}, "status": "accepted"},
    {"actor": {"reference": "Practitioner/DR-IM-001"}, "status": "accepted"},
]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda s: replace(s, action="cancel"), Denied, None),
        (lambda s: replace(s, site="south-clinic"), Denied, None),
        (lambda s: replace(s, charter="visit-note"), Denied, None),
        (lambda s: replace(s, interaction=str(uuid4())), Invalid, "no such interaction"),
        (lambda s: replace(s, interaction="x"), Invalid, "UUID"),
        (lambda s: replace(s, confidence=1.5), Invalid, "0 to 1"),
        (lambda s: replace(s, confidence=True), Invalid, "0 to 1"),
        (lambda s: replace(s, confidence=float("nan")), Invalid, "0 to 1"),
        (lambda s: replace(s, rationale="x" * 4001), Invalid, "at most"),
        (lambda s: replace(s, idempotency_key=""), Invalid, "printable"),
        (lambda s: replace(s, changes=[]), Invalid, "at least one"),
        (_with_change(1, ifMatch="7"), Unprocessable, "not the version"),
        (_with_change(1, reference="Slot/DR-IM-001-0303-1030"), Unprocessable, "was not read"),
        (_with_change(1, patch=[{"op": "remove", "path": "/status"}]), Unprocessable, None),
        (
            _with_change(1, patch=[{"op": "replace", "path": "/comment", "value": "x"}]),
            Unprocessable,
            "comment",
        ),
        (_with_resource(participant=OTHER_PATIENT), Unprocessable, "not read"),
        (_with_resource(colour="green"), Unprocessable, "colour"),
        (_with_resource(end="2026-03-03T23:00:00Z"), Unprocessable, "within-slot"),
        (
            _with_resource(identifier=[{"system": "urn:chartgate:proposal", "value": "x"}]),
            Unprocessable,
            "Chartgate's own",
        ),
    ],
)
async def test_submission_that_breaks_a_rule_is_refused_audited_and_not_stored(
    clinic: Clinic, change: Change, error: type[ChartgateError], says: str | None
) -> None:
    submission = change(await clinic.booking())
    with pytest.raises(error, match=says):
        await submit(clinic.gate, PICKER, submission)
    (event,) = await clinic.audited("proposal.submit")
    assert event["outcome"] in ("denied", "failed")
    assert "patient" not in event
    assert not await ProposalStore(clinic.database).listed(limit=10)


async def test_interaction_of_another_client_cannot_be_proposed_from(clinic: Clinic) -> None:
    submission = await clinic.booking()
    other = await clinic.see(CLERK, clinic.hospital.scenario.authorisation)
    with pytest.raises(Invalid, match="no such interaction"):
        await submit(clinic.gate, PICKER, replace(submission, interaction=other))


async def test_one_resource_changed_twice_is_refused(clinic: Clinic) -> None:
    submission = await clinic.booking()
    changes = [*submission.changes, submission.changes[1]]
    with pytest.raises(Unprocessable, match="twice"):
        await submit(clinic.gate, PICKER, replace(submission, changes=changes))


async def test_same_key_and_content_gives_the_same_proposal(clinic: Clinic) -> None:
    submission = await clinic.booking(idempotency_key="k1")
    first = await submit(clinic.gate, PICKER, submission)
    assert (await submit(clinic.gate, PICKER, submission)).id == first.id
    with pytest.raises(VersionConflict, match="idempotency key"):
        await submit(
            clinic.gate,
            PICKER,
            await clinic.booking(clinic.hospital.scenario.free_slots[1], idempotency_key="k1"),
        )


async def test_same_key_many_times_at_once_gives_one_proposal(clinic: Clinic) -> None:
    submission = await clinic.booking(idempotency_key="k1")
    answers = await asyncio.gather(*(submit(clinic.gate, PICKER, submission) for _ in range(20)))
    assert len({p.id for p in answers}) == 1
    assert len(await ProposalStore(clinic.database).listed(limit=100)) == 1


async def test_stage_shadow_stores_and_shows_it_to_no_person(clinic: Clinic) -> None:
    await halts.set_stage(clinic.gate, OPERATOR, "clinic-booking", "shadow")
    shadowed = await clinic.booked()
    assert shadowed.status is Status.SHADOWED
    assert await listed(clinic.gate, SOFIA) == ()
    with pytest.raises(NotFound):
        await show(clinic.gate, SOFIA, shadowed.id)
    assert (await show(clinic.gate, PICKER, shadowed.id)).permissions[0].permitted is False
    with pytest.raises(ChartgateError):
        await clinic.approve(shadowed)
    assert not clinic.hospital.journal.requests


async def test_low_confidence_goes_to_the_worklist_at_once(clinic: Clinic) -> None:
    handed = await clinic.booked(confidence=0.41)
    assert handed.status is Status.HANDED_OFF
    handoff = await HandoffStore(clinic.database).of_proposal(handed.id)
    assert handoff is not None
    assert (handoff.worklist, handoff.site) == ("front-desk", SITE)
    assert (handoff.due_at - handoff.opened_at).total_seconds() == 30 * 60
    assert len(await clinic.audited("handoff.open")) == 1


@pytest.mark.parametrize(
    ("stage", "confidence", "status"),
    [
        ("suggest", 0.99, Status.PENDING_REVIEW),
        ("canary", 0.99, Status.PENDING_REVIEW),
        ("full", 0.97, Status.APPROVED),
        ("full", 0.96, Status.PENDING_REVIEW),
    ],
)
async def test_explicit_rule_decides_only_from_its_stage_and_confidence(
    clinic: Clinic, stage: str, confidence: float, status: Status
) -> None:
    await halts.set_stage(clinic.gate, OPERATOR, "clinic-booking", stage)
    proposal = await clinic.booked(confidence=confidence)
    assert proposal.status is status
    assert proposal.decided_by == ("rule:auto" if status is Status.APPROVED else None)
    assert len(await clinic.audited("proposal.review")) == (status is Status.APPROVED)


async def test_budget_of_open_proposals_holds_when_many_come_at_once(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    charter = sample_charter("clinic-booking", change=[("open_proposals: 50", "open_proposals: 5")])
    async with open_clinic(database, clock, tmp_path, charters=[charter]) as clinic:
        slots = clinic.hospital.scenario.free_slots[:12]
        submissions = [await clinic.booking(slot) for slot in slots]
        answers = await asyncio.gather(
            *(submit(clinic.gate, PICKER, s) for s in submissions), return_exceptions=True
        )
        assert sum(isinstance(a, Proposal) for a in answers) == 5
        assert sum(isinstance(a, Throttled) for a in answers) == 7


async def test_client_sees_and_withdraws_only_its_own(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    twin = Client(id="other", charter="clinic-booking")
    for stranger in (SCRIBE, twin):
        with pytest.raises(NotFound):
            await show(clinic.gate, stranger, proposal.id)
        with pytest.raises(NotFound):
            await withdraw(clinic.gate, stranger, proposal.id)
        assert await listed(clinic.gate, stranger) == ()
    assert [p.id for p in await listed(clinic.gate, PICKER)] == [proposal.id]
    assert (await withdraw(clinic.gate, PICKER, proposal.id)).status is Status.WITHDRAWN
    with pytest.raises(InvalidTransition):
        await withdraw(clinic.gate, PICKER, proposal.id)
    with pytest.raises(ChartgateError):
        await clinic.approve(proposal)


async def test_person_sees_what_their_role_reviews(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    assert [p.id for p in await listed(clinic.gate, SOFIA)] == [proposal.id]
    assert await listed(clinic.gate, NORA) == ()
    elsewhere = replace(SOFIA, sites=("south-clinic",))
    assert await listed(clinic.gate, elsewhere) == ()
    for person in (NORA, elsewhere):
        with pytest.raises(NotFound):
            await show(clinic.gate, person, proposal.id)
    with pytest.raises(NotFound):
        await show(clinic.gate, SOFIA, "no-uuid")


async def test_view_holds_what_the_ai_saw_guards_and_sentences(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    view = await show(clinic.gate, SOFIA, proposal.id)
    slot = clinic.hospital.scenario.free_slots[0]
    shown = {s.seen.reference: s.resource for s in view.read_set}
    assert shown[slot] is not None
    assert "serviceType" not in (shown[slot] or {}), "minimised, as the AI got it"
    assert [g.holds for g in view.guards] == [True, True, True]
    assert {p.action: p.permitted for p in view.permissions} == {
        "approve": True,
        "refuse": True,
        "hand-back": True,
        "edit": True,
        "rollback": False,
    }
    assert all(p.sentence for p in view.permissions)
    assert len(await clinic.audited("proposal.show")) == 1


async def test_view_when_the_system_is_down_says_that_it_cannot_tell(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    clinic.hospital.faults.switch("down", "503")
    view = await show(clinic.gate, SOFIA, proposal.id)
    assert {g.holds for g in view.guards} == {None}
    assert view.permissions[0].permitted, "the commit looks again"


async def test_view_when_the_slot_is_taken_disables_approval_with_the_reason(
    clinic: Clinic,
) -> None:
    proposal = await clinic.booked()
    slot = clinic.hospital.scenario.free_slots[0]
    clinic.hospital.edit({**clinic.hospital.resource(slot), "status": "busy"})
    view = await show(clinic.gate, SOFIA, proposal.id)
    assert not view.permissions[0].permitted
    assert f"status of {slot}" in view.permissions[0].sentence
    assert [(d.path, d.after) for d in view.changed_since] == [("status", "busy")]


async def test_proposals_may_be_submitted_and_reviewed_while_halted(clinic: Clinic) -> None:
    await halts.halt(clinic.gate, OPERATOR, reason="drill")
    assert (await clinic.approved()).status is Status.APPROVED
