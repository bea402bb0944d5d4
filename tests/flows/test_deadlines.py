"""What nobody decided in time goes to staff, once."""

import asyncio

from chartgate.flows import deadlines
from chartgate.model.proposal import Proposal, Status
from chartgate.store.handoffs import HandoffStore
from tests.flows.clinics import Clinic


async def test_undecided_proposal_is_handed_off_when_its_time_is_over(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    clinic.clock.advance(15 * 60 - 1)
    assert not await deadlines.expire_next(clinic.gate, "w1")
    clinic.clock.advance(1)
    assert await deadlines.expire_next(clinic.gate, "w1")
    expired = await clinic.get(proposal)
    assert (expired.status, expired.reason) == (Status.HANDED_OFF, deadlines.SAY_EXPIRED)
    handoff = await HandoffStore(clinic.database).of_proposal(proposal.id)
    assert handoff is not None
    assert handoff.opened_at == clinic.clock()
    (event,) = await clinic.audited("proposal.expire")
    assert event["details"]["status"] == "expired"
    assert not await deadlines.expire_next(clinic.gate, "w1")


async def test_many_workers_and_a_late_reviewer_at_once_make_one_end(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    clinic.clock.advance(15 * 60 - 1)
    review = asyncio.create_task(clinic.approve(proposal))
    clinic.clock.advance(1)
    answers = await asyncio.gather(
        review,
        *(deadlines.expire_next(clinic.gate, f"w{i}") for i in range(10)),
        return_exceptions=True,
    )
    end = await clinic.get(proposal)
    handoff = await HandoffStore(clinic.database).of_proposal(proposal.id)
    if isinstance(answers[0], Proposal):
        assert (end.status, handoff) == (Status.APPROVED, None)
    else:
        assert end.status is Status.HANDED_OFF
        assert handoff is not None
