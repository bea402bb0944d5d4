"""The clock."""

from datetime import UTC, datetime, timedelta

from chartgate.clock import utc_now


def test_now_has_utc_as_its_zone_and_moves_on() -> None:
    first = utc_now()
    assert first.tzinfo is UTC
    assert first <= utc_now() <= first + timedelta(minutes=1)
    assert abs(first - datetime.now().astimezone()) < timedelta(minutes=1)
