"""What the AI saw: whom it is about, and what the proposal touches, before all the rest."""

from dataclasses import replace

from chartgate.flows import reads, searches
from chartgate.flows.proposals import ProposalView, show, submit
from chartgate.model.proposal import Proposal
from chartgate.web.console.seen import PANELS_MAX, about, bodies_of, seen_part
from chartgate.web.console.wording import names_of
from tests.flows.clinics import NORA, OSEI, PICKER, SITE, SOFIA
from tests.web.front_desk import FrontDesk


async def booking_after_a_search(desk: FrontDesk) -> Proposal:
    """A booking whose AI looked at every free slot."""
    scenario = desk.clinic.hospital.scenario
    found = await searches.search(
        desk.gate, PICKER, SITE, "Slot", [("status", "free")], interaction=None
    )
    for reference in (scenario.booking_patient, scenario.schedule):
        kind, _, id_ = reference.partition("/")
        await reads.read(
            desk.gate, PICKER, SITE, kind, id_, interaction=found.interaction, if_none_match=None
        )
    submission = replace(await desk.clinic.booking(), interaction=found.interaction)
    return await submit(desk.gate, PICKER, submission)


def names(view: ProposalView) -> dict[str, str]:
    return names_of(bodies_of(view).values())


async def test_many_resources_do_not_drown_what_the_proposal_touches(desk: FrontDesk) -> None:
    proposal = await booking_after_a_search(desk)
    view = await show(desk.gate, SOFIA, proposal.id)
    part = seen_part(view, names(view))
    scenario = desk.clinic.hospital.scenario
    assert [p.reference for p in part.touched] == [
        scenario.free_slots[0],
        scenario.booking_patient,
    ]
    assert all(panel.is_open for panel in part.touched)
    schedule, slots = part.others
    assert (schedule.title, schedule.count, len(schedule.panels)) == ("Schedule", 1, 1)
    assert slots.count > PANELS_MAX
    assert (len(slots.lines), slots.panels) == (slots.count, ())
    assert slots.searches == ("Slot?status=free",)
    assert part.count == 2 + 1 + slots.count == len(view.read_set)
    assert "free" in slots.lines[0].text


async def test_patient_that_the_ai_read_is_who_it_is_about(desk: FrontDesk) -> None:
    view = await show(desk.gate, SOFIA, (await desk.clinic.booked()).id)
    found = about(view, names(view), now=desk.clinic.clock())
    patient = desk.clinic.hospital.resource(desk.clinic.hospital.scenario.booking_patient)
    assert found is not None
    assert found.reference == f"Patient/{patient['id']}"
    assert found.name == f"{patient['name'][0]['given'][0]} {patient['name'][0]['family']}"
    assert found.age.endswith(" y")
    assert found.read_by_ai


async def test_patient_that_the_ai_did_not_read_is_shown_and_said_to_be_so(
    desk: FrontDesk,
) -> None:
    for proposal, person in ((await desk.note(), OSEI), (await desk.authorisation(), NORA)):
        view = await show(desk.gate, person, proposal.id)
        found = about(view, names(view), now=desk.clinic.clock())
        assert found is not None
        assert found.name
        assert not found.read_by_ai


async def test_patient_of_whom_nothing_can_be_said_is_a_reference(desk: FrontDesk) -> None:
    proposal = await desk.note()
    await desk.clinic.hospital.stop()
    view = await show(desk.gate, OSEI, proposal.id)
    found = about(view, names(view), now=desk.clinic.clock())
    assert found is not None
    assert (found.name, found.born) == ("", "")
    assert found.reference.startswith("Patient/")


async def test_proposal_about_no_single_patient_says_so(desk: FrontDesk) -> None:
    view = await show(desk.gate, SOFIA, (await desk.clinic.booked()).id)
    content = replace(view.proposal.content, changes=())
    nobody = replace(view, proposal=replace(view.proposal, content=content), mentions={})
    assert about(nobody, {}, now=desk.clinic.clock()) is None


async def test_content_that_is_not_kept_any_more_is_said_to_be_so(desk: FrontDesk) -> None:
    view = await show(desk.gate, SOFIA, (await desk.clinic.booked()).id)
    gone = replace(view, read_set=tuple(replace(s, resource=None) for s in view.read_set))
    assert all(not panel.data for panel in seen_part(gone, {}).touched)
