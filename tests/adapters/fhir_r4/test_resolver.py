"""What became of a write whose answer was lost: every fault of the hospital, read back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chartgate.adapters.fhir_r4.adapter import FhirR4
from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.demo.hospital.server import Hospital
from chartgate.errors import OutcomeUnknown, VersionConflict
from chartgate.model.write import Change, Write
from chartgate.testing.builders import task

Opener = Callable[..., Awaitable[FhirR4]]
CREATE = Change(interaction="create", resource_type="Task", resource=task())


def patch(text: str = "new", *, reference: str = "Task/1", if_match: str = "1") -> Change:
    return Change(
        interaction="patch",
        resource_type="Task",
        reference=reference,
        patch=({"op": "replace", "path": "/description", "value": text},),
        if_match=if_match,
    )


def write(*changes: Change) -> Write:
    return Write(marker="m-1", changes=changes)


@pytest.fixture(autouse=True)
def chart(hospital: Hospital) -> None:
    """Two Tasks, at version 1."""
    for number in ("1", "2"):
        hospital.edit({**task(), "id": number})


@pytest.mark.parametrize("fault", ["error_after_applying", "reset_after_applying"])
@pytest.mark.parametrize(
    "changes", [(CREATE,), (patch(),), (CREATE, patch()), (patch(), patch(reference="Task/2"))]
)
async def test_applied_write_is_found_whatever_became_of_its_answer(
    fault: str, changes: tuple[Change, ...], hospital: Hospital, ehr: FhirR4
) -> None:
    hospital.faults.switch(fault, 500 if fault.startswith("error") else True, times=1)
    with pytest.raises(OutcomeUnknown):
        await ehr.commit(write(*changes))
    receipt = await ehr.resolve(write(*changes))
    assert receipt is not None
    assert receipt.resolved
    effects = [e for e in hospital.journal.effects if e.client != "hospital-staff"]
    assert [e.reference for e in receipt.effects] == [e.reference for e in effects]


async def test_write_that_was_cut_off_before_it_did_anything_is_none(
    hospital: Hospital, ehr: FhirR4
) -> None:
    hospital.faults.switch("down", "reset", times=1)
    with pytest.raises(OutcomeUnknown):
        await ehr.commit(write(CREATE, patch()))
    assert await ehr.resolve(write(CREATE, patch())) is None


async def test_request_that_comes_late_is_found_or_refused_but_never_counted_twice(
    hospital: Hospital, ehr: FhirR4
) -> None:
    both = write(CREATE, patch())
    hospital.faults.switch("apply_late_s", 0.05, times=1)
    with pytest.raises(OutcomeUnknown):
        await ehr.commit(both)
    assert await ehr.resolve(both) is None
    receipt = await ehr.commit(both)
    async with asyncio.timeout(5):
        while hospital.app.late:
            await asyncio.sleep(0.01)
    assert receipt.effects[1].version_after == "2"
    assert hospital.resource("Task/1")["meta"]["versionId"] == "2"
    assert len(hospital.journal.effects_of("m-1", interaction="create")) == 1


async def test_half_a_transaction_is_for_a_person(hospital: Hospital, ehr: FhirR4) -> None:
    hospital.faults.switch("batch_partial", 1, times=1)
    with pytest.raises(OutcomeUnknown):
        await ehr.commit(write(CREATE, patch()))
    with pytest.raises(OutcomeUnknown, match="a person has to look") as caught:
        await ehr.resolve(write(CREATE, patch()))
    assert "partial" in caught.value.operator_detail


async def test_write_that_the_system_altered_is_not_taken_for_a_foreign_edit(
    hospital: Hospital, ehr: FhirR4
) -> None:
    hospital.faults.switch("change_on_save", {"set": {"/priority": "stat"}})
    hospital.faults.switch("reset_after_applying", times=1)
    with pytest.raises(OutcomeUnknown):
        await ehr.commit(write(patch()))
    with pytest.raises(OutcomeUnknown, match="a person has to look"):
        await ehr.resolve(write(patch()))


async def test_foreign_edit_is_not_taken_for_ours(hospital: Hospital, ehr: FhirR4) -> None:
    hospital.edit({**task("theirs"), "id": "1"})
    assert await ehr.resolve(write(patch("ours"))) is None
    with pytest.raises(VersionConflict):
        await ehr.commit(write(patch("ours")))


async def test_ours_is_found_under_later_edits(hospital: Hospital, ehr: FhirR4) -> None:
    hospital.faults.switch("reset_after_applying", times=1)
    with pytest.raises(OutcomeUnknown):
        await ehr.commit(write(CREATE, patch("ours")))
    made = hospital.journal.effects_of("m-1", interaction="create")[0].reference
    hospital.edit({**hospital.resource(made), "description": "later"})
    hospital.edit({**task("later"), "id": "1"})
    receipt = await ehr.resolve(write(CREATE, patch("ours")))
    assert receipt is not None
    assert [effect.version_after for effect in receipt.effects] == ["1", "2"]


async def test_delete_that_was_applied_is_found(hospital: Hospital, ehr: FhirR4) -> None:
    gone = Change(interaction="delete", resource_type="Task", reference="Task/1", if_match="1")
    assert await ehr.resolve(write(gone)) is None
    hospital.faults.switch("reset_after_applying", times=1)
    with pytest.raises(OutcomeUnknown):
        await ehr.commit(write(gone))
    receipt = await ehr.resolve(write(gone))
    assert receipt is not None
    assert receipt.effects[0].version_after is None
    stale = Change(interaction="delete", resource_type="Task", reference="Task/2", if_match="0")
    assert await ehr.resolve(write(stale)) is None


async def test_absence_proves_nothing_where_writes_are_shown_late(
    hospital: Hospital, open_ehr: Opener
) -> None:
    verdicts = {line: (line != "read_your_writes", "test") for line in PROBED}
    ehr = await open_ehr(hospital.fhir_url, verdicts=verdicts)
    with pytest.raises(OutcomeUnknown):
        await ehr.resolve(write(CREATE))
    hospital.edit({**task("theirs"), "id": "1"})
    assert await ehr.resolve(write(patch("ours"))) is None, "overtaken: it cannot be applied"


async def test_chart_that_went_back_in_time_is_for_a_person(ehr: FhirR4) -> None:
    """Restored from a backup: the version we stood on is not in its history."""
    with pytest.raises(OutcomeUnknown, match="a person has to look"):
        await ehr.resolve(write(patch(if_match="5")))


async def test_two_resources_with_our_mark_are_for_a_person(
    hospital: Hospital, ehr: FhirR4
) -> None:
    mark = [{"system": "urn:chartgate:proposal", "value": "m-1"}]
    for number in ("3", "4"):
        hospital.edit({**task(), "id": number, "identifier": mark})
    with pytest.raises(OutcomeUnknown):
        await ehr.resolve(write(CREATE))


@pytest.mark.parametrize("applied", [True, False])
async def test_without_history_the_current_version_decides_or_a_person(
    applied: bool, hospital: Hospital, open_ehr: Opener
) -> None:
    verdicts = {line: (line != "history", "test") for line in PROBED}
    ehr = await open_ehr(hospital.fhir_url, verdicts=verdicts)
    resource: dict[str, Any] = {**task("ours"), "id": "1"}
    update = Change(
        interaction="update",
        resource_type="Task",
        reference="Task/1",
        resource=resource,
        if_match="1",
    )
    assert await ehr.resolve(write(update)) is None
    hospital.edit(resource if applied else {**resource, "description": "theirs"})
    if applied:
        assert await ehr.resolve(write(update)) is not None
    else:
        with pytest.raises(OutcomeUnknown):
            await ehr.resolve(write(update))
