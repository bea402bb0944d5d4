"""In which order writes are taken back: the newest first, and never one before what stands on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush

from chartgate.model.write import Effect


@dataclass(frozen=True, kw_only=True)
class Landed:
    """One write that reached the chart."""

    id: str
    started_at: datetime  # of its intent
    effects: tuple[Effect, ...]


def newest_first(writes: Sequence[Landed]) -> tuple[str, ...]:
    """Their ids. Versions tell what stands on what, whatever the clocks said; time decides
    between the others."""
    by_version: dict[tuple[str, str | None], int] = {
        (e.reference, e.version_after): number
        for number, write in enumerate(writes)
        for e in write.effects
        if e.version_after is not None
    }
    below: list[set[int]] = [set() for _ in writes]  # what each one stands on
    waits = [0] * len(writes)  # how many stand on it
    for number, write in enumerate(writes):
        for effect in write.effects:
            ground = by_version.get((effect.reference, effect.version_before))
            if ground is not None and ground != number and ground not in below[number]:
                below[number].add(ground)
                waits[ground] += 1
    free: list[tuple[float, int]] = []
    for number, count in enumerate(waits):
        if not count:
            heappush(free, (-_time(writes[number]), number))
    order: list[int] = []
    while free:
        _, number = heappop(free)
        order.append(number)
        for ground in below[number]:
            waits[ground] -= 1
            if not waits[ground]:
                heappush(free, (-_time(writes[ground]), ground))
    # Versions that lead in a circle are no history; then time alone decides.
    left = sorted(set(range(len(writes))) - set(order), key=lambda n: (-_time(writes[n]), n))
    return tuple(writes[number].id for number in (*order, *left))


def _time(write: Landed) -> float:
    return write.started_at.timestamp()
