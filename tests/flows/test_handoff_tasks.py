"""A handoff as a Task in the EHR: put there once, kept in line, heard back from."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chartgate.errors import OutcomeUnknown, SourceUnreachable, Unprocessable
from chartgate.flows import halts, handoff_tasks, handoffs
from chartgate.flows.proposals import Submission, submit
from chartgate.model.handoff import Handoff, HandoffItem, HandoffStatus, ItemState
from chartgate.model.principal import Person
from chartgate.model.proposal import Status
from chartgate.store.database import Database
from chartgate.store.handoffs import HandoffStore
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import (
    CLERK,
    EHR,
    OPERATOR,
    SITE,
    Clinic,
    Killed,
    kill_around,
    open_clinic,
    sample_charter,
)

DESK = Person(id="dana", roles=("front-desk",), sites=(SITE,))
OTHERWISE = "{handoff: front-desk, within: 30m, below: 0.60}"
AS_TASK = "{handoff: front-desk, within: 30m, below: 0.60, as: task, priority: urgent}"
POLL_S = 30


@pytest.fixture
async def clinic(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Clinic]:
    """As everywhere, with a charter that wants Tasks."""
    charters = [
        sample_charter("clinic-booking", change=[(OTHERWISE, AS_TASK)]),
        sample_charter("prior-authorisation"),
    ]
    async with open_clinic(database, clock, tmp_path, charters=charters) as opened:
        yield opened


async def handed_off(clinic: Clinic) -> Handoff:
    proposal = await clinic.booked(confidence=0.41)
    handoff = await HandoffStore(clinic.database).of_proposal(proposal.id)
    assert handoff is not None
    return handoff


async def keep(clinic: Clinic, *, times: int = 1) -> None:
    for number in range(times):
        await handoff_tasks.keep_next(clinic.gate, f"w{number}")
        clinic.clock.advance(POLL_S + 1)


async def item_of(clinic: Clinic, handoff: Handoff) -> HandoffItem:
    item = await HandoffStore(clinic.database).item(handoff.id)
    assert item is not None
    return item


async def put(clinic: Clinic) -> tuple[Handoff, str]:
    """A handoff whose Task stands in the EHR."""
    handoff = await handed_off(clinic)
    await keep(clinic)
    item = await item_of(clinic, handoff)
    assert item.reference is not None
    return handoff, item.reference


def tasks_of(clinic: Clinic, handoff: Handoff) -> list[str]:
    """The Tasks that bear its marker, by the hospital's journal."""
    effects = clinic.hospital.journal.effects_of(f"{handoff.id}.task", interaction="create")
    return [effect.reference for effect in effects]


def there(clinic: Clinic, reference: str, **changes: Any) -> None:
    """Somebody in the EHR changes the Task."""
    clinic.hospital.edit({**clinic.hospital.resource(reference), **changes})


async def current(clinic: Clinic, handoff: Handoff) -> Handoff:
    return await HandoffStore(clinic.database).get(handoff.id)


async def test_handoff_is_put_into_the_ehr_as_one_task_that_says_no_more_than_it_may(
    clinic: Clinic,
) -> None:
    handoff, reference = await put(clinic)
    task: Mapping[str, Any] = clinic.hospital.resource(reference)
    assert (task["status"], task["intent"], task["priority"]) == ("requested", "order", "urgent")
    assert task["for"] == {"reference": clinic.hospital.scenario.booking_patient}
    assert task["restriction"]["period"]["end"] == handoff.due_at.isoformat(timespec="seconds")
    assert task["performerType"][0]["text"] == "front-desk"
    assert task["reasonCode"]["coding"][0]["code"] == "low-confidence"
    assert task["input"][0]["valueUrl"].endswith(f"/worklist/{handoff.id}")
    assert "41 % sure" in task["description"]
    said = str(task)
    proposal = await clinic.database.fetch_row("SELECT id FROM proposal WHERE tenant = $1")
    assert proposal is not None
    assert "First free slot." not in said  # the AI's words stay on the page
    assert "Slot/" not in said
    assert tasks_of(clinic, handoff) == [reference]
    (sent,) = await clinic.audited("handoff.send")
    (told,) = await clinic.audited("handoff.tell")
    assert told["details"]["task"] == reference
    assert sent["recorded"] <= told["recorded"]
    await keep(clinic, times=3)
    assert tasks_of(clinic, handoff) == [reference]
    assert len(await clinic.audited("handoff.send")) == 1


async def test_task_that_is_taken_in_the_ehr_is_taken_here_and_waits_for_nobody(
    clinic: Clinic,
) -> None:
    handoff, reference = await put(clinic)
    there(clinic, reference, status="accepted", owner={"reference": "Practitioner/9"})
    await keep(clinic)
    taken = await current(clinic, handoff)
    assert taken.status is HandoffStatus.TAKEN
    assert taken.taken_by == f"connection:{EHR}/Practitioner/9"
    assert taken.taken_at is not None
    (event,) = await clinic.audited("handoff.take")
    assert event["details"]["by"] == "Practitioner/9"


async def test_who_took_it_in_the_ehr_is_one_of_our_people_where_the_config_says_so(
    clinic: Clinic,
) -> None:
    gate = clinic.gate
    people = replace(gate.config.people, identities={f"sofia@{EHR}": "Practitioner/9"})
    clinic.gate = replace(gate, config=replace(gate.config, people=people))
    handoff, reference = await put(clinic)
    there(clinic, reference, status="in-progress", owner={"reference": "Practitioner/9"})
    await keep(clinic)
    assert (await current(clinic, handoff)).taken_by == "person:sofia"


@pytest.mark.parametrize("status", ["completed", "cancelled"])
async def test_task_that_is_closed_in_the_ehr_closes_the_handoff_with_what_they_wrote(
    clinic: Clinic, status: str
) -> None:
    handoff, reference = await put(clinic)
    there(clinic, reference, status=status, note=[{"text": "Booked\0 by phone."}])
    await keep(clinic)
    closed = await current(clinic, handoff)
    assert (closed.status, closed.outcome) == (HandoffStatus.CLOSED, "Booked by phone.")
    assert (await clinic.database.fetch_value("SELECT status FROM proposal WHERE tenant = $1")) == (
        Status.CLOSED.value
    )
    assert (await item_of(clinic, handoff)).state is ItemState.ENDED
    assert len(await clinic.audited("handoff.close")) == 1


async def test_handoff_that_is_taken_and_closed_here_closes_the_task(clinic: Clinic) -> None:
    handoff, reference = await put(clinic)
    await handoffs.take(clinic.gate, DESK, handoff.id)
    await keep(clinic)
    assert clinic.hospital.resource(reference)["status"] == "accepted"
    await handoffs.close(clinic.gate, DESK, handoff.id, "booked by phone")
    await keep(clinic)
    task = clinic.hospital.resource(reference)
    assert (task["status"], task["note"]) == ("completed", [{"text": "booked by phone"}])
    assert (await item_of(clinic, handoff)).state is ItemState.ENDED
    await keep(clinic, times=2)
    assert clinic.hospital.resource(reference) == task


async def test_both_close_at_once_then_one_outcome_stands_and_nothing_is_stuck(
    clinic: Clinic,
) -> None:
    handoff, reference = await put(clinic)
    there(clinic, reference, status="completed", note=[{"text": "done there"}])
    answers = await asyncio.gather(
        handoffs.close(clinic.gate, DESK, handoff.id, "done here"),
        handoff_tasks.keep_next(clinic.gate, "w1"),
        return_exceptions=True,
    )
    assert not [a for a in answers if isinstance(a, AssertionError)]
    clinic.clock.advance(POLL_S)
    await keep(clinic, times=2)
    closed = await current(clinic, handoff)
    assert closed.outcome in ("done here", "done there")
    assert len(await clinic.audited("handoff.close")) == 1
    assert (await item_of(clinic, handoff)).state is ItemState.ENDED


@pytest.mark.parametrize("status", ["rejected", "failed", "entered-in-error"])
async def test_task_that_is_refused_in_the_ehr_waits_here_again(
    clinic: Clinic, status: str
) -> None:
    handoff, reference = await put(clinic)
    there(clinic, reference, status="accepted")
    await keep(clinic)
    there(clinic, reference, status=status)
    await keep(clinic)
    waiting = await current(clinic, handoff)
    assert (waiting.status, waiting.taken_by) == (HandoffStatus.OPEN, None)
    assert (await item_of(clinic, handoff)).state is ItemState.GONE
    (event,) = await clinic.audited("handoff.release")
    assert event["reason"] == handoff_tasks.SAY_REFUSED
    await keep(clinic, times=2)
    assert tasks_of(clinic, handoff) == [reference]
    assert [w.handoff.id for w in await handoffs.waiting(clinic.gate, DESK)] == [handoff.id]


async def test_task_that_is_deleted_in_the_ehr_waits_here_and_is_not_made_again(
    clinic: Clinic,
) -> None:
    handoff, reference = await put(clinic)
    clinic.hospital.chart.put(reference, None, method="DELETE")
    await keep(clinic, times=3)
    assert (await current(clinic, handoff)).status is HandoffStatus.OPEN
    assert (await item_of(clinic, handoff)).state is ItemState.GONE
    assert tasks_of(clinic, handoff) == [reference]


async def test_ehr_that_is_down_then_the_console_has_it_and_the_task_follows(
    clinic: Clinic,
) -> None:
    async def down() -> None:
        raise SourceUnreachable("the EHR is away")

    handoff = await handed_off(clinic)
    for _ in range(3):
        clinic.sink.before["commit"] = down
        clinic.sink.before["resolve"] = down
        await handoff_tasks.keep_next(clinic.gate, "w1")
        clinic.clock.advance(301)
    assert tasks_of(clinic, handoff) == []
    assert (await item_of(clinic, handoff)).attempts >= 2
    (waiting,) = await handoffs.waiting(clinic.gate, DESK)
    assert waiting.item is not None
    assert waiting.item.last_error == "the EHR is away"
    clinic.sink.before.clear()
    await keep(clinic)
    assert len(tasks_of(clinic, handoff)) == 1


async def test_closed_before_the_ehr_is_back_then_no_task_is_put_there(clinic: Clinic) -> None:
    handoff = await handed_off(clinic)
    await handoffs.close(clinic.gate, DESK, handoff.id, "booked by phone")
    await keep(clinic, times=2)
    assert tasks_of(clinic, handoff) == []
    assert (await item_of(clinic, handoff)).state is ItemState.ENDED


async def test_halt_holds_the_task_back_and_its_end_lets_it_go(clinic: Clinic) -> None:
    await halts.halt(clinic.gate, OPERATOR, scope="clinic-booking", reason="drill")
    handoff = await handed_off(clinic)
    await keep(clinic)
    assert tasks_of(clinic, handoff) == []
    assert await clinic.audited("handoff.send") == []
    await halts.resume(clinic.gate, OPERATOR, scope="clinic-booking", reason="over")
    clinic.clock.advance(300)
    await keep(clinic)
    assert len(tasks_of(clinic, handoff)) == 1


async def test_answer_that_is_lost_then_the_task_is_found_and_not_made_twice(
    clinic: Clinic,
) -> None:
    async def lost() -> None:
        raise OutcomeUnknown("the answer was lost")

    handoff = await handed_off(clinic)
    clinic.sink.after["commit"] = lost
    await handoff_tasks.keep_next(clinic.gate, "w1")
    assert (await item_of(clinic, handoff)).state is ItemState.WAITING
    clinic.clock.advance(301)
    await keep(clinic)
    item = await item_of(clinic, handoff)
    assert tasks_of(clinic, handoff) == [item.reference]


async def test_lost_answer_and_closed_meanwhile_then_the_task_does_not_stay_open(
    clinic: Clinic,
) -> None:
    async def lost() -> None:
        raise OutcomeUnknown("the answer was lost")

    handoff = await handed_off(clinic)
    clinic.sink.after["commit"] = lost
    await handoff_tasks.keep_next(clinic.gate, "w1")
    await handoffs.close(clinic.gate, DESK, handoff.id, "booked by phone")
    clinic.clock.advance(301)
    await keep(clinic, times=3)
    (reference,) = tasks_of(clinic, handoff)
    assert clinic.hospital.resource(reference)["status"] == "completed"
    assert (await item_of(clinic, handoff)).state is ItemState.ENDED


async def test_many_workers_at_once_put_one_task_there(clinic: Clinic) -> None:
    opened = [await handed_off(clinic)]
    for slot in clinic.hospital.scenario.free_slots[1:4]:
        proposal = await clinic.booked(slot, confidence=0.41)
        handoff = await HandoffStore(clinic.database).of_proposal(proposal.id)
        assert handoff is not None
        opened.append(handoff)
    await asyncio.gather(*(handoff_tasks.keep_next(clinic.gate, f"w{i}") for i in range(6)))
    assert [len(tasks_of(clinic, handoff)) for handoff in opened] == [1, 1, 1, 1]


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
async def test_worker_that_dies_around_a_change_leaves_one_task_in_line(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, number: int, place: str
) -> None:
    handoff = await handed_off(clinic)
    for step in ("put", "close there"):
        with monkeypatch.context() as patch:
            kill_around(patch, number, place)
            try:
                await handoff_tasks.keep_next(clinic.gate, "dying")
            except Killed:
                pass
        clinic.clock.advance(POLL_S + 31)
        await keep(clinic, times=2)
        (reference,) = tasks_of(clinic, handoff)
        if step == "put":
            there(clinic, reference, status="completed", note=[{"text": "done"}])
    assert (await current(clinic, handoff)).outcome == "done"
    assert len(await clinic.audited("handoff.close")) == 1
    assert (await item_of(clinic, handoff)).state is ItemState.ENDED


async def test_worker_that_lost_its_lease_sends_nothing(clinic: Clinic) -> None:
    handoff = await handed_off(clinic)

    async def overtaken() -> None:
        clinic.clock.advance(31)
        await handoff_tasks.keep_next(clinic.gate, "quicker")

    clinic.sink.before["commit"] = overtaken
    await handoff_tasks.keep_next(clinic.gate, "slow")
    assert len(tasks_of(clinic, handoff)) == 1
    assert len(await clinic.audited("handoff.tell")) == 1
    assert (await item_of(clinic, handoff)).state is ItemState.STANDING


async def test_ai_may_not_touch_the_task_that_took_its_work_away(clinic: Clinic) -> None:
    _, reference = await put(clinic)
    for task, refused in ((reference, True), (clinic.hospital.scenario.authorisation, False)):
        submission = Submission(
            site=SITE,
            action="update-status",
            changes=[
                {
                    "interaction": "patch",
                    "reference": task,
                    "patch": [{"op": "replace", "path": "/status", "value": "in-progress"}],
                }
            ],
            confidence=0.99,
            rationale="Done.",
            interaction=await clinic.see(CLERK, task),
        )
        if refused:
            with pytest.raises(Unprocessable, match="by staff alone"):
                await submit(clinic.gate, CLERK, submission)
        else:
            assert (await submit(clinic.gate, CLERK, submission)).content.changes
