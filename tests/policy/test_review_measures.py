"""What decisions say of how people review."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
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


def test_edit_is_no_decision() -> None:
    """It is followed by one, of the same or another person."""
    found = measured([decided(0, verdict="edit"), decided(1, edited=True)])
    assert (found.decisions, found.approved, found.run_max) == (1, Share(k=1, n=1), 1)


def test_edits_tell_what_was_approved_as_proposed() -> None:
    found = measured(
        [
            *many("aaar"),
            decided(5, edited=True),
            decided(6, edited=True, verdict="refuse"),
            decided(7, edited=True, verdict="hand-back"),
        ]
    )
    assert found.unedited == Share(k=3, n=4)
    assert found.agreed_after_edit == Share(k=1, n=3)


def test_look_is_a_median_and_a_multiple_of_the_least() -> None:
    found = measured([decided(n, dwell_s=d) for n, d in enumerate((10.0, 20.0, 900.0))])
    assert (found.dwell_s, found.floor_s, found.pace) == (20.0, 10.0, 2.0)


def test_what_takes_no_time_to_look_at_has_no_pace() -> None:
    """However short the least honest look is otherwise, it counts."""
    floors = ((0.0, 9.0), (0.5, 1.0), (1.0, 4.0), (0.0, 9.0))
    found = measured([decided(n, floor_s=f, dwell_s=d) for n, (f, d) in enumerate(floors)])
    assert (found.pace, found.floor_s) == (3.0, 0.25)
    assert measured([decided(floor_s=0.0)]).pace is None


def test_looks_of_refusals_do_not_count() -> None:
    assert measured([decided(), decided(1, verdict="refuse", dwell_s=0.1)]).dwell_s == 30.0


def test_who_tries_too_early_is_told_of() -> None:
    found = measured([decided(n, early=int(n < 3)) for n in range(40)])
    assert found.hurried == Share(k=3, n=40)
    assert "before there was time" in alarms(found)
    assert "before there was time" not in alarms(measured(many("a" * 40)))


def test_look_as_long_as_the_shortest_honest_one_is_not_hurried() -> None:
    looks = (9.9, 10.0, 10.1)
    found = measured([decided(n, dwell_s=dwell) for n, dwell in enumerate(looks)])
    assert found.hurried == Share(k=1, n=3)


@pytest.mark.parametrize(
    ("at_the_limit", "over_it", "alarm"),
    [
        (
            [decided(n, early=int(n < 1)) for n in range(20)],
            [decided(n, early=int(n < 2)) for n in range(20)],
            "more often than 1 in 20",
        ),
        (many("ar" * 10, dwell_s=12.5), many("ar" * 10, dwell_s=12.4), "as soon as it is possible"),
        (many("ar" * 9 + "a", dwell_s=10), many("ar" * 10, dwell_s=10), "as soon as it is"),
        (
            [decided(n, dwell_s=40.0 if n < 10 else 20.0) for n in range(20)],
            [decided(n, dwell_s=40.0 if n < 10 else 19.9) for n in range(20)],
            "half as long as before",
        ),
        (
            [decided(n, at=START + timedelta(seconds=12.1 * n)) for n in range(6)],
            [decided(n, at=START + timedelta(seconds=12 * n)) for n in range(6)],
            "approved 6 within one minute",
        ),
        (
            [decided(n, seed="unit") for n in range(4)],
            [decided(n, seed="unit") for n in range(5)],
            "fewer known-bad proposals than 4 in 5",
        ),
        (
            many("aaaa" + "r" * 84 + "ar" * 6),  # 0.1 ** 4 is one in a hundred, of 100 starts
            many("aaaaa" + "r" * 85 + "ar" * 5),
            "in a row, which chance alone hardly gives",
        ),
    ],
    ids=["hurried", "pace", "enough", "trend", "minute", "seeds", "run"],
)
def test_alarm_begins_where_its_limit_is_passed(
    at_the_limit: list[Decided], over_it: list[Decided], alarm: str
) -> None:
    assert alarm not in alarms(measured(at_the_limit))
    assert alarm in alarms(measured(over_it))


def test_who_approves_at_the_first_moment_is_told_of() -> None:
    assert "as soon as it is possible" in alarms(measured(many("ar" * 15, dwell_s=10.1)))
    assert measured(many("ar" * 5, dwell_s=10.1)).alarms == (), "too few to say so"


def test_run_of_approvals_that_is_not_chance_is_told_of() -> None:
    assert "in a row" in alarms(measured(many("ar" * 20 + "a" * 30)))
    assert "in a row" not in alarms(measured(many("aar" * 20)))
    assert measured(many("a" * 200)).alarms == (), "who never refuses has no rate to compare with"


@given(st.text("ar", max_size=60))
def test_longest_run_is_that_between_two_that_were_not_approved(verdicts: str) -> None:
    assert measured(many(verdicts)).run_max == max(map(len, verdicts.split("r")))


@given(st.integers(20, 300), st.data())
def test_run_stands_out_where_chance_would_give_it_less_often_than_once_in_a_hundred(
    n: int, data: st.DataObject
) -> None:
    """Of n decisions, each an approval as often as all are; who never approves has no run."""
    k = data.draw(st.integers(0, n - 1), label="approvals")
    run = data.draw(st.integers(min(k, -(-k // (n - k + 1))), k), label="in a row")
    rest = k - run
    spread = ["a" * min(run, rest - start) for start in range(0, rest, run or 1)]
    verdicts = "r".join(["a" * run, *spread]).ljust(n, "r")
    assume(len(verdicts) == n and verdicts.count("a") == k)
    expected = n * (k / n) ** run
    assume(abs(expected - 0.01) > 1e-6)
    assert ("in a row" in alarms(measured(many(verdicts)))) == (run > 0 and expected < 0.01)


@given(st.lists(st.integers(0, 400), max_size=30))
def test_most_within_a_minute_is_the_fullest_minute(seconds: list[int]) -> None:
    times = [START + timedelta(seconds=s) for s in seconds]
    found = measured([decided(n, at=at) for n, at in enumerate(times)])
    fullest = max((sum(0 <= s - first <= 60 for s in seconds) for first in seconds), default=0)
    assert found.a_minute_max == fullest


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


def test_known_bad_ones_that_slip_through_show_in_the_halves() -> None:
    verdicts = many("arrr" + "aaar", seed="unit")
    assert measured(verdicts).trend["missed"] == (0.25, 0.75)
    assert measured(many("aaar")).trend["missed"] == (None, None)


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
