"""Circuit breaker: a system that does not answer is left alone, and tried one request at a time.

Closed: all pass. Open: none pass until the cool-off is over. Half-open: one trial passes; its
success closes the breaker, its failure opens it again.
"""

from collections.abc import Callable

TRIAL_WAIT_S = 1.0  # told to those who come while the one trial is under way


class Breaker:
    """Counts failures in a row: no connection, time-outs, 5xx."""

    def __init__(
        self, *, failures_max: int, cool_off_s: float, monotonic: Callable[[], float]
    ) -> None:
        self._failures_max = failures_max
        self._cool_off_s = cool_off_s
        self._monotonic = monotonic
        self._failures = 0
        self._opened_at: float | None = None
        self._trial = False

    @property
    def state(self) -> str:
        """ "closed", "open" or "half-open"."""
        if self._opened_at is None:
            return "closed"
        cooled = self._monotonic() - self._opened_at >= self._cool_off_s
        return "half-open" if cooled or self._trial else "open"

    def admit(self) -> float:
        """0: go, and say how it went. Else the seconds until it is worth asking again."""
        if self._opened_at is None:
            return 0.0
        wait_s = self._opened_at + self._cool_off_s - self._monotonic()
        if wait_s > 0:
            return wait_s
        if self._trial:
            return TRIAL_WAIT_S
        self._trial = True
        return 0.0

    def succeeded(self) -> None:
        """The system answered, whatever it said."""
        self._failures = 0
        self._opened_at = None
        self._trial = False

    def failed(self) -> None:
        """The system did not answer, or with 5xx."""
        self._failures += 1
        if self._trial or self._failures >= self._failures_max:
            self._opened_at = self._monotonic()
        self._trial = False

    def abandoned(self) -> None:
        """Nothing was learnt: the caller gave up before an answer."""
        self._trial = False
