"""What staff get as it is submitted: by the charter's options, and never more than they can bear."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from chartgate.adapters.loader import Connections
from chartgate.errors import Throttled, Unprocessable
from chartgate.flows import at_once, halts, handoffs
from chartgate.flows.proposals import Submission, show, submit
from chartgate.model.handoff import Cause, Handoff
from chartgate.model.proposal import Proposal, Status
from chartgate.policy.charters import compile_book
from chartgate.store.handoffs import HandoffStore
from tests.flows.clinics import EHR, OPERATOR, PICKER, SOFIA, Clinic, sample_charter

OTHERWISE = "{handoff: front-desk, within: 30m, below: 0.60}"
BUDGET = "open_proposals: 50"


def run_charter(clinic: Clinic, when: str = "", *, hours: str = "", budget: int = 50) -> None:
    otherwise = OTHERWISE.replace("}", f", when: [{when}]}}") if when else OTHERWISE
    change = [(OTHERWISE, otherwise), (BUDGET, f"open_proposals: {budget}")]
    if hours:
        change.append(("events: [", f"hours: {hours}\nevents: ["))
    clinic.gate.running.charters = compile_book([sample_charter("clinic-booking", change=change)])


async def handoff_of(clinic: Clinic, proposal: Proposal) -> Handoff:
    found = await HandoffStore(clinic.database).of_proposal(proposal.id)
    assert found is not None
    return found


async def invalid(clinic: Clinic, **changes: Any) -> Submission:
    """A booking that ends before it begins."""
    booking = await clinic.booking(**changes)
    whole = [dict(change) for change in booking.changes]
    whole[0]["resource"] = whole[0]["resource"] | {"end": "2001-01-01T00:00:00Z"}
    return replace(booking, changes=whole)


async def test_invalid_proposal_is_refused_unless_the_charter_hands_it_off(clinic: Clinic) -> None:
    with pytest.raises(Unprocessable):
        await submit(clinic.gate, PICKER, await invalid(clinic))
    run_charter(clinic, "invalid")
    proposal = await submit(clinic.gate, PICKER, await invalid(clinic))
    assert (proposal.status, proposal.reason) == (Status.HANDED_OFF, at_once.SAY_INVALID)
    handoff = await handoff_of(clinic, proposal)
    assert (handoff.cause, handoff.worklist) == (Cause.INVALID, "front-desk")


async def test_invalid_proposal_is_not_kept_but_whom_it_is_about_and_what_was_seen_is(
    clinic: Clinic,
) -> None:
    run_charter(clinic, "invalid")
    proposal = await submit(clinic.gate, PICKER, await invalid(clinic, rationale="I am sure."))
    assert proposal.content.changes == ()
    assert proposal.patient == clinic.hospital.scenario.booking_patient
    view = await show(clinic.gate, SOFIA, proposal.id)
    assert view.proposal.rationale == "I am sure."
    assert len(view.read_set) == 3
    handoff = await handoff_of(clinic, proposal)
    closed = await handoffs.close(clinic.gate, SOFIA, handoff.id, "done by phone")
    assert closed.outcome == "done by phone"
    assert (await clinic.get(proposal)).status is Status.CLOSED


async def test_invalid_proposal_sent_again_under_its_key_is_the_same_work(clinic: Clinic) -> None:
    run_charter(clinic, "invalid")
    submission = await invalid(clinic, idempotency_key="k1")
    first = await submit(clinic.gate, PICKER, submission)
    assert (await submit(clinic.gate, PICKER, submission)).id == first.id
    assert len(await HandoffStore(clinic.database).unfinished(limit=10)) == 1


async def test_invalid_proposal_in_shadow_is_refused_and_nobody_gets_it(clinic: Clinic) -> None:
    run_charter(clinic, "invalid", hours="{zone: UTC, days: [holiday]}")
    await halts.set_stage(clinic.gate, OPERATOR, "clinic-booking", "shadow")
    with pytest.raises(Unprocessable):
        await submit(clinic.gate, PICKER, await invalid(clinic))
    assert (await clinic.booked()).status is Status.SHADOWED
    assert await HandoffStore(clinic.database).unfinished(limit=10) == ()


async def test_what_is_over_budget_goes_to_staff_and_they_are_not_flooded(clinic: Clinic) -> None:
    slots = clinic.hospital.scenario.free_slots
    run_charter(clinic, "over-budget, invalid", budget=1)
    assert (await clinic.booked(slots[0])).status is Status.PENDING_REVIEW
    over = await clinic.booked(slots[1])
    assert over.reason == at_once.SAY_OVER_BUDGET
    assert (await handoff_of(clinic, over)).cause is Cause.OVER_BUDGET
    assert over.content.changes  # well made, so that staff see what was proposed
    with pytest.raises(Throttled):
        await clinic.booked(slots[2])
    with pytest.raises(Throttled):
        await submit(clinic.gate, PICKER, await invalid(clinic, slot=slots[2]))
    await handoffs.close(clinic.gate, SOFIA, (await handoff_of(clinic, over)).id, "done")
    assert (await clinic.booked(slots[2])).status is Status.HANDED_OFF


async def test_ai_that_is_never_sure_cannot_flood_the_staff(clinic: Clinic) -> None:
    slots = clinic.hospital.scenario.free_slots
    run_charter(clinic, budget=2)
    for slot in slots[:2]:
        assert (await clinic.booked(slot, confidence=0.1)).status is Status.HANDED_OFF
    with pytest.raises(Throttled):
        await clinic.booked(slots[2], confidence=0.1)
    assert (await clinic.booked(slots[2])).status is Status.PENDING_REVIEW


async def test_without_the_option_what_is_over_budget_is_told_to_wait(clinic: Clinic) -> None:
    slots = clinic.hospital.scenario.free_slots
    run_charter(clinic, "invalid", budget=1)
    await clinic.booked(slots[0])
    with pytest.raises(Throttled):
        await clinic.booked(slots[1])


@pytest.mark.parametrize(
    ("hours", "status"),
    [
        ("{zone: UTC}", Status.PENDING_REVIEW),
        ("{zone: UTC, days: [holiday]}", Status.HANDED_OFF),
    ],
)
async def test_outside_its_hours_a_proposal_goes_to_staff(
    clinic: Clinic, hours: str, status: Status
) -> None:
    run_charter(clinic, hours=hours)
    proposal = await clinic.booked()
    assert proposal.status is status
    if status is Status.HANDED_OFF:
        assert (await handoff_of(clinic, proposal)).cause is Cause.OUT_OF_HOURS


@dataclass
class Breaker:
    state: str = "open"


@pytest.mark.parametrize(("when", "state"), [("breaker-open", "open"), ("breaker-open", "closed")])
async def test_while_the_ehr_is_away_proposals_go_to_staff(
    clinic: Clinic, when: str, state: str
) -> None:
    run_charter(clinic, when)
    submission = await clinic.booking()
    sinks: Any = clinic.gate.sinks
    clinic.gate = replace(
        clinic.gate,
        connections=Connections(
            sources=clinic.gate.sources,
            sinks=sinks,
            transmitters={},
            breakers={EHR: Breaker(state=state)},
        ),
    )
    proposal = await submit(clinic.gate, PICKER, submission)
    if state == "closed":
        assert proposal.status is Status.PENDING_REVIEW
        return
    assert (await handoff_of(clinic, proposal)).cause is Cause.BREAKER_OPEN


async def test_low_confidence_is_its_own_cause_and_opens_with_its_audit_event(
    clinic: Clinic,
) -> None:
    proposal = await clinic.booked(confidence=0.41)
    handoff = await handoff_of(clinic, proposal)
    assert handoff.cause is Cause.LOW_CONFIDENCE
    (opened,) = await clinic.audited("handoff.open")
    assert opened["details"]["handoff"] == handoff.id
