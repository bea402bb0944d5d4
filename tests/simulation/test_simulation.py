"""The simulator in short: a few seeds hold, the same seed gives the same trace, kept seeds stay
mended, and planted faults are found. `python -m benchmarks.simulate` plays ten thousand."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.simulation.planted import PLANTED
from tests.simulation.play import STEPS, play
from tests.simulation.seeds import FOUND
from tests.simulation.store import SimPool, open_pool

SEEDS = range(1000, 1012)
SOON = 40
FAVOUR = {
    "no-last-look": {"zombie": 60, "submit": 20, "decide": 30, "halt_or_resume": 12},
    "no-resolving": {},
    "blind-rollback": {"roll_back": 20, "foreign_edit": 15, "work": 40},
}


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[SimPool]:
    opened = await open_pool(database_url)
    yield opened
    await opened.end()


async def test_no_seed_breaks_an_invariant(pool: SimPool, tmp_path: Path) -> None:
    outcomes = [await play(pool, seed, tmp_path) for seed in SEEDS]
    assert {o.seed: o.broken for o in outcomes if o.broken} == {}
    assert all(o.operations >= STEPS >= 100 for o in outcomes)
    assert sum(o.writes for o in outcomes) > len(SEEDS), "a play in which nothing is sent"
    assert sum(o.restarts for o in outcomes) > len(SEEDS), "a play in which nobody dies"
    ends = {state for o in outcomes for state in o.states}
    assert ends >= {"verified", "rolled-back", "handed-off", "rejected"}


async def test_the_same_seed_gives_the_same_trace(pool: SimPool, tmp_path: Path) -> None:
    """The tenant is another: what a store remembers of the first time must not matter."""
    for seed in (1, 31, 48, 111, 143):
        first = await play(pool, seed, tmp_path, tenant="first")
        again = await play(pool, seed, tmp_path, tenant="again")
        assert first.trace == again.trace
    other = await play(pool, 2, tmp_path)
    assert other.trace != first.trace


@pytest.mark.parametrize("seed", sorted(FOUND))
async def test_what_was_found_once_stays_mended(seed: int, pool: SimPool, tmp_path: Path) -> None:
    assert (await play(pool, seed, tmp_path)).broken == [], FOUND[seed]


@pytest.mark.parametrize("name", sorted(PLANTED))
async def test_a_planted_fault_is_found(name: str, pool: SimPool, tmp_path: Path) -> None:
    """Among a few seeds, with a play that often does what the fault is about; the long form finds
    it with the usual play."""
    for seed in range(SOON):
        with PLANTED[name]():
            outcome = await play(pool, seed, tmp_path, favour=FAVOUR[name])
        if outcome.broken:
            break
    assert outcome.broken, f"not found in {SOON} seeds"
    unplanted = await play(pool, seed, tmp_path, favour=FAVOUR[name], tenant="without")
    assert unplanted.broken == [], "without the fault it holds"
