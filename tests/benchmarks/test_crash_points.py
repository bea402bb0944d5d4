"""The short form of the crash matrix: every crash point, every fault, one seed; `make chaos` runs
ten. The hospital's journal is what counts."""

import pytest

from benchmarks.crash_points import FAULTS, POINTS, Case, Result, drill, summed
from chartgate import failpoints

SEED = {"c15": 3, "c16": 1}  # a rollback's request is cut in half; a migration is interrupted


def short(fault: str) -> list[Case]:
    return [Case(point, fault, SEED.get(point, 0)) for point in POINTS]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_crash_at_any_point_doubles_loses_and_sticks_nothing(fault: str) -> None:
    results = await drill(short(fault))
    total = summed(results)
    assert total["runs"] == len(POINTS) == 16
    assert total["held"], total["wrong"]
    assert total["doubled"] == total["lost"] == total["stuck"] == total["wrong_verdicts"] == 0
    assert total["faults_not_met"] == 0, "a fault that never came proves nothing"


def test_every_failpoint_is_in_the_matrix() -> None:
    places = {Case(p, "stop", seed).place()[0] for p in POINTS for seed in range(10)}
    apart = {name for name in failpoints.POINTS if name.startswith("c17.")}  # see test_sagas.py
    assert places == set(failpoints.POINTS) - apart


def test_what_is_wrong_is_counted_and_does_not_hold() -> None:
    fine = Result(Case("c08", "stop", 0), status="verified")
    bad = Result(Case("c10", "stop", 0), wrong=["doubled: 2 created, 0 taken back"])
    stuck = Result(Case("c11", "stop", 0), wrong=["stuck: it did not come to rest"])
    total = summed([fine, bad, stuck])
    assert (total["runs"], total["doubled"], total["stuck"]) == (3, 1, 1)
    assert not total["held"]
    assert summed([fine])["held"]
    assert not summed([])["held"]
