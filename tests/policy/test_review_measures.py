"""What decisions say of how people review."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.model.review import Decided
from chartgate.policy.review_measures import Measures, Share, by_reviewer, measured

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def decided(number: int = 0, **changes: Any) -> Decided:
    plain: dict[str, Any] = {
        "proposal": f"p{number:05}", "charter": "visit-note", "action": "file-note",
        "person": "person:sofia", "roles": ("clinician",), "verdict": "approve",
        "at": START + timedelta(minutes=2 * number), "dwell_s": 30.0, "floor_s": 10.0, "early": 0,
    }  # fmt: skip
    return Decided(**{**plain, **changes})


def many(verdicts: str, **changes: Any) -> list[Decided]:
    """a: approved, r: refused."""
    words = {"a": "approve", "r": "refuse"}
    return [decided(n, verdict=words[v], **changes) for n, v in enumerate(verdicts)]


def alarms(found: Measures) -> str:
    return "; ".join(found.alarms)


def test_shares_have_the_interval_of_wilson() -> None:
    share = Share(k=8, n=10)
    assert share.value == 0.8
    assert share.interval == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert (Share(k=0, n=0).value, Share(k=0, n=0).interval) == (None, None)


@given(st.integers(1, 500), st.integers(0, 500))
def test_interval_holds_the_share_and_stays_within_bounds(n: int, k: int) -> None:
    share = Share(k=min(k, n), n=n)
    assert share.interval is not None
    low, high = share.interval
    assert 0.0 <= low <= (share.value or 0.0) + 1e-12
    assert (share.value or 0.0) - 1e-12 <= high <= 1.0


def test_nothing_decided_is_no_figure_and_no_alarm() -> None:
    found = measured([])
    assert (found.decisions, found.approved.value, found.dwell_s, found.pace) == (
        0,
        None,
        None,
        None,
    )
    assert (found.run_max, found.a_minute_max, found.alarms) == (0, 0, ())


def test_known_bad_ones_are_counted_apart() -> None:
    real = many("aar")
    seeds = [decided(10, seed="unit"), decided(11, seed="day", verdict="hand-back"),
             decided(12, seed="name", verdict="edit")]  # fmt: skip
    found = measured([*real, *seeds])
    assert (found.approved, found.caught) == (Share(k=2, n=3), Share(k=2, n=3))


def test_edits_tell_what_was_approved_as_proposed() -> None:
    found = measured(
        [*many("aaa"), decided(5, edited=True), decided(6, edited=True, verdict="refuse")]
    )
    assert found.unedited == Share(k=3, n=4)
    assert found.agreed_after_edit == Share(k=1, n=2)


def test_look_is_a_median_and_a_multiple_of_the_least() -> None:
    found = measured([decided(n, dwell_s=d) for n, d in enumerate((10.0, 20.0, 900.0))])
    assert (found.dwell_s, found.floor_s, found.pace) == (20.0, 10.0, 2.0)


def test_looks_of_refusals_do_not_count() -> None:
    assert measured([decided(), decided(1, verdict="refuse", dwell_s=0.1)]).dwell_s == 30.0


def test_who_tries_too_early_is_told_of() -> None:
    found = measured([decided(n, early=int(n < 3)) for n in range(40)])
    assert found.hurried == Share(k=3, n=40)
    assert "before there was time" in alarms(found)
    assert "before there was time" not in alarms(measured(many("a" * 40)))


def test_who_approves_at_the_first_moment_is_told_of() -> None:
    assert "as soon as it is possible" in alarms(measured(many("ar" * 15, dwell_s=10.1)))
    assert measured(many("ar" * 5, dwell_s=10.1)).alarms == (), "too few to say so"


def test_run_of_approvals_that_is_not_chance_is_told_of() -> None:
    assert "in a row" in alarms(measured(many("ar" * 20 + "a" * 30)))
    assert "in a row" not in alarms(measured(many("aar" * 20)))
    assert measured(many("a" * 200)).alarms == (), "who never refuses has no rate to compare with"


@pytest.mark.parametrize(("gap_s", "most"), [(10, 7), (60, 2), (61, 1)])
def test_most_approvals_within_a_minute(gap_s: int, most: int) -> None:
    found = measured([decided(n, at=START + timedelta(seconds=gap_s * n)) for n in range(20)])
    assert found.a_minute_max == most
    assert ("within one minute" in alarms(found)) == (most >= 6)


def test_few_known_bad_ones_prove_nothing_and_many_missed_do() -> None:
    assert measured([decided(0, seed="unit")]).alarms == ()
    missed = [decided(n, seed="unit", verdict="approve" if n % 2 else "refuse") for n in range(30)]
    assert "fewer known-bad" in alarms(measured(missed))


def test_habit_shows_in_the_halves() -> None:
    slow, fast = many("arar" * 10), many("aaaa" * 10)
    later = [decided(100 + n, verdict=d.verdict, dwell_s=11.0) for n, d in enumerate(fast)]
    found = measured([*slow, *later])
    assert found.trend["approved"] == (0.5, 1.0)
    assert "half as long" in alarms(found)


@given(st.permutations([*many("aarar"), decided(9, seed="unit")]))
def test_order_in_which_decisions_come_does_not_matter(shuffled: Sequence[Decided]) -> None:
    assert measured(shuffled) == measured([*many("aarar"), decided(9, seed="unit")])


def test_each_reviewer_of_each_charter_by_themselves() -> None:
    found = by_reviewer(
        [decided(), decided(1, person="person:mara"), decided(2, charter="clinic-booking")]
    )
    assert list(found) == [
        ("clinic-booking", "person:sofia"),
        ("visit-note", "person:mara"),
        ("visit-note", "person:sofia"),
    ]
    assert all(figures.decisions == 1 for figures in found.values())
