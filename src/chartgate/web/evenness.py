"""Makes "hidden" and "not there" take equally long.

What is hidden may be known from the record at once, or cost a look at a consent; what is not
there always costs a question to the system of record. So each of the two waits until a moment
drawn from how long the other took of late, and both take the longer of two such draws. The two
are kept apart, so that nobody can wear down the one by asking for the other.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal

Kind = Literal["hidden", "missing"]

KEPT = 64  # of each kind, of each type at each site
HOLD_MAX_S = 0.5  # a system of record that is slower than this says so in other ways


class Evenness:
    """How long answers of "there is no such resource" took in this process."""

    def __init__(
        self,
        *,
        draw: Callable[[deque[float]], float] = random.choice,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._took: dict[tuple[str, str, Kind], deque[float]] = {}
        self._draw = draw
        self._pause = pause

    async def hold(self, site: str, resource_type: str, kind: Kind, *, took_s: float) -> None:
        """Returns when it may be answered. The caller sees to it that site and type are ones
        that exist, so that there are only so many."""
        own = self._took.setdefault((site, resource_type, kind), deque(maxlen=KEPT))
        own.append(took_s)
        other: Kind = "missing" if kind == "hidden" else "hidden"
        if others := self._took.get((site, resource_type, other)):
            left_s = min(self._draw(others), HOLD_MAX_S) - took_s
            if left_s > 0:
                await self._pause(left_s)
