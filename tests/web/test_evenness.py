"""Hidden and missing take equally long, and neither can be worn down by asking for the other."""

import asyncio

from chartgate.web.evenness import HOLD_MAX_S, Evenness


class Pauses:
    """How long was waited."""

    def __init__(self) -> None:
        self.made: list[float] = []

    async def pause(self, seconds: float) -> None:
        self.made.append(round(seconds, 6))


def evenness(pauses: Pauses) -> Evenness:
    return Evenness(draw=max, pause=pauses.pause)


async def test_quick_one_waits_as_long_as_the_slow_ones_took() -> None:
    pauses = Pauses()
    even = evenness(pauses)
    await even.hold("s", "Patient", "missing", took_s=0.05)
    await even.hold("s", "Patient", "hidden", took_s=0.002)
    await even.hold("s", "Patient", "missing", took_s=0.001)
    assert pauses.made == [0.048, 0.001]


async def test_slow_one_does_not_wait() -> None:
    pauses = Pauses()
    even = evenness(pauses)
    await even.hold("s", "Patient", "missing", took_s=0.01)
    await even.hold("s", "Patient", "hidden", took_s=0.02)
    assert pauses.made == []


async def test_flood_of_one_kind_does_not_make_the_other_quicker() -> None:
    pauses = Pauses()
    even = evenness(pauses)
    await even.hold("s", "Patient", "missing", took_s=0.05)
    for _ in range(1_000):
        await even.hold("s", "Patient", "hidden", took_s=0.002)
    assert set(pauses.made) == {0.048}


async def test_types_and_sites_are_apart_and_the_wait_is_bounded() -> None:
    pauses = Pauses()
    even = evenness(pauses)
    await even.hold("s", "Patient", "missing", took_s=30.0)
    await even.hold("s", "Slot", "hidden", took_s=0.001)
    await even.hold("t", "Patient", "hidden", took_s=0.001)
    assert pauses.made == []
    await even.hold("s", "Patient", "hidden", took_s=0.1)
    assert pauses.made == [round(HOLD_MAX_S - 0.1, 6)]


async def test_many_at_once_each_wait_for_themselves() -> None:
    pauses = Pauses()
    even = evenness(pauses)
    await even.hold("s", "Patient", "missing", took_s=0.05)
    await asyncio.gather(*(even.hold("s", "Patient", "hidden", took_s=0.01) for _ in range(9)))
    assert pauses.made == [0.04] * 9
