"""Taking it back: exactly, once, and never over somebody's later edit."""

import asyncio
from typing import Any

import pytest

from chartgate.errors import Denied, Invalid, InvalidTransition
from chartgate.flows import halts, rollbacks
from chartgate.flows.proposals import show
from chartgate.model.principal import Principal
from chartgate.model.proposal import Proposal, Status
from tests.flows.clinics import NORA, OPERATOR, PICKER, SOFIA, Clinic, Killed, kill_around

WRITES = ("transaction", "create", "patch", "update", "delete")


async def ask(clinic: Clinic, proposal: Proposal, who: Principal = SOFIA) -> Proposal:
    return await rollbacks.request_rollback(clinic.gate, who, proposal.id, reason="wrong day")


def plain(resource: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in resource.items() if k != "meta"}


def appointment_of(verified: Proposal) -> str:
    assert verified.receipt is not None
    return verified.receipt.effects[0].reference


async def run_until_done(clinic: Clinic, proposal: Proposal) -> Proposal:
    for _ in range(20):
        if not await rollbacks.rollback_next(clinic.gate, "w2"):
            found = await clinic.get(proposal)
            if found.status is not Status.ROLLING_BACK:
                break
        clinic.clock.advance(31)
    return await clinic.get(proposal)


async def test_rollback_restores_what_was_there(clinic: Clinic) -> None:
    slot = clinic.hospital.scenario.free_slots[0]
    before = clinic.hospital.resource(slot)
    verified = await clinic.verified()
    assert (await ask(clinic, verified)).status is Status.ROLLING_BACK
    assert await rollbacks.rollback_next(clinic.gate, "w1")
    assert (await clinic.get(verified)).status is Status.ROLLED_BACK
    assert plain(clinic.hospital.resource(slot)) == plain(before)
    assert clinic.hospital.resource(appointment_of(verified))["status"] == "cancelled"
    with pytest.raises(InvalidTransition):
        await ask(clinic, verified)
    assert not await rollbacks.rollback_next(clinic.gate, "w1")


@pytest.mark.parametrize("who", [PICKER, NORA, OPERATOR], ids=["author", "role", "process"])
async def test_whoever_may_not_review_may_not_roll_back(clinic: Clinic, who: Principal) -> None:
    verified = await clinic.verified()
    with pytest.raises(Denied):
        await ask(clinic, verified, who)
    assert (await clinic.get(verified)).status is Status.VERIFIED


async def test_rollback_needs_a_reason_and_a_verified_proposal(clinic: Clinic) -> None:
    verified = await clinic.verified()
    with pytest.raises(Invalid):
        await rollbacks.request_rollback(clinic.gate, SOFIA, verified.id, reason=" ")
    pending = await clinic.booked(clinic.hospital.scenario.free_slots[1])
    with pytest.raises(InvalidTransition):
        await ask(clinic, pending)


async def test_rollback_after_a_later_edit_is_refused_and_shows_what_changed(
    clinic: Clinic,
) -> None:
    verified = await clinic.verified()
    slot = clinic.hospital.scenario.free_slots[0]
    clinic.hospital.edit({**clinic.hospital.resource(slot), "status": "busy-unavailable"})
    await ask(clinic, verified)
    await rollbacks.rollback_next(clinic.gate, "w1")
    stays = await clinic.get(verified)
    assert (stays.status, stays.reason) == (Status.VERIFIED, rollbacks.SAY_MOVED_ON)
    assert clinic.hospital.resource(slot)["status"] == "busy-unavailable"
    assert clinic.hospital.resource(appointment_of(verified))["status"] == "booked"
    view = await show(clinic.gate, SOFIA, verified.id)
    assert [(d.path, d.before, d.after) for d in view.changed_since] == [
        ("status", "free", "busy-unavailable")
    ]
    (event,) = await clinic.audited("proposal.not-rolled-back")
    assert event["outcome"] == "failed"


@pytest.mark.parametrize(
    ("fault", "value"), [("error_after_applying", 502), ("reset_after_applying", True)]
)
async def test_rollback_whose_answer_is_lost_is_resolved_and_done_once(
    clinic: Clinic, fault: str, value: Any
) -> None:
    verified = await clinic.verified()
    await ask(clinic, verified)
    clinic.hospital.journal.clear()
    clinic.hospital.faults.switch(fault, value, interactions=WRITES, times=1)
    await rollbacks.rollback_next(clinic.gate, "w1")
    assert (await clinic.get(verified)).status is Status.ROLLING_BACK
    assert (await run_until_done(clinic, verified)).status is Status.ROLLED_BACK
    assert len(clinic.hospital.journal.requests) == 1


async def test_rollback_of_a_system_that_is_down_waits_for_it(clinic: Clinic) -> None:
    verified = await clinic.verified()
    await ask(clinic, verified)
    clinic.hospital.faults.switch("down", "503")
    await rollbacks.rollback_next(clinic.gate, "w1")
    clinic.hospital.faults.clear()
    assert (await run_until_done(clinic, verified)).status is Status.ROLLED_BACK


async def test_rollback_waits_while_everything_is_halted(clinic: Clinic) -> None:
    verified = await clinic.verified()
    await ask(clinic, verified)
    await halts.halt(clinic.gate, OPERATOR, reason="drill")
    clinic.hospital.journal.clear()
    await rollbacks.rollback_next(clinic.gate, "w1")
    assert not clinic.hospital.journal.requests
    assert not await clinic.audited("proposal.send-rollback")
    await halts.resume(clinic.gate, OPERATOR, reason="over")
    assert await rollbacks.rollback_next(clinic.gate, "w1"), "due at once"
    assert (await clinic.get(verified)).status is Status.ROLLED_BACK


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("place", ["before", "after"])
async def test_worker_killed_around_a_transaction_of_a_rollback_leaves_what_another_finishes(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, number: int, place: str
) -> None:
    verified = await clinic.verified()
    await ask(clinic, verified)
    clinic.hospital.journal.clear()
    with monkeypatch.context() as patch:
        kill_around(patch, number, place)
        with pytest.raises(Killed):
            await rollbacks.rollback_next(clinic.gate, "w1")
    assert (await run_until_done(clinic, verified)).status is Status.ROLLED_BACK
    assert len(clinic.hospital.journal.requests) == 1


async def test_rollback_asked_for_many_times_at_once_is_done_once(clinic: Clinic) -> None:
    verified = await clinic.verified()
    answers = await asyncio.gather(
        *(ask(clinic, verified) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(a, Proposal) for a in answers) == 1
    await asyncio.gather(*(rollbacks.rollback_next(clinic.gate, f"w{i}") for i in range(10)))
    assert (await clinic.get(verified)).status is Status.ROLLED_BACK
