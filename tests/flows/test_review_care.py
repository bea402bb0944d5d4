"""Who approves has looked at exactly this content, long enough, at each risky part of it, and with
the others whom the charter asks for."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from chartgate.config import ReviewConfig
from chartgate.errors import (
    Denied,
    InvalidTransition,
    Throttled,
    Unprocessable,
    VersionConflict,
)
from chartgate.flows import commits, proposals, reviews
from chartgate.flows.review_care import ReviewStanding
from chartgate.model.charter import ActionRule
from chartgate.model.principal import Person
from chartgate.model.proposal import Proposal, Status
from chartgate.policy.charters import compile_book
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import (
    CHARTERS,
    PICKER,
    SITE,
    SOFIA,
    Clinic,
    open_clinic,
    sample_charter,
)
from tests.flows.test_reviews import edited_changes

MARA = Person(id="mara", roles=("scheduler",), sites=(SITE,))
PHIL = Person(id="phil", roles=("pharmacist",), sites=(SITE,))
BOTH = Person(id="both", roles=("scheduler", "pharmacist"), sites=(SITE,))


@pytest.fixture
async def careful(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Clinic]:
    """A clinic where who approves must have looked."""
    async with open_clinic(database, clock, tmp_path, review=ReviewConfig()) as opened:
        yield opened


def ask_for(clinic: Clinic, **rule: Any) -> ActionRule:
    """The running charter's booking, reviewed otherwise."""
    charter = sample_charter("clinic-booking")
    book: ActionRule = replace(charter.proposes["book"], **rule)
    others = [sample_charter(n) for n in CHARTERS if n != "clinic-booking"]
    changed = replace(charter, proposes={"book": book})
    clinic.gate.running.charters = compile_book([changed, *others])
    return book


async def look(clinic: Clinic, proposal: Proposal, person: Person = SOFIA) -> ReviewStanding:
    view = await proposals.show(clinic.gate, person, proposal.id)
    assert view.review is not None
    return view.review


async def approve(
    clinic: Clinic, proposal: Proposal, person: Person = SOFIA, **more: Any
) -> Proposal:
    return await reviews.review(
        clinic.gate,
        person,
        proposal.id,
        verdict="approve",
        digest=proposal.content.digest,
        **more,
    )


async def test_approval_of_what_was_never_shown_is_refused(careful: Clinic) -> None:
    proposal = await careful.booked()
    with pytest.raises(VersionConflict, match="have not been shown"):
        await approve(careful, proposal)
    await look(careful, proposal, MARA)
    with pytest.raises(VersionConflict, match="have not been shown"):
        await approve(careful, proposal)  # what Mara saw, Sofia did not


async def test_approval_too_early_is_told_how_long_there_is_and_then_works(careful: Clinic) -> None:
    proposal = await careful.booked()
    standing = await look(careful, proposal)
    assert standing.wait_s == standing.floor_s >= 3.0
    careful.clock.advance(1.5)
    with pytest.raises(Throttled, match="look at it for another") as early:
        await approve(careful, proposal)
    assert early.value.retry_after_s == int(standing.floor_s - 1.5) + 1
    assert (await careful.get(proposal)).status is Status.PENDING_REVIEW
    careful.clock.advance(early.value.retry_after_s)
    assert (await approve(careful, proposal)).status is Status.APPROVED
    failed, done = await careful.audited("proposal.review")
    assert (failed["outcome"], failed["reason"]) == ("failed", "throttled")
    assert done["outcome"] == "success"
    assert int(done["details"]["looked_s"]) >= int(done["details"]["floor_s"]) == 14


async def test_another_look_does_not_start_the_time_anew(careful: Clinic) -> None:
    proposal = await careful.booked()
    floor = (await look(careful, proposal)).floor_s
    careful.clock.advance(floor - 1)
    assert (await look(careful, proposal)).wait_s == pytest.approx(1)


async def test_an_edit_must_be_looked_at_anew(careful: Clinic) -> None:
    proposal = await careful.booked()
    careful.clock.advance((await look(careful, proposal)).floor_s)
    edited = await reviews.edit(
        careful.gate,
        SOFIA,
        proposal.id,
        changes_raw=edited_changes(proposal, comment="Bring the referral"),
        digest=proposal.content.digest,
    )
    with pytest.raises(VersionConflict, match="have not been shown"):
        await approve(careful, edited)
    standing = await look(careful, edited)
    with pytest.raises(Throttled):
        await approve(careful, edited)
    careful.clock.advance(standing.floor_s)
    assert (await approve(careful, edited)).status is Status.APPROVED


async def test_refusing_and_handing_back_need_no_time(careful: Clinic) -> None:
    slots = careful.hospital.scenario.free_slots
    for slot, verdict in zip(slots, ("refuse", "hand-back"), strict=False):
        proposal = await careful.booked(slot)
        after = await reviews.review(
            careful.gate,
            SOFIA,
            proposal.id,
            verdict=verdict,  # type: ignore[arg-type]
            digest=proposal.content.digest,
            reason="no",
        )
        assert after.status in (Status.REJECTED, Status.HANDED_OFF)


async def test_one_look_is_not_counted_for_two_approvals(careful: Clinic) -> None:
    """Who opens many at once and waits has looked at one of them."""
    waiting = [await careful.booked(slot) for slot in careful.hospital.scenario.free_slots[:4]]
    floors = [(await look(careful, proposal)).floor_s for proposal in waiting]
    careful.clock.advance(300)
    at_once = [approve(careful, proposal) for proposal in waiting]
    answers = await asyncio.gather(*at_once, return_exceptions=True)
    assert sum(isinstance(a, Proposal) for a in answers) == 1
    assert all(isinstance(a, Proposal | Throttled) for a in answers)
    left = [p for p in waiting if (await careful.get(p)).status is Status.PENDING_REVIEW]
    with pytest.raises(Throttled):
        await approve(careful, left[0])
    careful.clock.advance(max(floors))
    assert (await approve(careful, left[0])).status is Status.APPROVED


async def test_charter_may_ask_for_longer_but_not_for_less(careful: Clinic) -> None:
    proposal = await careful.booked()
    usual = (await look(careful, proposal)).floor_s
    ask_for(careful, review_dwell_s=1.0)
    assert (await look(careful, proposal)).floor_s == usual
    ask_for(careful, review_dwell_s=120.0)
    assert (await look(careful, proposal)).floor_s == 120.0


async def test_store_refuses_an_approval_under_the_floor(careful: Clinic) -> None:
    """Whatever the code above it does."""
    proposal = await careful.booked()
    with pytest.raises(asyncpg.CheckViolationError):
        async with careful.database.bookkeeping() as transaction:
            await transaction.execute(
                "INSERT INTO proposal_decision (tenant, proposal, version, digest, person, roles, "
                "verdict, decided_at, dwell_s, floor_s, early, asked, acknowledged) VALUES "
                "('main', $1, 1, 'x', 'person:sofia', '{}', 'approve', now(), 1, 3, 0, 0, 0)",
                proposal.id,
            )


async def test_high_risk_differences_are_acknowledged_one_by_one(clinic: Clinic) -> None:
    ask_for(clinic, review_acknowledge=("status", "start"))
    proposal = await clinic.booked()
    keys = (await look(clinic, proposal)).acknowledge
    slot = proposal.content.changes[1].reference
    assert keys == ("Appointment (new)#status", "Appointment (new)#start", f"{slot}#status")
    for given in ((), keys[:2], (*keys[:2], "Slot/0#status"), (*keys, "Slot/0#status")):
        with pytest.raises(Unprocessable, match="acknowledged"):
            await approve(clinic, proposal, acknowledged=given)
    assert [e["reason"] for e in await clinic.audited("proposal.review")] == ["business-rule"] * 4
    assert (await approve(clinic, proposal, acknowledged=keys)).status is Status.APPROVED


async def test_two_people_each_decide_and_the_last_one_approves_it(clinic: Clinic) -> None:
    ask_for(clinic, review_people=2)
    proposal = await clinic.booked()
    first = await approve(clinic, proposal)
    assert (first.status, first.decided_by) == (Status.PENDING_REVIEW, None)
    with pytest.raises(InvalidTransition, match="you have approved it already"):
        await approve(clinic, proposal)
    standing = await look(clinic, proposal, MARA)
    assert [a.person for a in standing.approvals] == ["person:sofia"]
    assert standing.still == "one more person"
    second = await approve(clinic, proposal, MARA)
    assert (second.status, second.decided_by) == (Status.APPROVED, "person:mara")
    said = [e["details"].get("approvals") for e in await clinic.audited("proposal.review")]
    assert said == ["1 of 2", None, "2 of 2"]
    assert await commits.commit_next(clinic.gate, "w1")
    assert (await clinic.get(proposal)).status is Status.VERIFIED


async def test_each_role_is_held_by_another_person(clinic: Clinic) -> None:
    ask_for(clinic, review_people=2, review_roles=("scheduler", "pharmacist"))
    proposal = await clinic.booked()
    await approve(clinic, proposal, SOFIA)
    with pytest.raises(InvalidTransition, match="waits for a pharmacist, and you are none"):
        await approve(clinic, proposal, MARA)
    assert (await approve(clinic, proposal, PHIL)).status is Status.APPROVED


async def test_somebody_of_both_roles_stands_for_either(clinic: Clinic) -> None:
    ask_for(clinic, review_people=2, review_roles=("scheduler", "pharmacist"))
    slots = clinic.hospital.scenario.free_slots
    for slot, other in zip(slots, (SOFIA, PHIL), strict=False):
        proposal = await clinic.booked(slot)
        await approve(clinic, proposal, BOTH)
        assert (await approve(clinic, proposal, other)).status is Status.APPROVED


async def test_further_role_reviews_only_where_the_charter_says(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    with pytest.raises(Denied):
        await approve(clinic, proposal, PHIL)
    ask_for(clinic, review_people=2, review_roles=("scheduler", "pharmacist"))
    assert (await approve(clinic, proposal, PHIL)).status is Status.PENDING_REVIEW


async def test_edit_between_two_approvals_starts_over(clinic: Clinic) -> None:
    ask_for(clinic, review_people=2)
    proposal = await clinic.booked()
    await approve(clinic, proposal, SOFIA)
    edited = await reviews.edit(
        clinic.gate,
        MARA,
        proposal.id,
        changes_raw=edited_changes(proposal, comment="Bring the referral"),
        digest=proposal.content.digest,
    )
    with pytest.raises(VersionConflict, match="changed after you opened it"):
        await approve(clinic, proposal, MARA)
    assert (await approve(clinic, edited, MARA)).status is Status.PENDING_REVIEW
    assert (await approve(clinic, edited, SOFIA)).status is Status.APPROVED


async def test_one_refusal_ends_it_whoever_has_approved(clinic: Clinic) -> None:
    ask_for(clinic, review_people=2)
    proposal = await clinic.booked()
    await approve(clinic, proposal, SOFIA)
    refused = await reviews.review(
        clinic.gate,
        MARA,
        proposal.id,
        verdict="refuse",
        digest=proposal.content.digest,
        reason="the wrong day",
    )
    assert refused.status is Status.REJECTED


async def test_two_who_approve_at_the_same_moment_are_both_counted(clinic: Clinic) -> None:
    ask_for(clinic, review_people=2)
    for slot in clinic.hospital.scenario.free_slots[:5]:
        proposal = await clinic.booked(slot)
        after = await asyncio.gather(
            approve(clinic, proposal, SOFIA), approve(clinic, proposal, MARA)
        )
        assert {p.status for p in after} == {Status.PENDING_REVIEW, Status.APPROVED}


async def test_two_hundred_approvals_by_one_person_are_one_of_two(clinic: Clinic) -> None:
    ask_for(clinic, review_people=2)
    proposal = await clinic.booked()
    answers = await asyncio.gather(
        *(approve(clinic, proposal) for _ in range(200)), return_exceptions=True
    )
    assert sum(isinstance(a, Proposal) for a in answers) == 1
    assert (await clinic.get(proposal)).status is Status.PENDING_REVIEW


async def test_commit_asks_for_the_second_approval_again(clinic: Clinic) -> None:
    """The charter came to ask for two after one had approved, or a row was changed by hand."""
    proposal = await clinic.approved()
    ask_for(clinic, review_people=2)
    assert await commits.commit_next(clinic.gate, "w1")
    after = await clinic.get(proposal)
    assert after.status is Status.HANDED_OFF
    assert "more approvals" in (after.reason or "")
    assert clinic.effects(proposal) == 0


@pytest.mark.parametrize("late_s", [0, 1])
async def test_second_approval_after_the_deadline_is_refused(clinic: Clinic, late_s: int) -> None:
    ask_for(clinic, review_people=2)
    proposal = await clinic.booked()
    await approve(clinic, proposal, SOFIA)
    clinic.clock.advance((proposal.due_at - clinic.clock() + timedelta(seconds=late_s)).seconds)
    with pytest.raises(InvalidTransition, match="time to decide has ended"):
        await approve(clinic, proposal, MARA)


async def test_client_that_looks_is_noted_as_no_look_of_a_person(careful: Clinic) -> None:
    proposal = await careful.booked()
    view = await proposals.show(careful.gate, PICKER, proposal.id)
    assert view.review is None
    count = await careful.database.fetch_value(
        "SELECT count(*) FROM proposal_look WHERE tenant = $1"
    )
    assert count == 0


@pytest.mark.parametrize(
    ("what", "error", "reason", "sentence"),
    [
        ("replayed", InvalidTransition, "business-rule", "is approved, not pending-review"),
        ("another digest", VersionConflict, "conflict", "changed after you opened it"),
        ("expired", InvalidTransition, "business-rule", "time to decide has ended"),
        ("withdrawn", InvalidTransition, "business-rule", "is withdrawn"),
        ("tampered", VersionConflict, "conflict", "nobody may decide on it"),
    ],
)
async def test_approval_that_may_not_count_says_why_and_is_audited(
    clinic: Clinic, what: str, error: type[Exception], reason: str, sentence: str
) -> None:
    proposal = await clinic.booked()
    digest = proposal.content.digest
    if what == "replayed":
        await approve(clinic, proposal)
    elif what == "another digest":
        digest = "0" * 64
    elif what == "expired":
        clinic.clock.advance(15 * 60)
    elif what == "withdrawn":
        await proposals.withdraw(clinic.gate, PICKER, proposal.id)
    else:
        async with clinic.database.bookkeeping() as transaction:
            await transaction.execute("UPDATE proposal_content SET body = '{}'")
    with pytest.raises(error, match=sentence):
        await reviews.review(clinic.gate, SOFIA, proposal.id, verdict="approve", digest=digest)
    refused = [e for e in await clinic.audited("proposal.review") if e["outcome"] == "failed"]
    assert [(e["reason"], e["entities"][0]) for e in refused] == [
        (reason, f"Proposal/{proposal.id}")
    ]


async def test_approval_replayed_after_a_conflict_is_of_another_content(clinic: Clinic) -> None:
    """The chart moved on and it came back for review: the old approval does not fit any more."""
    approved = await clinic.approved()
    slot = clinic.hospital.resource(str(approved.content.changes[1].reference))
    clinic.hospital.edit(slot | {"end": "2026-03-03T23:45:00Z"})
    assert await commits.commit_next(clinic.gate, "w1")
    renewed = await clinic.get(approved)
    if renewed.status is Status.PENDING_REVIEW:
        with pytest.raises(VersionConflict, match="changed after you opened it"):
            await approve(clinic, approved)
    else:
        with pytest.raises(InvalidTransition):
            await approve(clinic, approved)
    assert clinic.effects(approved) == 0


async def test_content_edited_away_and_back_is_approved_anew_by_everybody(clinic: Clinic) -> None:
    """It has the digest of the first version again, and still nobody has approved it."""
    ask_for(clinic, review_people=2)
    proposal = await clinic.booked()
    await approve(clinic, proposal, SOFIA)
    other = await reviews.edit(
        clinic.gate,
        MARA,
        proposal.id,
        changes_raw=edited_changes(proposal, comment="Bring the referral"),
        digest=proposal.content.digest,
    )
    back = await reviews.edit(
        clinic.gate,
        MARA,
        proposal.id,
        changes_raw=edited_changes(proposal),
        digest=other.content.digest,
    )
    assert back.content.digest == proposal.content.digest
    assert (await approve(clinic, back, MARA)).status is Status.PENDING_REVIEW
    assert (await approve(clinic, back, SOFIA)).status is Status.APPROVED
