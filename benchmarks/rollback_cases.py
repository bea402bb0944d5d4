"""Rollbacks, case by case: at once, after a foreign edit, twice, and during a crash.

Each case writes something, takes it back in one of these ways and compares bytes: either the pre-image
stands again (what was created is cancelled), or nothing was touched and the proposal says that the
chart moved on. A third outcome is wrong, and so is an undoing that was made twice, by the hospital's
journal. A crash is a worker that dies at a named place of the walk, or loses its answer.

`python -m benchmarks.rollback_cases [--count 500] [--seed N] [--out FILE]`
"""

import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ward import PROPOSED, STAFF, Ward, asking, open_ward, told
from chartgate.errors import InvalidTransition, VersionConflict
from chartgate.failpoints import POINTS, arm, disarm
from chartgate.flows import rollbacks
from chartgate.formats.canonical import canonical_bytes
from chartgate.model.proposal import Proposal, Status
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock

COUNT = 500
EXAMPLES_MAX = 5
WAYS = ("at-once", "after-a-foreign-edit", "twice", "during-a-crash")
CRASHES = tuple(name for name in POINTS if name.startswith("c15."))
LOST = ("error_after_applying", "reset_after_applying")
CANCELLED = {"Appointment": "cancelled", "DocumentReference": "entered-in-error"}


class Died(BaseException):
    """The worker is gone, here and now."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One write, and what it changed."""

    proposal: Proposal
    restored: tuple[str, ...]  # what had a pre-image
    created: tuple[str, ...]
    before: dict[str, bytes]


async def run(database: Database, folder: Path, count: int, *, seed: int) -> dict[str, Any]:
    """The campaign, on a store that is up to date."""
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    started = time.monotonic()
    async with open_ward(database, folder=folder, clock=FakeClock()) as ward:
        for number in range(count):
            way, what = WAYS[number % len(WAYS)], chance.choice(PROPOSED)
            case = await _written(ward, number, what)
            outcome, mistakes = await _taken_back(ward, case, way, chance)
            outcomes[f"{way}: {outcome}"] += 1
            wrong += [f"case {number}, {what} {way}: {m}" for m in mistakes]
    return {
        "seed": seed,
        "cases": count,
        "outcomes": dict(sorted(outcomes.items())),
        "wrong": len(wrong),
        "examples": wrong[:EXAMPLES_MAX],
        "bound_95": 3 / max(1, count),
        "took_s": round(time.monotonic() - started, 1),
        "held": bool(count) and not wrong,
    }


async def _written(ward: Ward, number: int, what: str) -> Case:
    proposal = await ward.propose(what, number)
    changed = [c.reference for c in proposal.content.changes if c.reference]
    before = {reference: canonical_bytes(ward.version(reference)) for reference in changed}
    verified = await ward.work(await ward.approve(proposal))
    assert verified.status is Status.VERIFIED, f"the case could not be set up: {verified.status}"
    assert verified.receipt is not None
    created = [e.reference for e in verified.receipt.effects if e.version_before is None]
    return Case(proposal=verified, restored=tuple(before), created=tuple(created), before=before)


async def _taken_back(
    ward: Ward, case: Case, way: str, chance: random.Random
) -> tuple[str, list[str]]:
    """What came of it, and what is wrong about that."""
    touched = (*case.restored, *case.created)
    edited = chance.choice(touched) if way == "after-a-foreign-edit" else None
    if edited:
        held = ward.hospital.resource(edited)
        ward.hospital.edit({**held, "language": chance.choice(("de", "fr"))})
    standing = {r: canonical_bytes(ward.hospital.resource(r)) for r in touched}
    effects = len(ward.hospital.journal.effects)
    await rollbacks.request_rollback(ward.gate, STAFF, case.proposal.id, reason="campaign")
    if way == "during-a-crash":
        await _crash(ward, chance)
    done = await ward.work(case.proposal)
    if way == "twice":
        with suppress(InvalidTransition, VersionConflict):
            await rollbacks.request_rollback(ward.gate, STAFF, case.proposal.id, reason="again")
            return "undone twice", ["it was asked for and taken a second time"]
        await rollbacks.rollback_next(ward.gate, "w2")
    made = ward.hospital.journal.effects[effects:]
    if done.status is Status.ROLLED_BACK:
        return "pre-image", _undone_rightly(ward, case, len(made), edited)
    if done.status is Status.VERIFIED and done.reason == rollbacks.SAY_MOVED_ON:
        return "refused", _left_alone(ward, standing, len(made), edited)
    return done.status.value, [f"it is {done.status.value}: {done.reason}"]


def _undone_rightly(ward: Ward, case: Case, made: int, edited: str | None) -> list[str]:
    mistakes = [f"a foreign edit of {edited} was overwritten"] if edited else []
    mistakes += [
        f"{reference} is not what it was"
        for reference in case.restored
        if canonical_bytes(ward.version(reference)) != case.before[reference]
    ]
    for reference in case.created:
        kind = reference.partition("/")[0]
        if ward.hospital.resource(reference)["status"] != CANCELLED[kind]:
            mistakes.append(f"{reference} still stands")
    expected = len(case.restored) + len(case.created)
    return mistakes + ([f"{made} effects, not {expected}"] if made != expected else [])


def _left_alone(ward: Ward, standing: dict[str, bytes], made: int, edited: str | None) -> list[str]:
    mistakes = [] if edited else ["it was refused although nobody touched the chart"]
    mistakes += [
        f"{reference} was changed all the same"
        for reference, before in standing.items()
        if canonical_bytes(ward.hospital.resource(reference)) != before
    ]
    return mistakes + ([f"{made} effects of a rollback that was refused"] if made else [])


async def _crash(ward: Ward, chance: random.Random) -> None:
    """A worker takes it up and does not come through."""
    place = chance.choice((*CRASHES, *LOST))
    if place in LOST:
        value: Any = 502 if place == "error_after_applying" else True
        ward.hospital.faults.switch(
            place, value, interactions=("transaction", "update", "patch"), times=1
        )
        await rollbacks.rollback_next(ward.gate, "w1")
        ward.hospital.faults.clear()
        return

    def die() -> None:
        raise Died

    arm(place, die)
    with suppress(Died):
        await rollbacks.rollback_next(ward.gate, "w1")
    disarm(place)
    clock = ward.gate.clock
    assert isinstance(clock, FakeClock)
    clock.advance(31)  # its lease ends


def main() -> None:
    """Runs the campaign; exit code 1 if a case came out wrong."""
    told(run, asking(__doc__, count=COUNT).parse_args())


if __name__ == "__main__":
    main()
