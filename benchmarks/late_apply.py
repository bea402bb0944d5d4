"""A request that was held up on its way arrives when its work is long done: the EHR refuses it.

Each case holds the first request of a write back, cuts its connection, and lets Chartgate find out and
send again. Then the held one is let go: after the second try, after the rollback, or, of the rollback's
own first request, after the rollback's second. The hospital's journal must show no effect of it, and
each write must have been made exactly once.

`python -m benchmarks.late_apply [--count 1000] [--seed N] [--out FILE]`
"""

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.ward import PROPOSED, STAFF, Ward, asking, open_ward, told
from chartgate.flows import rollbacks
from chartgate.model.proposal import Proposal, Status
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock

COUNT = 1_000
EXAMPLES_MAX = 5
WHEN = ("after-the-second-try", "after-the-rollback", "of-the-rollback")


async def run(database: Database, folder: Path, count: int, *, seed: int) -> dict[str, Any]:
    """The campaign, on a store that is up to date."""
    chance = random.Random(seed)
    refused: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    wrong: list[str] = []
    started = time.monotonic()
    async with open_ward(database, folder=folder, clock=FakeClock()) as ward:
        for number in range(count):
            when, what = WHEN[number % len(WHEN)], chance.choice(PROPOSED)
            status, mistakes = await one_case(ward, number, what=what, when=when)
            statuses[str(status)] += 1
            if mistakes:
                wrong += [f"case {number}, {what} {when}: {m}" for m in mistakes]
            else:
                refused[f"{what} {when}"] += 1
    return {
        "seed": seed,
        "cases": count,
        "refused": sum(refused.values()),
        "by_kind": dict(sorted(refused.items())),
        "answers_to_the_late_request": dict(statuses),
        "wrong": len(wrong),
        "examples": wrong[:EXAMPLES_MAX],
        "bound_95": 3 / max(1, count),
        "took_s": round(time.monotonic() - started, 1),
        "held": bool(count) and not wrong,
    }


async def one_case(ward: Ward, number: int, *, what: str, when: str) -> tuple[int, list[str]]:
    """What the hospital answered to the late request, and what went wrong."""
    proposal = await ward.approve(await ward.propose(what, number))
    ward.front.holding = when != "of-the-rollback"
    written = await ward.work(proposal)
    mistakes = _check(written.status is Status.VERIFIED, f"it is {written.status.value}")
    if when != "after-the-second-try":
        await rollbacks.request_rollback(ward.gate, STAFF, proposal.id, reason="campaign")
        ward.front.holding = when == "of-the-rollback"
        written = await ward.work(proposal)
        mistakes += _check(written.status is Status.ROLLED_BACK, f"it is {written.status.value}")
    journal = ward.hospital.journal
    before, made = len(journal.effects), _times_made(ward, proposal, what)
    mistakes += _check(made == 1, f"written {made} times")
    mistakes += _check(len(ward.front.held) == 1, "nothing was held")
    if not ward.front.held:
        return 0, mistakes
    status = await ward.front.release()
    late = journal.effects[before:]
    mistakes += _check(not late, f"the late request had {len(late)} effects")
    return status, mistakes


def _times_made(ward: Ward, proposal: Proposal, what: str) -> int:
    """By the journal: a create bears our mark, a patch is the only one of its own Task."""
    effects = ward.hospital.journal.effects
    if what != "task":
        return sum(e.interaction == "create" and proposal.id in e.markers for e in effects)
    task = proposal.content.changes[0].reference
    return sum(e.interaction == "patch" and e.reference == task for e in effects)


def _check(holds: bool, sentence: str) -> list[str]:
    return [] if holds else [sentence]


def main() -> None:
    """Runs the campaign; exit code 1 if a late request was applied, or a case went wrong."""
    told(run, asking(__doc__, count=COUNT).parse_args())


if __name__ == "__main__":
    main()
