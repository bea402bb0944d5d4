"""The short form of the restarts: a few bookings, with PostgreSQL restarted under them."""

from benchmarks.restarts import campaign


async def test_restarts_of_the_store_double_lose_and_stick_nothing() -> None:
    total = await campaign(40, walkers=1, every_s=(0.2, 0.6), seed=3)
    assert total["held"], total
    assert total["proposals"] == 40
    assert total["states"] == {"verified": 40}
    assert sum(total["restarts"].values()) >= 3, "too few restarts to prove anything"
