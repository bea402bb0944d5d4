"""No answer without proof: where events stay without a signed head for too long, reads and changes
are refused. The audit would be written, but nobody could show later that it was not rewritten.
"""

from datetime import datetime
from time import monotonic

from chartgate.clock import Clock
from chartgate.errors import Unavailable
from chartgate.store.database import Database, promptly
from chartgate.store.queries import load_queries

QUERIES = load_queries("ledger.sql")

LOOK_EVERY_S = 5.0
LOOK_AGAIN_S = 0.5  # while it lags
SAY_UNPROVEN = (
    "the audit has had no signed head for too long, so nothing is answered; a worker with its "
    "signing key must run"
)


class Proven:
    """Asked before each answer and change; looks at the store now and then."""

    def __init__(self, database: Database, *, max_s: float, clock: Clock) -> None:
        self._database = database
        self._max_s = max_s
        self._clock = clock
        self._next_look = 0.0
        self._lags = False

    async def __call__(self) -> None:
        """Raises Unavailable while the newest signed head lags more than it may."""
        now = monotonic()
        if now >= self._next_look:
            # First, so that a crowd does not look all at once; it goes by what was seen last.
            self._next_look = now + LOOK_AGAIN_S
            self._lags = await self.lag_s() > self._max_s
            self._next_look = now + (LOOK_AGAIN_S if self._lags else LOOK_EVERY_S)
        if self._lags:
            raise Unavailable(SAY_UNPROVEN)

    async def lag_s(self) -> float:
        """How old the oldest event is that no signed head covers; 0: there is none."""
        async with promptly():
            oldest: datetime | None = await self._database.fetch_value(QUERIES["oldest_unsigned"])
        return (self._clock() - oldest).total_seconds() if oldest else 0.0
