"""A decision by a person, on exactly what they were shown, once."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from chartgate.errors import (
    ChartgateError,
    Denied,
    Invalid,
    InvalidTransition,
    Unprocessable,
    VersionConflict,
)
from chartgate.flows import commits, deadlines, reviews
from chartgate.flows.proposals import submit, withdraw
from chartgate.model.principal import Person, Principal
from chartgate.model.proposal import Proposal, Status
from chartgate.model.write import change_json
from chartgate.store.handoffs import HandoffStore
from tests.flows.clinics import CLERK, NORA, OPERATOR, PICKER, SITE, SOFIA, Clinic


async def decide(
    clinic: Clinic,
    proposal: Proposal,
    verdict: Any = "approve",
    *,
    person: Principal = SOFIA,
    digest: str | None = None,
    reason: str | None = None,
) -> Proposal:
    return await reviews.review(
        clinic.gate,
        person,
        proposal.id,
        verdict=verdict,
        digest=digest or proposal.content.digest,
        reason=reason,
    )


async def test_approval_names_who_when_and_what(clinic: Clinic) -> None:
    approved = await decide(clinic, await clinic.booked())
    assert approved.status is Status.APPROVED
    assert approved.decided_by == "person:sofia"
    assert approved.decided_at == clinic.clock()
    assert approved.decided_digest == approved.content.digest
    (event,) = await clinic.audited("proposal.review")
    assert event["details"]["verdict"] == "approve"
    assert event["details"]["content"] == approved.content.digest


async def test_refusal_needs_a_reason_which_stays_out_of_the_audit(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    with pytest.raises(Invalid, match="say why"):
        await decide(clinic, proposal, "refuse", reason="  ")
    refused = await decide(clinic, proposal, "refuse", reason="Carson wants a Friday")
    assert (refused.status, refused.reason) == (Status.REJECTED, "Carson wants a Friday")
    (event,) = await clinic.audited("proposal.review")
    assert "Carson" not in str(event)


async def test_hand_back_opens_a_handoff_without_the_persons_words(clinic: Clinic) -> None:
    handed = await decide(clinic, await clinic.booked(), "hand-back", reason="call Carson first")
    assert (handed.status, handed.reason) == (Status.HANDED_OFF, "call Carson first")
    handoff = await HandoffStore(clinic.database).of_proposal(handed.id)
    assert handoff is not None
    assert handoff.reason == reviews.SAY_HANDED_BACK
    assert "Carson" not in str(await clinic.audited("handoff.open"))


@pytest.mark.parametrize(
    "who",
    [
        PICKER,
        CLERK,
        OPERATOR,
        NORA,
        Person(id="olu", roles=("operator",), sites=(SITE,)),
        Person(id="sofia", roles=("scheduler",), sites=("south-clinic",)),
        Person(id="slot-picker", roles=("scheduler",), sites=(SITE,)),
    ],
    ids=["author", "agent", "process", "role", "operator", "site", "author's-side"],
)
async def test_whoever_is_no_reviewer_cannot_decide_edit_or_hand_back(
    clinic: Clinic, who: Principal
) -> None:
    proposal = await clinic.booked()
    for verdict in ("approve", "refuse"):
        with pytest.raises(Denied):
            await decide(clinic, proposal, verdict, person=who, reason="no")
    with pytest.raises(Denied):
        await reviews.edit(
            clinic.gate, who, proposal.id, changes_raw=[], digest=proposal.content.digest
        )
    assert (await clinic.get(proposal)).status is Status.PENDING_REVIEW
    denied = await clinic.audited("proposal.review")
    assert [e["outcome"] for e in denied] == ["denied", "denied"]


async def test_two_hundred_approvals_at_once_make_one_decision(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    people = [replace(SOFIA, id=f"sofia-{i}") for i in range(200)]
    answers = await asyncio.gather(
        *(
            decide(
                clinic, proposal, "approve" if i % 2 else "refuse", person=person, reason="because"
            )
            for i, person in enumerate(people)
        ),
        return_exceptions=True,
    )
    won = [a for a in answers if isinstance(a, Proposal)]
    lost = [a for a in answers if isinstance(a, VersionConflict | InvalidTransition)]
    assert (len(won), len(lost)) == (1, 199)
    assert all(error.status == 409 for error in lost)
    assert (await clinic.get(proposal)).decided_by == won[0].decided_by
    assert (
        len([e for e in await clinic.audited("proposal.review") if e["outcome"] == "success"]) == 1
    )


async def test_decision_on_another_version_is_a_conflict(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    with pytest.raises(VersionConflict, match="changed after you opened it"):
        await decide(clinic, proposal, digest="0" * 64)


async def test_decision_after_withdrawal_expiry_or_decision_is_a_conflict(clinic: Clinic) -> None:
    slots = clinic.hospital.scenario.free_slots
    withdrawn = await clinic.booked(slots[0])
    await withdraw(clinic.gate, PICKER, withdrawn.id)
    decided = await clinic.approved(slots[1])
    late = await clinic.booked(slots[2])
    clinic.clock.advance(15 * 60)
    for proposal in (withdrawn, decided, late):
        with pytest.raises(InvalidTransition):
            await decide(clinic, proposal)
    assert await deadlines.expire_next(clinic.gate, "w1")
    with pytest.raises(InvalidTransition):
        await decide(clinic, late)


async def test_verdict_that_is_none_is_invalid(clinic: Clinic) -> None:
    with pytest.raises(Invalid):
        await decide(clinic, await clinic.booked(), "maybe")


def edited_changes(proposal: Proposal, **fields: Any) -> list[dict[str, Any]]:
    first, *rest = (change_json(c) for c in proposal.content.changes)
    return [{**first, "resource": {**first["resource"], **fields}}, *rest]


async def test_edit_makes_a_new_version_that_is_what_gets_written(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    edited = await reviews.edit(
        clinic.gate,
        SOFIA,
        proposal.id,
        changes_raw=edited_changes(proposal, comment="Bring the referral"),
        digest=proposal.content.digest,
    )
    assert (edited.content.version, edited.content.edited_by) == (2, "person:sofia")
    with pytest.raises(VersionConflict):
        await decide(clinic, proposal)
    await decide(clinic, edited)
    await commits.commit_next(clinic.gate, "w1")
    verified = await clinic.get(proposal)
    assert verified.status is Status.VERIFIED
    assert verified.receipt is not None
    created = clinic.hospital.resource(verified.receipt.effects[0].reference)
    assert created["comment"] == "Bring the referral"


async def test_edit_passes_the_same_checks_and_stays_with_the_patient(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    digest = proposal.content.digest
    other = [
        {"actor": {"reference": "Patient/N1009"}, "status": "accepted"},
        {"actor": {"reference": "Practitioner/DR-IM-001"}, "status": "accepted"},
    ]
    nobody = [{"actor": {"reference": "Practitioner/DR-IM-001"}, "status": "accepted"}]
    for changes in (
        edited_changes(proposal, participant=other),
        edited_changes(proposal, participant=nobody),
        edited_changes(proposal, end="2026-03-03T23:00:00Z"),
        edited_changes(proposal, colour="green"),
        [{"interaction": "delete", "reference": "Slot/1"}],
    ):
        with pytest.raises((Invalid, Unprocessable)):
            await reviews.edit(clinic.gate, SOFIA, proposal.id, changes_raw=changes, digest=digest)
    assert (await clinic.get(proposal)).content.version == 1


async def test_edit_of_what_is_decided_is_refused(clinic: Clinic) -> None:
    approved = await clinic.approved()
    with pytest.raises(ChartgateError) as refused:
        await reviews.edit(
            clinic.gate,
            SOFIA,
            approved.id,
            changes_raw=edited_changes(approved),
            digest=approved.content.digest,
        )
    assert refused.value.status == 409


async def test_content_changed_in_the_database_cannot_be_approved(clinic: Clinic) -> None:
    proposal = await submit(clinic.gate, PICKER, await clinic.booking())
    async with clinic.database.bookkeeping() as transaction:
        await transaction.execute("UPDATE proposal_content SET body = '{}'")
    with pytest.raises(VersionConflict, match="digest"):
        await decide(clinic, proposal)
