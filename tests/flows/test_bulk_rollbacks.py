"""Taking back all that a client wrote within some time: a list first, then exactly that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from chartgate.errors import Denied, Invalid, NotFound, VersionConflict
from chartgate.flows import bulk_rollbacks, commits, halts, rollbacks
from chartgate.flows.undo_lists import (
    SAY_STAFF,
    SAY_UNDER_WAY,
    SAY_UNDO,
    Plan,
    Selection,
)
from chartgate.model.principal import Person, Principal
from chartgate.model.proposal import Status
from chartgate.store.database import Database
from chartgate.testing.clock import START
from tests.flows.clinics import (
    NORA,
    OPERATOR,
    OSEI,
    PICKER,
    SITE,
    SOFIA,
    Clinic,
    Killed,
)
from tests.flows.undoing import minutes, plain, task_written, undo_all

PICKERS = Selection(client="slot-picker")
CLERKS = Selection(client="auth-clerk")


async def shown(clinic: Clinic, selection: Selection, who: Principal = OPERATOR) -> Plan:
    return await bulk_rollbacks.plan(clinic.gate, who, selection)


async def run(
    clinic: Clinic, selection: Selection, who: Principal = SOFIA, *, digest: str | None = None
) -> Plan:
    digest = digest or (await shown(clinic, selection, who)).digest
    return await bulk_rollbacks.roll_back(
        clinic.gate, who, selection, shown=digest, reason="wrong model"
    )


def verdicts(plan: Plan) -> dict[str, tuple[str, str]]:
    return {item.proposal.id: (item.verdict, item.why) for item in plan.items}


async def test_dry_run_lists_the_newest_first_and_changes_nothing(clinic: Clinic) -> None:
    slots = clinic.hospital.scenario.free_slots[:3]
    written = []
    for slot in slots:
        written.append(await clinic.verified(slot))
        clinic.clock.advance(60)
    clinic.hospital.journal.clear()
    plan = await shown(clinic, PICKERS)
    assert [item.proposal.id for item in plan.items] == [p.id for p in reversed(written)]
    assert {item.why for item in plan.items} == {SAY_UNDO}
    assert (plan.under_way, plan.complete) == (0, True)
    assert not clinic.hospital.journal.requests
    for proposal in written:
        assert (await clinic.get(proposal)).status is Status.VERIFIED
    (event,) = await clinic.audited("proposal.rollback-many")
    assert event["agent"] == OPERATOR.agent
    assert event["details"]["dry_run"] == "true"
    assert (event["details"]["listed"], event["details"]["moved"]) == ("3", "0")


async def test_all_that_a_client_wrote_is_taken_back_once_each_with_one_event_for_the_whole(
    clinic: Clinic,
) -> None:
    slots = clinic.hospital.scenario.free_slots[:3]
    before = [clinic.hospital.resource(slot) for slot in slots]
    written = [await clinic.verified(slot) for slot in slots]
    await run(clinic, PICKERS)
    assert await undo_all(clinic, *written) == [Status.ROLLED_BACK] * 3
    assert [plain(clinic.hospital.resource(s)) for s in slots] == [plain(b) for b in before]
    assert len(await clinic.audited("proposal.rollback")) == 3
    assert len(await clinic.audited("proposal.rolled-back")) == 3
    _, event = await clinic.audited("proposal.rollback-many")
    assert event["agent"] == SOFIA.agent
    details = event["details"]
    assert (details["client"], details["undo"], details["moved"]) == ("slot-picker", "3", "3")
    assert "wrong model" not in str(event)
    again = await shown(clinic, PICKERS)
    assert again.items == ()


async def test_window_takes_what_was_written_within_it_and_nothing_else(clinic: Clinic) -> None:
    early, middle, late = clinic.hospital.scenario.free_slots[:3]
    first = await clinic.verified(early)
    clinic.clock.advance(600)
    since = clinic.clock()
    second = await clinic.verified(middle)
    until = clinic.clock() + minutes(1)
    clinic.clock.advance(600)
    third = await clinic.verified(late)
    open_end = await shown(clinic, replace(PICKERS, since=since))
    assert list(verdicts(open_end)) == [third.id, second.id]
    span = Selection(since=since, until=until)
    assert list(verdicts(await shown(clinic, span))) == [second.id]
    before = Selection(client="slot-picker", until=since - minutes(1))
    assert list(verdicts(await shown(clinic, before))) == [first.id]


async def test_by_charter_by_stage_and_by_client(clinic: Clinic) -> None:
    booking = await clinic.verified()
    await halts.set_stage(clinic.gate, OPERATOR, "prior-authorisation", "full")
    task = await task_written(clinic, "in-progress")
    for selection, expected in (
        (Selection(charter="clinic-booking"), [booking.id]),
        (Selection(charter="prior-authorisation"), [task.id]),
        (Selection(stage="suggest"), [booking.id]),
        (Selection(stage="full"), [task.id]),
        (Selection(stage="full", client="slot-picker"), []),
        (Selection(client="auth-clerk"), [task.id]),
        (Selection(client="nobody"), []),
    ):
        assert list(verdicts(await shown(clinic, selection))) == expected, selection


async def test_changes_that_stand_on_one_another_are_undone_cleanly(clinic: Clinic) -> None:
    """Each undoing makes a new version, so the one below stands on another number than it left."""
    task = clinic.hospital.scenario.authorisation
    before = clinic.hospital.resource(task)
    stacked = [
        await task_written(clinic, status) for status in ("received", "accepted", "in-progress")
    ]
    await run(clinic, CLERKS, NORA)
    assert await undo_all(clinic, *stacked) == [Status.ROLLED_BACK] * 3
    assert plain(clinic.hospital.resource(task)) == plain(before)
    undone = [e["entities"][0] for e in await clinic.audited("proposal.rolled-back")]
    assert undone == [f"Proposal/{p.id}" for p in reversed(stacked)]


async def test_older_one_that_a_worker_takes_first_waits_for_what_stands_on_it(
    clinic: Clinic,
) -> None:
    task = clinic.hospital.scenario.authorisation
    before = clinic.hospital.resource(task)
    below = await task_written(clinic, "received")
    on_top = await task_written(clinic, "in-progress")
    await rollbacks.request_rollback(clinic.gate, NORA, below.id, reason="wrong")
    await rollbacks.request_rollback(clinic.gate, NORA, on_top.id, reason="wrong")
    await asyncio.gather(*(rollbacks.rollback_next(clinic.gate, f"w{n}") for n in range(2)))
    assert await undo_all(clinic, below, on_top) == [Status.ROLLED_BACK] * 2
    assert plain(clinic.hospital.resource(task)) == plain(before)


async def test_one_whose_successor_stays_is_refused(clinic: Clinic) -> None:
    """Undoing only the lower of two would take the upper one with it."""
    below = await task_written(clinic, "received")
    on_top = await task_written(clinic, "in-progress")
    await rollbacks.request_rollback(clinic.gate, NORA, below.id, reason="wrong")
    assert await undo_all(clinic, below) == [Status.VERIFIED]
    assert (await clinic.get(below)).reason == rollbacks.SAY_MOVED_ON
    plan = await shown(clinic, CLERKS)
    assert {v for v, _ in verdicts(plan).values()} == {"undo"}, "both together go"
    assert on_top.decided_at is not None
    window = replace(CLERKS, until=on_top.decided_at - minutes(0.01))
    assert [v for v, _ in verdicts(await shown(clinic, window)).values()] == ["cannot"]


async def test_foreign_edit_between_is_listed_as_moved_on_and_is_not_touched(
    clinic: Clinic,
) -> None:
    first, second = clinic.hospital.scenario.free_slots[:2]
    touched = await clinic.verified(first)
    free = await clinic.verified(second)
    clinic.hospital.edit({**clinic.hospital.resource(first), "comment": "by the window"})
    plan = await shown(clinic, PICKERS)
    verdict, why = verdicts(plan)[touched.id]
    assert verdict == "cannot"
    assert "the chart moved on" in why
    assert first in why
    assert verdicts(plan)[free.id] == ("undo", SAY_UNDO)
    await run(clinic, PICKERS)
    assert await undo_all(clinic, touched, free) == [Status.VERIFIED, Status.ROLLED_BACK]
    assert clinic.hospital.resource(first)["comment"] == "by the window"
    assert len(await clinic.audited("proposal.rollback")) == 1, "it was never asked for"


async def test_foreign_edit_on_top_of_two_keeps_both(clinic: Clinic) -> None:
    task = clinic.hospital.scenario.authorisation
    stacked = [await task_written(clinic, s) for s in ("received", "in-progress")]
    clinic.hospital.edit({**clinic.hospital.resource(task), "priority": "urgent"})
    plan = await shown(clinic, CLERKS)
    assert {v for v, _ in verdicts(plan).values()} == {"cannot"}
    now = clinic.hospital.resource(task)
    await run(clinic, CLERKS, NORA)
    assert await undo_all(clinic, *stacked) == [Status.VERIFIED] * 2
    assert clinic.hospital.resource(task) == now


async def test_foreign_edit_after_one_of_two_was_undone_keeps_the_other(clinic: Clinic) -> None:
    task = clinic.hospital.scenario.authorisation
    below = await task_written(clinic, "received")
    on_top = await task_written(clinic, "in-progress")
    await run(clinic, CLERKS, NORA)
    assert await rollbacks.rollback_next(clinic.gate, "w1")
    assert (await clinic.get(on_top)).status is Status.ROLLED_BACK
    clinic.hospital.edit({**clinic.hospital.resource(task), "priority": "urgent"})
    assert await undo_all(clinic, below) == [Status.VERIFIED]
    assert clinic.hospital.resource(task)["priority"] == "urgent"


async def test_what_staff_have_or_is_under_way_is_listed_with_why(clinic: Clinic) -> None:
    first, second = clinic.hospital.scenario.free_slots[:2]
    clinic.hospital.faults.switch(
        "change_on_save", {"set": {"/status": "waitlist"}}, types=["Appointment"], times=1
    )
    await clinic.approved(first)
    await commits.commit_next(clinic.gate, "w1")
    going = await clinic.verified(second)
    await rollbacks.request_rollback(clinic.gate, SOFIA, going.id, reason="wrong day")
    plan = await shown(clinic, PICKERS)
    assert sorted(why for _, why in verdicts(plan).values()) == sorted([SAY_STAFF, SAY_UNDER_WAY])
    await clinic.approved(clinic.hospital.scenario.free_slots[2])
    assert (await shown(clinic, PICKERS)).under_way == 1


async def test_system_that_does_not_answer_is_listed_as_not_known(clinic: Clinic) -> None:
    await clinic.verified()
    clinic.hospital.faults.switch("down", "503")
    plan = await shown(clinic, PICKERS)
    assert [item.verdict for item in plan.items] == ["cannot"]
    assert "did not answer" in plan.items[0].why


async def test_connection_that_is_not_configured_any_more_hinders_no_other(clinic: Clinic) -> None:
    await clinic.verified()
    elsewhere = replace(clinic.gate, sources={})
    plan = await bulk_rollbacks.plan(elsewhere, OPERATOR, PICKERS)
    assert [item.verdict for item in plan.items] == ["cannot"]


@pytest.mark.parametrize("who", [NORA, OPERATOR], ids=["another role", "process"])
async def test_who_may_not_review_may_not_roll_back_many(clinic: Clinic, who: Principal) -> None:
    verified = await clinic.verified()
    digest = (await shown(clinic, PICKERS, SOFIA)).digest
    with pytest.raises((Denied, VersionConflict)):
        await run(clinic, PICKERS, who, digest=digest)
    assert (await clinic.get(verified)).status is Status.VERIFIED
    assert not await clinic.audited("proposal.rollback")


async def test_process_is_refused_with_an_audit_event(clinic: Clinic) -> None:
    await clinic.verified()
    with pytest.raises(Denied, match="only a person"):
        await run(clinic, PICKERS, OPERATOR)
    assert [e["outcome"] for e in await clinic.audited("proposal.rollback-many")] == [
        "success",
        "denied",
    ]


async def test_client_can_neither_list_nor_roll_back_what_it_wrote(clinic: Clinic) -> None:
    await clinic.verified()
    with pytest.raises(Denied):
        await shown(clinic, PICKERS, PICKER)
    with pytest.raises(Denied):
        await run(clinic, PICKERS, PICKER, digest="0" * 64)


async def test_person_undoes_only_what_is_theirs_to_review(clinic: Clinic) -> None:
    booking = await clinic.verified()
    task = await task_written(clinic, "in-progress")
    everything = Selection(since=clinic.clock() - minutes(60))
    assert list(verdicts(await shown(clinic, everything, SOFIA))) == [booking.id]
    both = Person(id="both", roles=("scheduler", "utilisation"), sites=(SITE,))
    assert set(verdicts(await shown(clinic, everything, both))) == {booking.id, task.id}
    await run(clinic, everything, SOFIA)
    assert await undo_all(clinic, booking, task) == [Status.ROLLED_BACK, Status.VERIFIED]


async def test_session_of_one_patient_knows_of_no_other(clinic: Clinic) -> None:
    booking = await clinic.verified()
    other = replace(SOFIA, patient="Patient/other")
    assert (await shown(clinic, PICKERS, other)).items == ()
    assert booking.patient is not None
    own = replace(SOFIA, patient=booking.patient)
    assert list(verdicts(await shown(clinic, PICKERS, own))) == [booking.id]


async def test_without_the_list_that_was_shown_nothing_moves(clinic: Clinic) -> None:
    first = await clinic.verified()
    digest = (await shown(clinic, PICKERS, SOFIA)).digest
    second = await clinic.verified(clinic.hospital.scenario.free_slots[1])
    with pytest.raises(VersionConflict, match="dry run"):
        await run(clinic, PICKERS, digest=digest)
    for proposal in (first, second):
        assert (await clinic.get(proposal)).status is Status.VERIFIED


@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection(client=""),
        Selection(until=START),
        Selection(stage="everywhere"),
        Selection(client="Ms Jane Doe"),
    ],
    ids=["nothing", "empty", "only an end", "no such stage", "no id"],
)
async def test_selection_that_says_nothing_or_nonsense_is_refused(
    clinic: Clinic, selection: Selection
) -> None:
    with pytest.raises(Invalid):
        await shown(clinic, selection)


async def test_charter_that_is_not_there_and_a_window_that_ends_first_are_refused(
    clinic: Clinic,
) -> None:
    with pytest.raises(NotFound):
        await shown(clinic, Selection(charter="clinic-bookings"))
    now = clinic.clock()
    with pytest.raises(Invalid):
        await shown(clinic, Selection(since=now, until=now))
    with pytest.raises(Invalid, match="say in 1 to"):
        await bulk_rollbacks.roll_back(clinic.gate, SOFIA, PICKERS, shown="", reason=" ")


@pytest.mark.parametrize("place", ["before", "after"])
async def test_crash_while_asking_moves_all_or_none(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    slots = clinic.hospital.scenario.free_slots[:2]
    written = [await clinic.verified(slot) for slot in slots]
    digest = (await shown(clinic, PICKERS, SOFIA)).digest
    change_found = Database.change_found

    @asynccontextmanager
    async def dying(database: Database) -> AsyncIterator[Any]:
        async with change_found(database) as given:
            yield given
            if place == "before":
                raise Killed
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Database, "change_found", dying)
        with pytest.raises(Killed):
            await run(clinic, PICKERS, digest=digest)
    states = {(await clinic.get(p)).status for p in written}
    assert states == {Status.VERIFIED if place == "before" else Status.ROLLING_BACK}
    if place == "after":
        assert await undo_all(clinic, *written) == [Status.ROLLED_BACK] * 2


async def test_asked_for_twice_at_once_each_is_undone_once(clinic: Clinic) -> None:
    slots = clinic.hospital.scenario.free_slots[:2]
    written = [await clinic.verified(slot) for slot in slots]
    digest = (await shown(clinic, PICKERS, SOFIA)).digest
    await asyncio.gather(
        *(run(clinic, PICKERS, digest=digest) for _ in range(4)), return_exceptions=True
    )
    assert await undo_all(clinic, *written) == [Status.ROLLED_BACK] * 2
    assert len(await clinic.audited("proposal.rollback")) == 2


async def test_clinician_sees_no_list_of_another_role(clinic: Clinic) -> None:
    await clinic.verified()
    assert (await shown(clinic, PICKERS, OSEI)).items == ()
