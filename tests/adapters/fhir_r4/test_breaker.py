"""The circuit breaker, by every way between its states."""

from chartgate.adapters.fhir_r4.breaker import TRIAL_WAIT_S, Breaker


class Time:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(time: Time) -> Breaker:
    breaker = Breaker(failures_max=3, cool_off_s=10, monotonic=time)
    for _ in range(3):
        assert breaker.admit() == 0.0
        breaker.failed()
    return breaker


def test_breaker_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(failures_max=3, cool_off_s=10, monotonic=Time())
    for _ in range(5):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.state == "closed"
    assert opened(Time()).state == "open"


def test_open_breaker_says_how_long() -> None:
    time = Time()
    breaker = opened(time)
    time.now = 4
    assert breaker.admit() == 6


def test_half_open_breaker_lets_one_trial_pass() -> None:
    time = Time()
    breaker = opened(time)
    time.now = 10
    assert breaker.state == "half-open"
    assert breaker.admit() == 0.0
    assert breaker.admit() == TRIAL_WAIT_S


def test_trial_that_succeeds_closes_and_one_that_fails_opens_again() -> None:
    time = Time()
    breaker = opened(time)
    time.now = 10
    breaker.admit()
    breaker.failed()
    assert breaker.state == "open"
    assert breaker.admit() == 10
    time.now = 20
    breaker.admit()
    breaker.succeeded()
    assert breaker.state == "closed"
    assert breaker.admit() == 0.0


def test_trial_that_was_given_up_leaves_room_for_another() -> None:
    time = Time()
    breaker = opened(time)
    time.now = 10
    breaker.admit()
    breaker.abandoned()
    assert breaker.admit() == 0.0
