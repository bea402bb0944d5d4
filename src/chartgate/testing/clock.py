"""A clock that stands still until it is moved."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # a Monday morning, far from any change of clocks


class FakeClock:
    """A Clock for tests: call it for the time; `advance` moves it on."""

    def __init__(self, start: datetime = START) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> datetime:
        """Moves the clock on and returns the new time."""
        self.now += timedelta(seconds=seconds)
        return self.now
