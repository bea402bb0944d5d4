"""Any sequence of faults, edits, halts and late arrivals leaves all of it, none of it, or a sentence
that says what stands: by the hospital's journal and chart."""

import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from chartgate.errors import NotFound
from chartgate.flows import halts, rollbacks
from chartgate.flows.partial import SAY_LOOK, SAY_PARTLY, SAY_PARTLY_UNDONE
from chartgate.model.proposal import Proposal, Status
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import OPERATOR, SOFIA
from tests.flows.stepping import MOVING, Stepping, open_stepping

SEEDS = range(12)
DEEDS = ("lose", "hold", "down", "kill-before", "kill-after", "refuse", "refuse")
STANDS = (" was written and stands", " were written and stand")
UNSURE = "what became of "


@pytest.fixture
async def stepping(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Stepping]:
    async with open_stepping(database, clock, tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("seed", SEEDS)
async def test_all_stands_once_or_nothing_or_it_is_said(stepping: Stepping, seed: int) -> None:
    dice = random.Random(seed)
    for first in (0, 2, 4):
        proposal = await stepping.approved(first)
        spoil(stepping, dice)
        done = await play(stepping, proposal, dice)
        if done.status is Status.VERIFIED and dice.random() < 0.3:
            check(stepping, done)
            await rollbacks.request_rollback(stepping.clinic.gate, SOFIA, done.id, reason="no")
            spoil(stepping, dice)
            done = await play(stepping, proposal, dice)
        check(stepping, done)


def spoil(stepping: Stepping, dice: random.Random) -> None:
    """What goes wrong at the next requests."""
    stepping.sink.deeds.clear()
    stepping.sink.before_request.clear()
    now = stepping.sink.count
    for _ in range(dice.choice([0, 1, 2, 3, 4, 5, 6])):
        number = now + dice.randrange(6)
        if dice.random() < 0.5:
            stepping.sink.deeds[number] = dice.choice(DEEDS)
            continue
        kind = dice.choice(["edit", "edit", "taken", "halt", "late-worker", "away"])
        target = dice.choice(stepping.slots)

        async def act(kind: str = kind, target: str = target) -> None:
            if kind == "edit":
                stepping.edit(target, comment=f"note {dice.random()}")
            elif kind == "taken":
                if stepping.clinic.hospital.resource(target)["status"] == "free":
                    stepping.edit(target, status="busy-tentative")
            elif kind == "away":
                stepping.clinic.hospital.faults.switch("down", "503", times=dice.randrange(1, 12))
            elif kind == "halt":
                await halts.halt(stepping.clinic.gate, OPERATOR, reason="drill")
            else:
                stepping.clinic.clock.advance(31)
                await stepping.turn()

        stepping.sink.before_request[number] = act


async def play(stepping: Stepping, proposal: Proposal, dice: random.Random) -> Proposal:
    """Workers come and go, and what was held up arrives now and then."""
    for turn in range(60):
        await stepping.turn()
        found = await stepping.clinic.get(proposal)
        if found.status not in MOVING:
            break
        if stepping.sink.held and dice.random() < 0.4:
            await stepping.sink.release()
        if dice.random() < 0.3 or turn > 50:
            await resume(stepping)
        stepping.clinic.clock.advance(dice.choice([1, 31, 31, 62]))
    else:
        raise AssertionError(f"stuck, {found.status.value}")
    stepping.clinic.hospital.faults.clear()
    await resume(stepping)
    return await stepping.clinic.get(proposal)


async def resume(stepping: Stepping) -> None:
    with suppress(NotFound):
        await halts.resume(stepping.clinic.gate, OPERATOR, reason="over")


def check(stepping: Stepping, done: Proposal) -> None:
    """The chart says what the proposal says."""
    stands = {
        *stepping.booked(done),
        *(s for i, s in enumerate(stepping.slots) if busy(stepping, i)),
    }
    assert len(stepping.booked(done)) <= 1
    reason = done.reason or ""
    said = f"{done.status.value}: {reason}"
    if SAY_LOOK in reason:
        assert done.status is Status.HANDED_OFF
        parts = reason.removeprefix(SAY_PARTLY).removeprefix(SAY_PARTLY_UNDONE).split("; ")
        named = {n for part in parts for end in STANDS if part.endswith(end)
                 for n in part.removesuffix(end).split(", ")}  # fmt: skip
        unsure = any(part.startswith(UNSURE) for part in parts)
        assert named <= stands, said
        assert len(stands - named) <= int(unsure), said
    elif done.status is Status.VERIFIED:
        assert len(stands) == 3, said
    elif "could not be found out" not in reason and "several times" not in reason:
        assert not stands, said


def busy(stepping: Stepping, slot: int) -> bool:
    return stepping.status(slot) == "busy"
