"""`chartgate stage`."""

from tests.cli.conftest import Cli


def test_stage_moves_a_charter(at_house: Cli) -> None:
    done = at_house("stage", "visit-note", "shadow")
    assert (done.code, done.out) == (0, "visit-note is at stage shadow\n")
    assert at_house("status", "--json").json["stages"]["visit-note"] == "shadow"
    done = at_house("stage", "visit-note", "suggest", "--json")
    assert (done.code, done.json) == (0, {"charter": "visit-note", "stage": "suggest"})


def test_stage_that_the_rollout_lacks_names_those_it_has(at_house: Cli) -> None:
    done = at_house("stage", "visit-note", "canary")
    assert done.code == 2
    assert "the rollout of visit-note has no stage canary; it has shadow" in done.err


def test_stage_of_a_charter_that_is_not_there_says_so(at_house: Cli) -> None:
    done = at_house("stage", "visit-notes", "suggest")
    assert done.code == 1
    assert "visit-notes" in done.err
