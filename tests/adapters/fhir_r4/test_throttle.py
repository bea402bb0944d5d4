"""What a 429 asks for, in every spelling, and what comes after the wait."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.adapters.fhir_r4.throttle import (
    WAIT_MIN_S,
    Throttle,
    parse_retry_after,
    spent_quota_wait_s,
    told_wait_s,
)

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Time:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def throttle(time: Time, *, cap_s: float = 300.0) -> Throttle:
    return Throttle(cap_s=cap_s, clock=lambda: NOW, monotonic=time, jitter=lambda: 1.0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("30", 30.0),
        (" 30 ", 30.0),
        ("0", WAIT_MIN_S),
        ("Mon, 02 Mar 2026 09:01:00 GMT", 60.0),
        ("Mon, 02 Mar 2026 08:00:00 GMT", WAIT_MIN_S),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("٣٠", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, expected: float | None) -> None:
    assert parse_retry_after(value, NOW) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"RateLimit": '"default";r=0;t=30'}, 30.0),
        ({"RateLimit": '"requests";r=59999;t=60, "fhirInteractions";r=0;t=45'}, 45.0),
        ({"RateLimit": '"requests";r=59999;t=60'}, None),
        ({"RateLimit": "limit=100, remaining=0, reset=7"}, 7.0),
        ({"RateLimit": "junk"}, None),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "12"}, 12.0),
        ({"RateLimit-Remaining": "3", "RateLimit-Reset": "12"}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1772442020"}, 20.0),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "later"}, None),
        ({}, None),
    ],
)
def test_spent_quota_is_read_in_every_spelling(
    headers: dict[str, str], expected: float | None
) -> None:
    assert spent_quota_wait_s(headers, lambda: NOW) == expected


def test_retry_after_goes_before_rate_limit() -> None:
    headers = {"Retry-After": "5", "RateLimit": '"default";r=0;t=30'}
    assert told_wait_s(headers, NOW) == 5.0


@given(st.text(max_size=60), st.sampled_from(["Retry-After", "RateLimit", "RateLimit-Reset"]))
def test_no_header_breaks_it_or_holds_us_for_longer_than_the_cap(value: str, name: str) -> None:
    time = Time()
    held = throttle(time, cap_s=20.0)
    held.note(429, {name: value, "RateLimit-Remaining": "0"})
    assert WAIT_MIN_S <= held.admit() <= 20.0


def test_calls_fail_fast_until_the_wait_is_over_then_one_goes_first() -> None:
    time = Time()
    held = throttle(time)
    held.note(429, {"Retry-After": "10"})
    assert held.admit() == 10.0
    time.now += 10
    assert held.admit() == 0.0
    assert held.admit() == WAIT_MIN_S, "one at a time, no storm"
    held.note(200, {})
    assert held.admit() == 0.0
    assert held.admit() == 0.0


def test_wait_without_a_word_doubles_and_starts_again_after_success() -> None:
    time = Time()
    held = throttle(time)
    waits = []
    for _ in range(8):
        held.note(429, {})
        waits.append(held.admit())
        time.now += waits[-1]
        assert held.admit() == 0.0
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    held.note(200, {})
    held.note(429, {})
    assert held.admit() == 2.0


def test_a_quota_that_is_spent_is_minded_before_any_429() -> None:
    held = throttle(Time())
    held.note(200, {"RateLimit": '"default";r=0;t=30'})
    assert held.admit() == 30.0


def test_trial_that_was_given_up_lets_the_next_go() -> None:
    time = Time()
    held = throttle(time)
    held.note(429, {"Retry-After": "1"})
    time.now += 1
    assert held.admit() == 0.0
    held.abandoned()
    assert held.admit() == 0.0
