"""A hospital that was restored from a backup is noticed: nothing is written, an alarm, staff."""

from typing import Any

import pytest

from chartgate.errors import OutcomeUnknown
from chartgate.flows import commits, rollbacks
from chartgate.flows.regress import SAY_WENT_BACK
from chartgate.flows.sending import WENT_BACK
from chartgate.model.proposal import Proposal, Status
from tests.flows.clinics import NORA, SOFIA, Clinic
from tests.flows.undoing import restore, task_written

WRITES = ("transaction", "create", "patch", "update")


async def until_at_rest(clinic: Clinic, proposal: Proposal) -> Proposal:
    """Runs all workers over every back-off."""
    for _ in range(8):
        await commits.commit_next(clinic.gate, "w1")
        await commits.verify_next(clinic.gate, "w1")
        await rollbacks.rollback_next(clinic.gate, "w1")
        clinic.clock.advance(31)
    return await clinic.get(proposal)


async def edited(clinic: Clinic, slot: str, **elements: Any) -> None:
    clinic.clock.advance(60)
    clinic.hospital.edit({**clinic.hospital.resource(slot), **elements})


async def test_commit_on_a_system_that_was_restored_sends_nothing_and_raises_an_alarm(
    clinic: Clinic,
) -> None:
    slot = clinic.hospital.scenario.free_slots[0]
    await edited(clinic, slot, comment="seen")
    approved = await clinic.approved(slot)
    restore(clinic, slot, versions=1)
    handed = await until_at_rest(clinic, approved)
    assert (handed.status, handed.reason) == (Status.HANDED_OFF, SAY_WENT_BACK)
    assert not clinic.hospital.journal.requests
    (event,) = await clinic.audited("connection.regress")
    assert event["outcome"] == "failed"
    assert event["details"]["connection"] == "north-ehr"
    assert event["details"]["resources"] == slot
    assert not await clinic.audited("proposal.conflict"), "it is no conflict"


async def test_number_given_anew_after_a_restore_is_no_ground_for_a_commit(clinic: Clinic) -> None:
    """The guards look at their elements alone, and those are as they were seen."""
    slot = clinic.hospital.scenario.free_slots[0]
    await edited(clinic, slot, comment="seen")
    approved = await clinic.approved(slot)
    restore(clinic, slot, versions=1)
    await edited(clinic, slot, comment="another hand")
    handed = await until_at_rest(clinic, approved)
    assert (handed.status, handed.reason) == (Status.HANDED_OFF, SAY_WENT_BACK)
    assert not clinic.hospital.journal.requests


async def test_replica_that_lags_behind_for_a_while_is_waited_for(clinic: Clinic) -> None:
    slot = clinic.hospital.scenario.free_slots[0]
    await edited(clinic, slot, comment="seen")
    approved = await clinic.approved(slot)
    clinic.hospital.faults.switch(
        "stale_reads", {"versions": 1}, interactions=["read"], types=["Slot"], times=2
    )
    done = await until_at_rest(clinic, approved)
    assert done.status is Status.VERIFIED
    assert clinic.effects(done) == 1
    assert not await clinic.audited("connection.regress")


async def test_edit_after_the_read_is_no_regress(clinic: Clinic) -> None:
    slot = clinic.hospital.scenario.free_slots[0]
    approved = await clinic.approved(slot)
    await edited(clinic, slot, comment="by the window")
    assert (await until_at_rest(clinic, approved)).status is Status.VERIFIED
    assert not await clinic.audited("connection.regress")


async def test_restore_between_write_and_read_back_is_told_from_a_mismatch(clinic: Clinic) -> None:
    approved = await clinic.approved()
    slot = clinic.hospital.scenario.free_slots[0]

    async def restored() -> None:
        restore(clinic, slot, versions=1)

    clinic.sink.after["commit"] = restored
    handed = await until_at_rest(clinic, approved)
    assert handed.status is Status.HANDED_OFF
    assert WENT_BACK in (handed.reason or "")
    (event,) = await clinic.audited("connection.regress")
    assert event["details"]["resources"] == slot
    assert clinic.effects(approved) == 1, "it is not written again"


async def test_restore_while_the_answer_is_lost_goes_to_a_person(clinic: Clinic) -> None:
    """The version on which the write stood is not there either: reading cannot tell."""
    slot = clinic.hospital.scenario.free_slots[0]
    await edited(clinic, slot, comment="seen")
    approved = await clinic.approved(slot)

    async def lost() -> None:
        restore(clinic, slot, versions=2)
        raise OutcomeUnknown("the answer was lost")

    clinic.sink.after["commit"] = lost
    handed = await until_at_rest(clinic, approved)
    assert handed.status is Status.HANDED_OFF
    assert clinic.effects(approved) == 1


async def test_rollback_on_a_system_that_was_restored_sends_nothing(clinic: Clinic) -> None:
    verified = await clinic.verified()
    slot = clinic.hospital.scenario.free_slots[0]
    restore(clinic, slot, versions=1)
    await rollbacks.request_rollback(clinic.gate, SOFIA, verified.id, reason="wrong day")
    clinic.hospital.journal.clear()
    handed = await until_at_rest(clinic, verified)
    assert handed.status is Status.HANDED_OFF
    assert SAY_WENT_BACK in (handed.reason or "")
    assert not clinic.hospital.journal.requests
    (event,) = await clinic.audited("connection.regress")
    assert event["details"]["resources"] == slot


async def test_rollback_never_overwrites_what_came_under_its_number_after_a_restore(
    clinic: Clinic,
) -> None:
    """If-Match alone would let it through: the version has the number that we left."""
    verified = await task_written(clinic, "in-progress")
    task = clinic.hospital.scenario.authorisation
    ours = clinic.hospital.resource(task)
    restore(clinic, task, versions=1)
    await edited(clinic, task, description="written after the restore")
    theirs = clinic.hospital.resource(task)
    assert theirs["meta"]["versionId"] == ours["meta"]["versionId"]
    await rollbacks.request_rollback(clinic.gate, NORA, verified.id, reason="wrong")
    handed = await until_at_rest(clinic, verified)
    assert handed.status is Status.HANDED_OFF
    assert clinic.hospital.resource(task) == theirs


async def test_rollback_of_what_a_restore_made_vanish_goes_to_staff(clinic: Clinic) -> None:
    verified = await clinic.verified()
    assert verified.receipt is not None
    appointment = verified.receipt.effects[0].reference
    chart = clinic.hospital.chart
    chart.undo(chart.current[appointment])
    await rollbacks.request_rollback(clinic.gate, SOFIA, verified.id, reason="wrong day")
    handed = await until_at_rest(clinic, verified)
    assert handed.status is Status.HANDED_OFF
    assert len(await clinic.audited("connection.regress")) == 1


@pytest.mark.parametrize("removed", ["deleted", "edited"])
async def test_rollback_of_what_somebody_removed_or_changed_is_no_regress(
    clinic: Clinic, removed: str
) -> None:
    verified = await clinic.verified()
    assert verified.receipt is not None
    appointment = verified.receipt.effects[0].reference
    if removed == "deleted":
        clinic.hospital.chart.put(appointment, None, method="DELETE")
    else:
        await edited(clinic, appointment, comment="moved")
    await rollbacks.request_rollback(clinic.gate, SOFIA, verified.id, reason="wrong day")
    stays = await until_at_rest(clinic, verified)
    assert (stays.status, stays.reason) == (Status.VERIFIED, rollbacks.SAY_MOVED_ON)
    assert not await clinic.audited("connection.regress")


async def undoing_restored(clinic: Clinic, *, tries: int) -> tuple[Proposal, dict[str, Any]]:
    """A rollback that was applied, and that a restore took away before it was read back."""
    verified = await task_written(clinic, "in-progress")
    task = clinic.hospital.scenario.authorisation
    await rollbacks.request_rollback(clinic.gate, NORA, verified.id, reason="wrong")
    clinic.hospital.faults.switch("down", "503")
    for _ in range(tries):
        await rollbacks.rollback_next(clinic.gate, "w1")
        clinic.clock.advance(31)
    clinic.hospital.faults.clear()

    async def restored() -> None:
        restore(clinic, task, versions=1)

    clinic.sink.after["commit"] = restored
    done = await until_at_rest(clinic, verified)
    return done, clinic.hospital.resource(task)


async def test_undoing_that_a_restore_took_away_is_made_again(clinic: Clinic) -> None:
    """Its intent is durable and what it stood on stands again."""
    done, task = await undoing_restored(clinic, tries=0)
    assert done.status is Status.ROLLED_BACK
    assert task["status"] == "requested"


async def test_undoing_that_is_gone_after_several_looks_raises_an_alarm(clinic: Clinic) -> None:
    done, task = await undoing_restored(clinic, tries=3)
    assert done.status is Status.HANDED_OFF
    assert WENT_BACK in (done.reason or "")
    (event,) = await clinic.audited("connection.regress")
    assert event["details"]["resources"] == f"Task/{task['id']}"
