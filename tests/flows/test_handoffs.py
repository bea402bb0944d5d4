"""Staff find what was handed to them, take it and close it with what they did."""

import asyncio
from dataclasses import replace

import pytest

from chartgate.errors import Denied, Invalid, InvalidTransition, NotFound, VersionConflict
from chartgate.flows import handoffs
from chartgate.model.handoff import Handoff, HandoffStatus
from chartgate.model.principal import Person
from chartgate.model.proposal import Status
from tests.flows.clinics import NORA, PICKER, SITE, SOFIA, Clinic

DESK = Person(id="dana", roles=("front-desk",), sites=(SITE,))


async def handed_off(clinic: Clinic) -> Handoff:
    await clinic.booked(confidence=0.41)
    (handoff,) = await handoffs.listed(clinic.gate, DESK)
    return handoff


async def test_worklist_is_shown_to_its_own_staff_and_to_reviewers(clinic: Clinic) -> None:
    handoff = await handed_off(clinic)
    assert handoff.status is HandoffStatus.OPEN
    assert [h.id for h in await handoffs.listed(clinic.gate, SOFIA)] == [handoff.id]
    assert await handoffs.listed(clinic.gate, DESK, "authorisations") == ()
    assert await handoffs.listed(clinic.gate, NORA) == ()
    assert await handoffs.listed(clinic.gate, replace(DESK, sites=("south-clinic",))) == ()


async def test_worklist_when_shown_is_in_the_audit(clinic: Clinic) -> None:
    handoff = await handed_off(clinic)
    await handoffs.waiting(clinic.gate, NORA)
    shown, nothing = await clinic.audited("handoff.list")
    assert (shown["agent"], shown["entities"]) == ("person:dana", [f"Proposal/{handoff.proposal}"])
    assert (nothing["agent"], "entities" in nothing) == ("person:nora", False)


async def test_taken_and_closed_handoff_closes_its_proposal(clinic: Clinic) -> None:
    handoff = await handed_off(clinic)
    taken = await handoffs.take(clinic.gate, DESK, handoff.id)
    assert (taken.status, taken.taken_by) == (HandoffStatus.TAKEN, "person:dana")
    with pytest.raises(InvalidTransition):
        await handoffs.take(clinic.gate, SOFIA, handoff.id)
    closed = await handoffs.close(clinic.gate, DESK, handoff.id, "booked by phone")
    assert (closed.status, closed.outcome) == (HandoffStatus.CLOSED, "booked by phone")
    row = await clinic.database.fetch_row("SELECT status FROM proposal WHERE tenant = $1")
    assert row is not None
    assert row["status"] == Status.CLOSED.value
    assert await handoffs.listed(clinic.gate, DESK) == ()
    with pytest.raises(InvalidTransition):
        await handoffs.close(clinic.gate, DESK, handoff.id, "again")
    assert [e["agent"] for e in await clinic.audited("handoff.close")] == ["person:dana"]


async def test_close_says_what_was_done(clinic: Clinic) -> None:
    handoff = await handed_off(clinic)
    for outcome in (" ", "booked\0", "x" * 2_001):
        with pytest.raises(Invalid):
            await handoffs.close(clinic.gate, DESK, handoff.id, outcome)


async def test_agents_and_other_roles_take_nothing(clinic: Clinic) -> None:
    handoff = await handed_off(clinic)
    for who in (PICKER, NORA):
        with pytest.raises(Denied):
            await handoffs.take(clinic.gate, who, handoff.id)
        with pytest.raises(Denied):
            await handoffs.close(clinic.gate, who, handoff.id, "done")
    with pytest.raises(NotFound):
        await handoffs.take(clinic.gate, DESK, "no-uuid")


async def test_handoff_taken_by_many_at_once_is_taken_by_one(clinic: Clinic) -> None:
    handoff = await handed_off(clinic)
    people = [replace(DESK, id=f"desk-{i}") for i in range(20)]
    answers = await asyncio.gather(
        *(handoffs.take(clinic.gate, p, handoff.id) for p in people), return_exceptions=True
    )
    assert sum(isinstance(a, Handoff) for a in answers) == 1
    assert sum(isinstance(a, VersionConflict | InvalidTransition) for a in answers) == 19


async def test_figures_tell_what_is_open_overdue_and_how_soon_it_was_taken_on(
    clinic: Clinic,
) -> None:
    handoff = await handed_off(clinic)
    slots = clinic.hospital.scenario.free_slots
    await clinic.booked(slots[1], confidence=0.41)
    clinic.clock.advance(90)
    await handoffs.take(clinic.gate, DESK, handoff.id)
    clinic.clock.advance(30 * 60)
    (one,), behind = await handoffs.figures(clinic.gate)
    assert (one.worklist, one.cause) == ("front-desk", "low-confidence")
    assert (one.open, one.taken, one.overdue) == (1, 1, 2)
    assert (one.acknowledged, one.acknowledged_s) == (1, 90.0)
    assert behind == {}
    clinic.clock.advance(86_400)
    (one,), _ = await handoffs.figures(clinic.gate)
    assert (one.taken, one.acknowledged) == (1, 0)
