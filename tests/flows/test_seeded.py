"""Known-bad proposals: like any other to who reviews, never written, told of afterwards."""

from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from chartgate.errors import InvalidTransition, NotFound
from chartgate.flows import commits, deadlines, proposals, reviews
from chartgate.flows.seeded import put_seed
from chartgate.model.proposal import TRANSITIONS, Proposal, Status, moved
from chartgate.store.proposals import ProposalStore
from tests.flows.clinics import PICKER, SOFIA, Clinic
from tests.flows.test_review_care import approve, ask_for

ALLOWED = ("pending-review", "withdrawn")


async def seeded(clinic: Clinic, pick: float = 0.0) -> tuple[Proposal, Proposal]:
    """A booking, and a known-bad copy of it by the template at `pick` of those that fit."""
    ask_for(clinic, review_seeds=0.2)
    real = await clinic.booked()
    draws = iter([0.0, pick, 0.0, 0.0])
    seed = await put_seed(clinic.gate, real, chance=lambda: next(draws))
    assert seed is not None
    return real, seed


async def test_as_many_are_put_as_the_charter_says(clinic: Clinic) -> None:
    proposal = await clinic.booked()
    assert await put_seed(clinic.gate, proposal, chance=lambda: 0.0) is None, "without seeds"
    ask_for(clinic, review_seeds=0.2)
    assert await put_seed(clinic.gate, proposal, chance=lambda: 0.2) is None
    assert await put_seed(clinic.gate, proposal, chance=lambda: 0.19) is not None
    (event,) = await clinic.audited("proposal.seed")
    assert event["agent"] == "rule:seeds"


async def test_submit_puts_one_now_and_then(clinic: Clinic) -> None:
    ask_for(clinic, review_seeds=1.0)
    proposal = await clinic.booked()
    waiting = await proposals.listed(clinic.gate, SOFIA, status=Status.PENDING_REVIEW)
    assert len(waiting) == 2
    assert {p.seed is None for p in waiting} == {True, False}
    assert {p.patient for p in waiting} == {proposal.patient}


async def test_it_is_a_while_older_than_what_it_was_made_from(clinic: Clinic) -> None:
    """At most half the time to decide, so that it does not lapse before anybody saw it."""
    ask_for(clinic, review_seeds=0.2)
    real = await clinic.booked()
    draws = iter([0.0, 0.0, 0.999])
    seed = await put_seed(clinic.gate, real, chance=lambda: next(draws))
    assert seed is not None
    time_to_decide = real.due_at - real.created_at
    assert seed.due_at - seed.created_at == time_to_decide
    assert real.due_at - time_to_decide / 2 < seed.due_at < real.due_at


async def test_what_is_decided_by_rule_or_handed_off_has_none_beside_it(clinic: Clinic) -> None:
    ask_for(clinic, review_seeds=1.0)
    handed = await clinic.booked(confidence=0.1)
    assert handed.status is Status.HANDED_OFF
    assert await clinic.audited("proposal.seed") == []


async def test_its_author_neither_sees_nor_owns_it(clinic: Clinic) -> None:
    real, seed = await seeded(clinic)
    mine = await proposals.listed(clinic.gate, PICKER)
    assert [p.id for p in mine] == [real.id]
    with pytest.raises(NotFound):
        await proposals.show(clinic.gate, PICKER, seed.id)
    with pytest.raises(NotFound):
        await proposals.withdraw(clinic.gate, PICKER, seed.id)
    async with clinic.database.connection() as connection:
        store = ProposalStore(clinic.database)
        count = await store.count_open(connection, author=real.author, charter=real.charter)
    assert count == 1, "it counts against no budget"


async def test_reviewer_sees_it_as_any_other(clinic: Clinic) -> None:
    real, seed = await seeded(clinic)
    views = [await proposals.show(clinic.gate, SOFIA, p.id) for p in (real, seed)]
    one, other = (
        replace(
            v,
            proposal=replace(v.proposal, id="", content=real.content, seed=None),
            contents=(),
            three_way=(),
            review=replace(v.review, floor_s=0.0) if v.review else None,
        )
        for v in views
    )
    assert one == other
    assert views[0].proposal.content.differences != views[1].proposal.content.differences


@pytest.mark.parametrize("pick", [0.0, 0.99])
async def test_approved_it_is_withdrawn_and_the_reviewer_is_told(
    clinic: Clinic, pick: float
) -> None:
    _, seed = await seeded(clinic, pick)
    after = await approve(clinic, seed)
    assert after.status is Status.WITHDRAWN
    assert "known-bad" in (after.reason or "")
    assert "not caught" in (after.reason or "")
    assert not await commits.commit_next(clinic.gate, "w1")
    assert clinic.effects(seed) == 0
    (event,) = await clinic.audited("proposal.review")
    assert event["details"]["known-bad"] == seed.seed


@pytest.mark.parametrize("verdict", ["refuse", "hand-back", "edit"])
async def test_whatever_else_is_done_with_it_is_a_catch(clinic: Clinic, verdict: Any) -> None:
    _, seed = await seeded(clinic)
    digest = seed.content.digest
    if verdict == "edit":
        after = await reviews.edit(clinic.gate, SOFIA, seed.id, changes_raw=[], digest=digest)
    else:
        after = await reviews.review(
            clinic.gate, SOFIA, seed.id, verdict=verdict, digest=digest, reason="wrong"
        )
    assert after.status is Status.WITHDRAWN
    assert "you caught it" in (after.reason or "")
    assert await clinic.audited("handoff.open") == []


async def test_it_lapses_without_going_to_staff(clinic: Clinic) -> None:
    real, seed = await seeded(clinic)
    clinic.clock.advance(16 * 60)
    while await deadlines.expire_next(clinic.gate, "w1"):
        pass
    assert (await clinic.get(seed)).status is Status.WITHDRAWN
    assert (await clinic.get(real)).status is Status.HANDED_OFF
    assert len(await clinic.audited("handoff.open")) == 1


async def test_model_lets_it_become_nothing_but_withdrawn(clinic: Clinic) -> None:
    _, seed = await seeded(clinic)
    for status in set(TRANSITIONS) - {Status.WITHDRAWN}:
        for before in Status:
            with pytest.raises(InvalidTransition):
                moved(replace(seed, status=before), status)


@pytest.mark.parametrize("status", [s.value for s in Status if s.value not in ALLOWED])
async def test_store_holds_it_in_no_other_status(clinic: Clinic, status: str) -> None:
    _, seed = await seeded(clinic)
    with pytest.raises(asyncpg.CheckViolationError):
        async with clinic.database.bookkeeping() as transaction:
            await transaction.execute(
                "UPDATE proposal SET status = $2, decided_by = 'person:x', decided_at = now(), "
                "decided_digest = content_digest WHERE tenant = 'main' AND id = $1",
                seed.id,
                status,
            )


async def test_commit_refuses_it_even_where_the_store_was_changed(clinic: Clinic) -> None:
    """Somebody took the constraint away and approved it by hand: no worker takes it up, and one
    that had it would not write it."""
    _, seed = await seeded(clinic)
    async with clinic.database.bookkeeping() as transaction:
        for name in await transaction.fetch(
            "SELECT conname FROM pg_constraint WHERE conrelid = 'proposal'::regclass "
            "AND pg_get_constraintdef(oid) LIKE '%seed%'"
        ):
            await transaction.execute(f"ALTER TABLE proposal DROP CONSTRAINT {name['conname']}")
        await transaction.execute(
            "UPDATE proposal SET status = 'approved', decided_by = 'person:x', decided_at = now(), "
            "decided_digest = content_digest, lease_until = now() + interval '9 years' "
            "WHERE tenant = 'main' AND id = $1",
            seed.id,
        )
    assert not await commits.commit_next(clinic.gate, "w1")
    approved = await clinic.get(seed)
    action = clinic.gate.charters.get(approved.charter).proposes[approved.action]
    assert await commits._why_never(clinic.gate, approved, action) is not None
    with pytest.raises(InvalidTransition):
        await ProposalStore(clinic.database).last_look(approved, now=clinic.clock())
    assert clinic.effects(seed) == 0
