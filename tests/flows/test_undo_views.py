"""The three-way view: to those who may see the proposal, and no more than the charter shows."""

import pytest

from chartgate.errors import InvalidTransition, NotFound
from chartgate.flows import undo_views
from chartgate.model.principal import Principal
from tests.flows.clinics import NORA, OPERATOR, PICKER, SOFIA, Clinic
from tests.flows.undoing import restore, task_written


async def test_chart_as_it_was_written_has_not_moved_on(clinic: Clinic) -> None:
    verified = await clinic.verified()
    for found in await undo_views.compare(clinic.gate, SOFIA, verified.id):
        assert not found.moved_on
        assert not any(line.moved_on for line in found.lines)
    (event,) = await clinic.audited("proposal.show")
    assert event["details"]["view"] == "three-way"
    assert event["patient"] == clinic.hospital.scenario.booking_patient


async def test_element_that_the_charter_does_not_list_is_not_shown(clinic: Clinic) -> None:
    """A Task's description is not among its elements; that it moved on is said all the same."""
    verified = await task_written(clinic, "in-progress")
    task = clinic.hospital.scenario.authorisation
    clinic.hospital.edit({**clinic.hospital.resource(task), "description": "canary"})
    (found,) = await undo_views.compare(clinic.gate, NORA, verified.id)
    assert found.moved_on
    assert "canary" not in str(found)
    assert "status" in [line.path for line in found.lines]


async def test_what_is_gone_has_no_version_now(clinic: Clinic) -> None:
    verified = await clinic.verified()
    assert verified.receipt is not None
    appointment = verified.receipt.effects[0].reference
    clinic.hospital.chart.put(appointment, None, method="DELETE")
    gone, slot = await undo_views.compare(clinic.gate, SOFIA, verified.id)
    assert (gone.version_now, gone.moved_on, slot.moved_on) == (None, True, False)
    assert all(line.now is None for line in gone.lines)


async def test_what_the_system_does_not_show_any_more_is_shown_as_it_was_sent(
    clinic: Clinic,
) -> None:
    verified = await clinic.verified()
    slot = clinic.hospital.scenario.free_slots[0]
    restore(clinic, slot, versions=1)
    _, found = await undo_views.compare(clinic.gate, SOFIA, verified.id)
    assert [(line.path, line.written, line.now) for line in found.lines] == [
        ("status", "busy", "free")
    ]


@pytest.mark.parametrize("who", [NORA, PICKER, OPERATOR], ids=["role", "author", "process"])
async def test_it_is_for_people_who_may_see_the_proposal(clinic: Clinic, who: Principal) -> None:
    verified = await clinic.verified()
    with pytest.raises(NotFound):
        await undo_views.compare(clinic.gate, who, verified.id)


async def test_what_was_not_written_has_nothing_to_compare(clinic: Clinic) -> None:
    pending = await clinic.booked()
    with pytest.raises(InvalidTransition):
        await undo_views.compare(clinic.gate, SOFIA, pending.id)
