"""Each change decided on by itself; changes of a status, and what stands for deleting."""

from dataclasses import replace
from typing import Any

import pytest

from chartgate.errors import Unprocessable
from chartgate.flows import reviews
from chartgate.flows.proposals import Submission, submit
from chartgate.model.proposal import Proposal, Status
from chartgate.policy.charters import compile_book
from tests.flows.clinics import CLERK, NORA, SOFIA, Clinic, sample_charter

EACH = (
    "      within: 15m\n      auto: {min_confidence: 0.97, from_stage: full}\n",
    "      within: 15m\n      each: true\n",
)
CANCEL = ("      - patch Task.status\n", "      - patch Task.status\n      - cancel Task\n")


@pytest.fixture
async def booked(clinic: Clinic) -> Proposal:
    """A booking under a charter that wants a decision on each of its changes."""
    clinic.gate.running.charters = compile_book([sample_charter("clinic-booking", change=[EACH])])
    return await clinic.booked()


async def decide(clinic: Clinic, proposal: Proposal, *each: str) -> Proposal:
    digest = proposal.content.digest
    return await reviews.review(
        clinic.gate, SOFIA, proposal.id, verdict="approve", digest=digest, each=each
    )


@pytest.mark.parametrize(
    ("each", "sentence"),
    [
        ((), "a decision on each change"),
        (("approve",), "send 2 times"),
        (("approve", "approve", "approve"), "send 2 times"),
        (("approve", "yes"), "send 2 times"),
        (("refuse", "refuse"), "refuse the proposal"),
    ],
)
async def test_approval_without_a_verdict_on_each_change_is_refused_and_audited(
    clinic: Clinic, booked: Proposal, each: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(Unprocessable, match=sentence):
        await decide(clinic, booked, *each)
    assert (await clinic.get(booked)).status is Status.PENDING_REVIEW
    assert (await clinic.audited("proposal.review"))[-1]["outcome"] != "success"


async def test_all_changes_approved_are_written(clinic: Clinic, booked: Proposal) -> None:
    approved = await decide(clinic, booked, "approve", "approve")
    assert approved.status is Status.APPROVED
    assert (await clinic.commit_until_done(approved)).status is Status.VERIFIED


async def test_change_that_is_refused_is_left_out_and_the_rest_is_shown_before_it_is_approved(
    clinic: Clinic, booked: Proposal
) -> None:
    rest = await decide(clinic, booked, "approve", "refuse")
    assert rest.status is Status.PENDING_REVIEW
    assert (rest.content.version, len(rest.content.changes)) == (2, 1)
    assert rest.content.edited_by == SOFIA.agent
    assert rest.content.digest != booked.content.digest
    with pytest.raises(Exception, match="changed after you opened it"):
        await decide(clinic, booked, "approve", "approve")
    approved = await decide(clinic, rest)
    assert (await clinic.commit_until_done(approved)).status is Status.VERIFIED
    slot = clinic.hospital.resource(clinic.hospital.scenario.free_slots[0])
    assert slot["status"] == "free"
    assert clinic.effects(approved) == 1


async def test_rest_that_could_not_be_proposed_is_refused(clinic: Clinic, booked: Proposal) -> None:
    """What remains is checked as if it had been proposed so: without its appointment, nobody can
    tell whether the slot is taken."""
    with pytest.raises(Unprocessable, match="the guard needs"):
        await decide(clinic, booked, "refuse", "approve")
    assert (await clinic.get(booked)).content.digest == booked.content.digest


async def test_verdicts_on_changes_where_the_charter_asks_for_one_are_refused(
    clinic: Clinic,
) -> None:
    booked = await clinic.booked()
    with pytest.raises(Unprocessable, match="one decision on all"):
        await decide(clinic, booked, "approve", "refuse")


async def task_submission(clinic: Clinic, change: dict[str, Any]) -> Submission:
    task = clinic.hospital.scenario.authorisation
    booking = await clinic.booking()
    return replace(
        booking,
        action="update-status",
        interaction=await clinic.see(CLERK, task),
        changes=[{"reference": task, **change}],
    )


async def test_status_is_changed_and_nothing_else(clinic: Clinic) -> None:
    change = {"interaction": "status", "status": "accepted"}
    proposal = await submit(clinic.gate, CLERK, await task_submission(clinic, change))
    assert [(d.path, d.after) for d in proposal.content.differences] == [("status", "accepted")]
    await clinic.approve(proposal, NORA)
    assert (await clinic.commit_until_done(proposal)).status is Status.VERIFIED
    assert clinic.hospital.resource(clinic.hospital.scenario.authorisation)["status"] == "accepted"


async def test_cancel_sets_the_status_that_stands_for_deleting_in_that_system(
    clinic: Clinic,
) -> None:
    change = {"interaction": "cancel"}
    with pytest.raises(Unprocessable, match="entered in error"):
        await submit(clinic.gate, CLERK, await task_submission(clinic, change))
    others = [
        sample_charter("clinic-booking"),
        sample_charter("prior-authorisation", change=[CANCEL]),
    ]
    clinic.gate.running.charters = compile_book(others)
    proposal = await submit(clinic.gate, CLERK, await task_submission(clinic, change))
    await clinic.approve(proposal, NORA)
    assert (await clinic.commit_until_done(proposal)).status is Status.VERIFIED
    task = clinic.hospital.resource(clinic.hospital.scenario.authorisation)
    assert task["status"] == "entered-in-error"


async def test_stricter_bounds_after_the_approval_hold_at_the_commit(clinic: Clinic) -> None:
    approved = await clinic.approved()
    fixed = ("    guards:   ", "    fixed: {Appointment.status: proposed}\n    guards:   ")
    clinic.gate.running.charters = compile_book([sample_charter("clinic-booking", change=[fixed])])
    handed = await clinic.commit_until_done(approved)
    assert handed.status is Status.HANDED_OFF
    assert "must be proposed" in str(handed.reason)
    assert clinic.effects(approved) == 0
