"""What nobody takes on goes to the next, each step once; what is overdue is said once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from chartgate.adapters.loader import Connections
from chartgate.errors import OutcomeUnknown
from chartgate.flows import commits, deadlines, escalations, handoffs, reviews
from chartgate.flows.at_once import SAY_BREAKER_OPEN
from chartgate.model.handoff import Cause, Handoff, HandoffStatus
from chartgate.model.principal import Person
from chartgate.model.proposal import Proposal, Status
from chartgate.policy.charters import compile_book
from chartgate.policy.roster import parse_roster
from chartgate.store.handoffs import HandoffStore
from tests.flows.clinics import EHR, SITE, SOFIA, Clinic, Killed, kill_around, sample_charter

DESK = Person(id="dana", roles=("front-desk",), sites=(SITE,))
NURSE = Person(id="nell", roles=("charge-nurse",), sites=(SITE,))
OTHERWISE = "{handoff: front-desk, within: 30m, below: 0.60}"
CHAIN = """
      handoff: front-desk
      within: 30m
      below: 0.60
      worklists: [night-desk]
      when: [breaker-open]
      escalate:
        - {after: 10m, to: charge-nurse}
        - {after: 5m, person: dr-osei}"""
ROSTER = b"""
zone: UTC
worklists:
  front-desk:
    on_call:
      - {from: "06:00", to: "20:00", person: dana}
      - {worklist: night-desk}
  charge-nurse:
    on_call: [{person: nell}]
"""
DAY, NIGHT = 9, 23  # hours, where there is no summer time


def run_charter(clinic: Clinic, otherwise: str = CHAIN, *, roster: bytes = ROSTER) -> None:
    """From now on the charter says this."""
    changed = sample_charter("clinic-booking", change=[(OTHERWISE, otherwise)])
    clinic.gate.running.charters = compile_book([changed], roster=parse_roster(roster))


def wait_until(clinic: Clinic, hour: int) -> None:
    now = clinic.clock()
    later = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    later += timedelta(days=later < now)
    clinic.clock.advance((later - now).total_seconds())


async def handed_off(clinic: Clinic) -> Handoff:
    proposal = await clinic.booked(confidence=0.41)
    handoff = await HandoffStore(clinic.database).of_proposal(proposal.id)
    assert handoff is not None
    return handoff


async def settle(clinic: Clinic) -> int:
    """Takes every step that is due; how many."""
    for count in range(20):
        if not await escalations.escalate_next(clinic.gate, "w1"):
            return count
    raise AssertionError("it never ends")


async def now(clinic: Clinic, handoff: Handoff) -> Handoff:
    return await HandoffStore(clinic.database).get(handoff.id)


async def test_work_goes_to_whoever_has_the_worklist_at_that_hour(clinic: Clinic) -> None:
    run_charter(clinic)
    wait_until(clinic, DAY)
    day = await handed_off(clinic)
    assert (day.worklist, day.assigned_to) == ("front-desk", "dana")
    wait_until(clinic, NIGHT)
    proposal = await clinic.booked(clinic.hospital.scenario.free_slots[1], confidence=0.4)
    night = await HandoffStore(clinic.database).of_proposal(proposal.id)
    assert night is not None
    assert (night.worklist, night.assigned_to) == ("night-desk", None)
    owl = Person(id="emre", roles=("night-desk",), sites=(SITE,))
    taken = await handoffs.take(clinic.gate, owl, night.id)
    assert taken.taken_by == "person:emre"


async def test_what_nobody_takes_on_goes_down_the_chain_each_step_once(clinic: Clinic) -> None:
    run_charter(clinic)
    wait_until(clinic, DAY)
    handoff = await handed_off(clinic)
    clinic.clock.advance(599)
    assert await settle(clinic) == 0
    clinic.clock.advance(1)
    assert await settle(clinic) == 1
    first = await now(clinic, handoff)
    assert (first.worklist, first.assigned_to, first.step) == ("charge-nurse", "nell", 1)
    assert [w.handoff.id for w in await handoffs.waiting(clinic.gate, NURSE)] == [handoff.id]
    clinic.clock.advance(300)
    assert await settle(clinic) == 1
    second = await now(clinic, handoff)
    assert (second.worklist, second.assigned_to, second.step) == ("charge-nurse", "dr-osei", 2)
    assert second.escalate_at is None
    clinic.clock.advance(86_400)
    assert await settle(clinic) == 1  # it is overdue, and that is said once
    steps = await clinic.audited("handoff.escalate")
    assert [e["details"]["step"] for e in steps] == ["1", "2"]
    assert [e["details"]["from"] for e in steps] == ["front-desk", "charge-nurse"]
    (alarm,) = await clinic.audited("handoff.overdue")
    assert alarm["outcome"] == "failed"


async def test_work_that_somebody_took_on_goes_nowhere_else(clinic: Clinic) -> None:
    run_charter(clinic)
    handoff = await handed_off(clinic)
    taken = await handoffs.take(clinic.gate, DESK, handoff.id)
    assert taken.escalate_at is None
    clinic.clock.advance(3_600)
    assert await settle(clinic) == 1  # overdue all the same
    after = await now(clinic, handoff)
    assert (after.worklist, after.status) == (handoff.worklist, HandoffStatus.TAKEN)
    assert await clinic.audited("handoff.escalate") == []


async def test_many_workers_and_a_taker_at_once_make_one_step_or_none(clinic: Clinic) -> None:
    run_charter(clinic)
    handoff = await handed_off(clinic)
    clinic.clock.advance(601)
    answers = await asyncio.gather(
        handoffs.take(clinic.gate, DESK, handoff.id),
        *(escalations.escalate_next(clinic.gate, f"w{i}") for i in range(8)),
        return_exceptions=True,
    )
    after = await now(clinic, handoff)
    steps = await clinic.audited("handoff.escalate")
    taken = isinstance(answers[0], Handoff)
    assert len(steps) == after.step <= 1
    assert after.status is (HandoffStatus.TAKEN if taken else HandoffStatus.OPEN)
    assert taken or after.step == 1


@pytest.mark.parametrize("place", ["before", "after"])
async def test_worker_that_dies_around_a_step_leaves_it_made_once(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    run_charter(clinic)
    handoff = await handed_off(clinic)
    clinic.clock.advance(601)
    with monkeypatch.context() as patch:
        kill_around(patch, 1, place)
        with pytest.raises(Killed):
            await escalations.escalate_next(clinic.gate, "dying")
    await settle(clinic)
    assert (await now(clinic, handoff)).step == 1
    assert len(await clinic.audited("handoff.escalate")) == 1


async def test_chain_that_became_shorter_ends_and_the_work_stays_where_it_is(
    clinic: Clinic,
) -> None:
    run_charter(clinic)
    handoff = await handed_off(clinic)
    run_charter(clinic, "{handoff: front-desk, within: 30m, below: 0.60}", roster=NO_ROSTER)
    clinic.clock.advance(601)
    assert await settle(clinic) == 1
    after = await now(clinic, handoff)
    assert (after.worklist, after.escalate_at) == (handoff.worklist, None)
    clinic.gate.running.charters = compile_book([])
    assert await settle(clinic) == 0


NO_ROSTER = b"zone: UTC\nworklists: {}\n"


@dataclass
class Breaker:
    """A circuit breaker that a test opens."""

    state: str = "closed"


def wire(clinic: Clinic) -> Breaker:
    breaker = Breaker()
    sinks: Any = clinic.gate.sinks
    connections = Connections(
        sources=clinic.gate.sources, sinks=sinks, transmitters={}, breakers={EHR: breaker}
    )
    clinic.gate = replace(clinic.gate, connections=connections)
    return breaker


async def handoff_of(clinic: Clinic, proposal: Proposal) -> Handoff | None:
    return await HandoffStore(clinic.database).of_proposal(proposal.id)


async def test_approved_proposal_whose_ehr_is_away_goes_to_staff_after_a_while(
    clinic: Clinic,
) -> None:
    breaker = wire(clinic)
    run_charter(clinic)
    proposal = await clinic.approved()
    breaker.state = "open"
    clinic.clock.advance(59)
    assert await settle(clinic) == 0
    clinic.clock.advance(2)
    assert await settle(clinic) == 1
    after = await clinic.get(proposal)
    assert (after.status, after.reason) == (Status.HANDED_OFF, SAY_BREAKER_OPEN)
    handoff = await handoff_of(clinic, proposal)
    assert handoff is not None
    assert handoff.cause is Cause.BREAKER_OPEN
    assert clinic.effects(proposal) == 0


async def test_what_may_still_arrive_is_not_given_to_staff_as_not_written(clinic: Clinic) -> None:
    breaker = wire(clinic)
    run_charter(clinic)
    proposal = await clinic.approved()

    async def dead() -> None:
        raise Killed

    clinic.sink.before["commit"] = dead
    with pytest.raises(Killed):
        await commits.commit_next(clinic.gate, "w1")
    breaker.state = "open"
    clinic.clock.advance(600)
    assert await settle(clinic) == 0
    assert await handoff_of(clinic, proposal) is None


async def test_without_the_option_the_approved_proposal_waits_for_the_ehr(clinic: Clinic) -> None:
    breaker = wire(clinic)
    proposal = await clinic.approved()
    breaker.state = "open"
    clinic.clock.advance(600)
    assert await settle(clinic) == 0
    assert (await clinic.get(proposal)).status is Status.APPROVED


async def nobody_knows() -> None:
    raise OutcomeUnknown("reading cannot tell")


CASES: Sequence[tuple[Cause, str]] = [
    (Cause.DEADLINE, "deadline"),
    (Cause.HANDED_BACK, "hand-back"),
    (Cause.CONFLICT, "conflict"),
    (Cause.REFUSED, "no charter"),
    (Cause.MISMATCH, "mismatch"),
    (Cause.AMBIGUOUS, "cannot tell"),
]


@pytest.mark.parametrize(("cause", "how"), CASES)
async def test_handoff_names_its_cause(clinic: Clinic, cause: Cause, how: str) -> None:
    proposal = (
        await clinic.booked() if how in ("deadline", "hand-back") else await clinic.approved()
    )
    if how == "deadline":
        clinic.clock.advance(16 * 60)
        assert await deadlines.expire_next(clinic.gate, "w1")
    elif how == "hand-back":
        digest = proposal.content.digest
        await reviews.review(
            clinic.gate, SOFIA, proposal.id, verdict="hand-back", digest=digest, reason="no"
        )
    elif how == "conflict":
        slot = clinic.hospital.resource(clinic.hospital.scenario.free_slots[0])
        clinic.hospital.edit({**slot, "status": "busy"})
        await clinic.commit_until_done(proposal)
    elif how == "mismatch":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clinic.sink, "differences", lambda *_: ["Slot/1 status"])
            await clinic.commit_until_done(proposal)
    elif how == "cannot tell":
        for _ in range(4):
            clinic.sink.after["commit"] = clinic.sink.before["resolve"] = nobody_knows
            await commits.commit_next(clinic.gate, "w1")
            clinic.clock.advance(61)
    else:
        clinic.gate.running.charters = compile_book([])
        await clinic.commit_until_done(proposal)
    handoff = await handoff_of(clinic, proposal)
    assert handoff is not None
    assert handoff.cause is cause
    (opened,) = await clinic.audited("handoff.open")
    assert opened["details"]["cause"] == cause.value
