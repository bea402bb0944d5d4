"""A chart that moved on before the write: a person looks anew, the AI proposes anew, or staff do it."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from chartgate.config import ClientConfig
from chartgate.errors import ChartgateError, InvalidTransition, VersionConflict
from chartgate.flows import commits, proposals, reviews
from chartgate.flows.conflicts import KIND, SAY_ASKED, SAY_NO_SUCCESSOR, SAY_REPLACED
from chartgate.flows.notifications import notification_bundle, told_of
from chartgate.flows.proposals import Submission, submit
from chartgate.model.proposal import Proposal, Status
from chartgate.policy.charters import compile_book
from chartgate.store.outbox import OutboxStore
from tests.flows.clinics import CHARTERS, PICKER, SOFIA, Clinic, sample_charter

OTHERWISE = "    otherwise: {handoff: front-desk"
TOLD = ClientConfig(name="slot-picker", notify_url="https://picker.example/told")


def says(clinic: Clinic, what: str) -> None:
    """The booking charter says what follows on a conflict."""
    change = [(OTHERWISE, f"    on_conflict: {what}\n{OTHERWISE}")]
    others = [sample_charter(name) for name in CHARTERS if name != "clinic-booking"]
    charters = [sample_charter("clinic-booking", change=change), *others]
    clinic.gate.running.charters = compile_book(charters)


async def overtaken(clinic: Clinic, **edit: Any) -> Proposal:
    """An approved booking whose slot changed before the write."""
    approved = await clinic.approved()
    slot = clinic.hospital.resource(clinic.hospital.scenario.free_slots[0])
    clinic.hospital.edit(slot | (edit or {"status": "busy"}))
    assert await commits.commit_next(clinic.gate, "w1")
    assert clinic.effects(approved) == 0
    return await clinic.get(approved)


async def successor(clinic: Clinic, earlier: Proposal, **changes: Any) -> Submission:
    """Another slot for the same patient, in place of the earlier one."""
    slot = clinic.hospital.scenario.free_slots[1]
    return replace(await clinic.booking(slot, replaces=earlier.id), **changes)


async def test_charter_that_says_nothing_hands_off_what_can_be_made_no_more(clinic: Clinic) -> None:
    handed = await overtaken(clinic)
    assert handed.status is Status.HANDED_OFF
    (event,) = await clinic.audited("proposal.conflict")
    assert event["details"]["on_conflict"] == "review"


async def test_hand_off_asks_no_reviewer_even_where_the_change_could_still_be_made(
    clinic: Clinic,
) -> None:
    says(clinic, "hand-off")
    handed = await overtaken(clinic, status="busy-tentative")
    assert handed.status is Status.HANDED_OFF
    assert handed.reason
    assert "changed in the record" in handed.reason


async def test_re_propose_waits_for_a_successor_that_takes_its_place(clinic: Clinic) -> None:
    says(clinic, "re-propose")
    waiting = await overtaken(clinic)
    assert waiting.status is Status.PENDING_REVIEW
    assert waiting.decided_by is None
    assert waiting.reason
    assert SAY_ASKED in waiting.reason
    taken = await submit(clinic.gate, PICKER, await successor(clinic, waiting))
    assert (taken.status, taken.replaces) == (Status.PENDING_REVIEW, waiting.id)
    gone = await clinic.get(waiting)
    assert (gone.status, gone.reason) == (Status.WITHDRAWN, SAY_REPLACED)
    await clinic.approve(await clinic.get(taken))
    assert (await clinic.commit_until_done(taken)).status is Status.VERIFIED
    assert (clinic.effects(taken), clinic.effects(waiting)) == (1, 0)
    withdrawn = (await clinic.audited("proposal.withdraw"))[-1]
    assert taken.id in str(withdrawn["details"])


async def test_client_is_told_of_the_conflict_by_the_id_of_its_proposal_alone(
    clinic: Clinic,
) -> None:
    says(clinic, "re-propose")
    config = replace(clinic.gate.config, clients={"slot-picker": TOLD})
    clinic.gate = replace(clinic.gate, config=config)
    waiting = await overtaken(clinic)
    at = clinic.clock()
    ((told,),) = await OutboxStore(clinic.database).claim(at=at, lease_until=at, count_max=5)
    assert (told.client, told.charter, told.number) == ("slot-picker", "clinic-booking", 1)
    assert told.event.kind == KIND
    bundle = notification_bundle(clinic.gate, told, told_of(clinic.gate, told))
    assert f"/v1/proposals/{waiting.id}" in str(bundle)
    assert "Patient/" not in str(bundle)


async def test_client_without_a_place_to_be_told_at_finds_it_in_its_list(clinic: Clinic) -> None:
    says(clinic, "re-propose")
    waiting = await overtaken(clinic)
    at = clinic.clock()
    assert await OutboxStore(clinic.database).claim(at=at, lease_until=at, count_max=5) == ()
    listed = await proposals.listed(clinic.gate, PICKER, status=Status.PENDING_REVIEW)
    assert [p.id for p in listed] == [waiting.id]


async def test_person_may_still_decide_where_the_change_can_be_made(clinic: Clinic) -> None:
    says(clinic, "re-propose")
    approved = await clinic.approved()
    slot = clinic.hospital.resource(clinic.hospital.scenario.free_slots[0])
    clinic.hospital.edit(slot | {"end": "2031-01-01T00:00:00Z"})
    assert await commits.commit_next(clinic.gate, "w1")
    waiting = await clinic.get(approved)
    assert waiting.content.version == 2
    await clinic.approve(waiting)
    assert (await clinic.commit_until_done(waiting)).status is Status.VERIFIED


@pytest.mark.parametrize("fault", ["charter", "unknown", "no-id", "decided", "author"])
async def test_successor_that_may_not_take_the_place_is_refused_in_one_sentence(
    clinic: Clinic, fault: str
) -> None:
    says(clinic, "review" if fault == "charter" else "re-propose")
    earlier = await clinic.booked()
    submission = await successor(clinic, earlier)
    if fault == "unknown":
        submission = replace(submission, replaces="7e2f7a0e-54cb-4f0d-9d35-000000000000")
    if fault == "no-id":
        submission = replace(submission, replaces="' OR 1=1")
    if fault == "decided":
        await reviews.review(
            clinic.gate,
            SOFIA,
            earlier.id,
            verdict="refuse",
            digest=earlier.content.digest,
            reason="x",
        )
    if fault == "author":
        async with clinic.database.bookkeeping() as connection:
            await connection.execute(
                "UPDATE proposal SET author = 'client:other' WHERE tenant = $1 AND id = $2",
                clinic.database.tenant,
                earlier.id,
            )
    before = (await clinic.get(earlier)).status
    with pytest.raises(InvalidTransition, match=SAY_NO_SUCCESSOR[:40]):
        await submit(clinic.gate, PICKER, submission)
    assert (await clinic.get(earlier)).status is before


async def test_successor_that_goes_to_staff_at_once_takes_no_place(clinic: Clinic) -> None:
    says(clinic, "re-propose")
    earlier = await clinic.booked()
    unsure = await submit(clinic.gate, PICKER, await successor(clinic, earlier, confidence=0.1))
    assert unsure.status is Status.HANDED_OFF
    assert (await clinic.get(earlier)).status is Status.PENDING_REVIEW


async def test_successor_for_another_patient_takes_no_place(clinic: Clinic) -> None:
    says(clinic, "re-propose")
    earlier = await clinic.booked()
    other = next(p for p in clinic.hospital.scenario.patients if p != earlier.patient)
    submission = await successor(clinic, earlier)
    slot = clinic.hospital.scenario.free_slots[1]
    interaction = await clinic.see(PICKER, other, slot)
    changes = orjson.dumps(submission.changes).decode().replace(str(earlier.patient), other)
    submission = replace(submission, interaction=interaction, changes=orjson.loads(changes))
    with pytest.raises(InvalidTransition):
        await submit(clinic.gate, PICKER, submission)


async def test_approval_and_successor_at_once_have_one_winner(clinic: Clinic) -> None:
    says(clinic, "re-propose")
    earlier = await clinic.booked()
    submission = await successor(clinic, earlier)
    results = await asyncio.gather(
        clinic.approve(earlier),
        submit(clinic.gate, PICKER, submission),
        return_exceptions=True,
    )
    lost = [r for r in results if isinstance(r, ChartgateError)]
    assert len(lost) == 1
    assert isinstance(lost[0], VersionConflict | InvalidTransition)
    status = (await clinic.get(earlier)).status
    assert status is (Status.WITHDRAWN if lost[0] is results[0] else Status.APPROVED)


async def test_resubmission_under_the_same_key_gives_the_successor_again(clinic: Clinic) -> None:
    says(clinic, "re-propose")
    waiting = await overtaken(clinic)
    submission = await successor(clinic, waiting, idempotency_key="k1")
    one = await submit(clinic.gate, PICKER, submission)
    again = await submit(clinic.gate, PICKER, submission)
    assert again.id == one.id


async def test_change_elsewhere_is_no_conflict_and_is_noted_in_the_audit(clinic: Clinic) -> None:
    approved = await clinic.approved()
    reference = clinic.hospital.scenario.free_slots[0]
    clinic.hospital.edit(clinic.hospital.resource(reference) | {"comment": "by the window"})
    assert (await clinic.commit_until_done(approved)).status is Status.VERIFIED
    (event,) = await clinic.audited("proposal.send")
    assert reference in str(event["details"])
    assert "window" not in str(event)


@pytest.mark.parametrize(
    ("edit", "status"),
    [
        ({"comment": "by the window"}, Status.VERIFIED),
        ({"status": "busy-unavailable"}, Status.HANDED_OFF),
    ],
    ids=str,
)
async def test_change_after_the_last_look_meets_the_version_that_rides_in_the_write(
    clinic: Clinic, edit: dict[str, Any], status: Status
) -> None:
    """The system of record refuses the write; the guards then say whether that was a conflict."""
    approved = await clinic.approved()
    reference = clinic.hospital.scenario.free_slots[0]

    async def edited() -> None:
        clinic.hospital.edit(clinic.hospital.resource(reference) | edit)

    clinic.sink.before["commit"] = edited
    after = await clinic.commit_until_done(approved)
    assert after.status is status
    assert (await clinic.audited("proposal.not-sent"))[0]["reason"] == "conflict"
    assert clinic.effects(approved) == (1 if status is Status.VERIFIED else 0)
    held = clinic.hospital.resource(reference)
    assert all(held[name] == value for name, value in edit.items())


async def test_reviewer_is_shown_what_the_ai_saw_what_it_proposes_and_what_is_there(
    clinic: Clinic,
) -> None:
    booked = await clinic.booked()
    reference = clinic.hospital.scenario.free_slots[0]
    slot = clinic.hospital.resource(reference)
    clinic.hospital.edit(slot | {"status": "busy-unavailable", "end": "2031-01-01T00:00:00Z"})
    view = await proposals.show(clinic.gate, SOFIA, booked.id)
    assert view.three_way is not None
    lines = {(x.reference, x.path): x for x in view.three_way}
    status = lines[reference, "status"]
    assert (status.kind, status.seen, status.proposed, status.now) == (
        "conflict", "free", "busy", "busy-unavailable",
    )  # fmt: skip
    assert lines[reference, "end"].kind == "moved"
    assert lines["Appointment (new)", "status"].kind == "proposed"
    assert (await proposals.show(clinic.gate, PICKER, booked.id)).three_way is None
    await clinic.hospital.stop()
    assert (await proposals.show(clinic.gate, SOFIA, booked.id)).three_way is None
