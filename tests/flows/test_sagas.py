"""Several changes for a system without transactions: all of them once, or none, or told exactly."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chartgate.flows import halts, rollbacks, sagas
from chartgate.flows.partial import SAY_PARTLY, SAY_PARTLY_UNDONE
from chartgate.model.proposal import Proposal, Status
from chartgate.store.database import Database
from chartgate.store.handoffs import HandoffStore
from chartgate.store.proposals import Attempt, Direction, ProposalStore
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import OPERATOR, SOFIA, Killed
from tests.flows.stepping import Stepping, open_stepping


@pytest.fixture
async def stepping(
    database: Database, clock: FakeClock, tmp_path: Path
) -> AsyncIterator[Stepping]:
    async with open_stepping(database, clock, tmp_path) as opened:
        yield opened


async def attempts(
    stepping: Stepping, proposal: Proposal, direction: Direction = "commit"
) -> tuple[Attempt, ...]:
    return await ProposalStore(stepping.clinic.database).attempts(proposal.id, direction)


async def test_changes_go_one_after_the_other_and_land_once(stepping: Stepping) -> None:
    approved = await stepping.approved()
    assert await stepping.work()
    done = await stepping.clinic.get(approved)
    assert done.status is Status.VERIFIED
    methods = [(r.method, r.status) for r in stepping.clinic.hospital.journal.requests]
    assert methods == [("POST", 201), ("PATCH", 200), ("PATCH", 200)]
    assert len(stepping.booked(approved)) == 1
    assert (stepping.status(0), stepping.status(1)) == ("busy", "busy")
    (attempt,) = await attempts(stepping, approved)
    assert attempt.verdict == "applied"
    assert done.receipt is not None
    assert attempt.done == done.receipt.effects
