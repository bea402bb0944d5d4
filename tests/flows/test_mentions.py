"""What a proposal names is shown to its reviewer, within the charter, and never to its author."""

from dataclasses import replace

from chartgate.flows.proposals import show, submit
from chartgate.store.record import RecordStore
from tests.flows.clinics import CLERK, EHR, NORA, PICKER, SOFIA, Clinic


async def test_reviewer_sees_whom_a_booking_names_though_the_ai_did_not_read_them(
    clinic: Clinic,
) -> None:
    proposal = await clinic.booked()
    view = await show(clinic.gate, SOFIA, proposal.id)
    practitioner = clinic.hospital.scenario.practitioner
    assert list(view.mentions) == [practitioner]  # the patient was read
    shown = view.mentions[practitioner]
    assert shown["name"] == clinic.hospital.resource(practitioner)["name"]
    assert "telecom" not in shown  # the charter lists the name only


async def test_ai_client_is_told_nothing_that_it_did_not_read(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    assert not (await show(clinic.gate, PICKER, proposal.id)).mentions


async def test_patient_of_a_task_is_found_through_what_the_ai_read(clinic: Clinic) -> None:
    task = clinic.hospital.scenario.authorisation
    interaction = await clinic.see(CLERK, task)
    patch = [{"op": "replace", "path": "/status", "value": "accepted"}]
    submission = replace(
        await clinic.booking(),
        action="update-status",
        interaction=interaction,
        changes=[{"interaction": "patch", "reference": task, "patch": patch}],
    )
    proposal = await submit(clinic.gate, CLERK, submission)
    view = await show(clinic.gate, NORA, proposal.id)
    patient = clinic.hospital.resource(task)["for"]["reference"]
    assert set(view.mentions[patient]) >= {"name", "birthDate"}


async def test_system_of_record_that_is_down_leaves_what_the_record_last_knew(
    clinic: Clinic,
) -> None:
    proposal = await clinic.booked()
    practitioner = clinic.hospital.scenario.practitioner
    await clinic.hospital.stop()
    assert not (await show(clinic.gate, SOFIA, proposal.id)).mentions
    await clinic.hospital.start()
    copy = await clinic.gate.source(EHR).read(practitioner)
    await RecordStore(clinic.database).keep(EHR, [copy])  # type: ignore[list-item]
    await clinic.hospital.stop()
    assert practitioner in (await show(clinic.gate, SOFIA, proposal.id)).mentions
