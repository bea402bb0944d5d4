"""The figures of reviews come out of what people really did."""

from datetime import timedelta

import pytest

from chartgate.config import ReviewConfig
from chartgate.errors import Throttled
from chartgate.flows import reviews
from chartgate.flows.review_stats import review_stats
from chartgate.flows.seeded import put_seed
from chartgate.policy.review_measures import Share
from tests.flows.clinics import SOFIA, Clinic
from tests.flows.test_review_care import MARA, approve, ask_for, careful, look
from tests.flows.test_reviews import edited_changes

__all__ = ["careful"]


async def test_figures_of_each_person_and_of_all(careful: Clinic) -> None:
    ask_for(careful, review_seeds=0.2)
    slots = careful.hospital.scenario.free_slots
    first, second, third = [await careful.booked(slot) for slot in slots[:3]]
    seed = await put_seed(careful.gate, third, chance=lambda: 0.0)
    assert seed is not None
    for proposal in (first, seed):
        floor = (await look(careful, proposal)).floor_s
        with pytest.raises(Throttled):
            await approve(careful, proposal)
        careful.clock.advance(2 * floor)
        await approve(careful, proposal)
    await reviews.review(
        careful.gate,
        MARA,
        second.id,
        verdict="refuse",
        digest=second.content.digest,
        reason="the wrong day",
    )
    stats = await review_stats(careful.gate)
    sofia = stats.reviewers["clinic-booking", "person:sofia"]
    assert (sofia.approved, sofia.hurried, sofia.caught) == (
        Share(k=1, n=1),
        Share(k=1, n=1),
        Share(k=0, n=1),
    )
    assert sofia.pace == pytest.approx(2.0)
    assert stats.reviewers["clinic-booking", "person:mara"].approved == Share(k=0, n=1)
    assert stats.all.decisions == stats.charters["clinic-booking"].decisions == 2
    text = careful.gate.metrics.render().decode()
    assert (
        'decisions_total{charter="clinic-booking",role="scheduler",verdict="approve"} 1.0' in text
    )
    assert 'known_bad_total{charter="clinic-booking",result="missed",role="scheduler"} 1.0' in text
    assert 'too_early_total{charter="clinic-booking",role="scheduler"} 2.0' in text
    assert "sofia" not in text
    assert "mara" not in text


async def test_what_is_asked_for_narrows_what_is_counted(clinic: Clinic) -> None:
    slots = clinic.hospital.scenario.free_slots
    for slot, person in zip(slots, (SOFIA, MARA, SOFIA), strict=False):
        await approve(clinic, await clinic.booked(slot), person)
        clinic.clock.advance(60)
    gate = clinic.gate
    assert (await review_stats(gate)).all.decisions == 3
    assert (await review_stats(gate, person="sofia")).all.decisions == 2
    assert (await review_stats(gate, charter="visit-note")).all.decisions == 0
    since = clinic.clock() - timedelta(seconds=90)
    assert (await review_stats(gate, since=since)).all.decisions == 1
    last = await review_stats(gate, last=1)
    assert (last.all.decisions, last.complete) == (1, False)


async def test_edited_ones_are_told_apart(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    edited = await reviews.edit(
        clinic.gate,
        SOFIA,
        proposal.id,
        changes_raw=edited_changes(proposal, comment="Bring the referral"),
        digest=proposal.content.digest,
    )
    await approve(clinic, edited)
    figures = (await review_stats(clinic.gate)).all
    assert figures.unedited == Share(k=0, n=1)
    assert figures.agreed_after_edit == Share(k=1, n=1)


async def test_decisions_go_with_their_proposal_and_hold_nothing_of_a_patient(
    clinic: Clinic,
) -> None:
    proposal = await clinic.approved()
    rows = await clinic.database.fetch("SELECT * FROM proposal_decision WHERE tenant = $1")
    (row,) = rows
    assert "Patient" not in str(dict(row))
    async with clinic.database.bookkeeping() as transaction:
        for query in (
            "DELETE FROM proposal_content WHERE tenant = 'main' AND proposal = $1",
            "DELETE FROM proposal WHERE tenant = 'main' AND id = $1",
        ):
            await transaction.execute(query, proposal.id)
    assert (await review_stats(clinic.gate)).all.decisions == 0


async def test_nobody_has_decided_anything(clinic: Clinic) -> None:
    await clinic.booked()
    stats = await review_stats(clinic.gate)
    assert (stats.all.decisions, stats.reviewers, stats.complete) == (0, {}, True)


def test_standard_is_what_is_asked_for() -> None:
    review = ReviewConfig()
    assert (review.dwell_s, review.field_s, round(1 / review.word_s, 1)) == (3.0, 2.0, 8.3)
