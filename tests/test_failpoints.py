"""Failpoints: inert unless code of the same process arms them, and all of them in the code."""

import os
import re
import subprocess
import sys
import timeit
from pathlib import Path

import pytest

import chartgate
from chartgate import failpoints
from chartgate.failpoints import POINTS, arm, armed, disarm, failpoint, is_armed

CALL = re.compile(r'failpoint\("([^"]+)"\)')
COST_MAX_S = 1e-6  # measured at 0.03 µs; the bound leaves room for a busy machine


class Reached(BaseException):
    """The process would have died here."""


def reached() -> None:
    raise Reached


def test_every_point_of_the_list_stands_in_the_code_and_no_other() -> None:
    folder = Path(chartgate.__file__).parent
    files = [f for f in folder.rglob("*.py") if f.name != "failpoints.py"]
    named = [name for f in files for name in CALL.findall(f.read_text(encoding="utf-8"))]
    assert sorted(named) == sorted(POINTS), "each place is passed at one line"


def test_nothing_happens_where_nothing_is_armed() -> None:
    for name in POINTS:
        failpoint(name)


def test_an_armed_point_acts_once_and_no_other_does() -> None:
    with armed("c08", reached):
        failpoint("c07")
        with pytest.raises(Reached):
            failpoint("c08")
        failpoint("c08")


def test_a_point_acts_at_the_pass_it_was_armed_for() -> None:
    with armed("c09", reached, after=2):
        failpoint("c09")
        failpoint("c09")
        assert is_armed("c09")
        with pytest.raises(Reached):
            failpoint("c09")
    assert not is_armed("c09")


def test_a_place_that_does_not_exist_cannot_be_armed() -> None:
    with pytest.raises(KeyError, match="c99"):
        arm("c99", reached)


def test_disarming_ends_all() -> None:
    arm("c01", reached)
    arm("c02", reached)
    disarm()
    failpoint("c01")
    failpoint("c02")


def test_a_point_costs_next_to_nothing() -> None:
    disarm()
    runs = 100_000
    best_s = min(timeit.repeat(lambda: failpoint("c08"), number=runs, repeat=5)) / runs
    assert best_s < COST_MAX_S


def test_no_environment_arms_anything() -> None:
    """A production process must not be stopped by a variable."""
    source = Path(failpoints.__file__).read_text(encoding="utf-8")
    assert "import os" not in source
    seen = subprocess.run(
        [sys.executable, "-c", "from chartgate import failpoints as f; print(f._armed)"],
        env={**os.environ, **{f"CHARTGATE_FAILPOINT_{n.upper()}": "kill" for n in POINTS}},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert seen.stdout.strip() == "{}"
