"""Hours by the wall clock of a place: over midnight, on holidays, when clocks change."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.errors import ConfigError
from chartgate.model.roster import DAY_MINUTES, DAYS, Calendar, Hours
from chartgate.policy.hours import calendar_of, covers, day_of, hours_of, minute_of

BERLIN = Calendar(zone=ZoneInfo("Europe/Berlin"), holidays=frozenset({"2026-12-25"}))
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri")


def at(text: str) -> datetime:
    """A moment by Berlin's wall clock."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN.zone).astimezone(UTC)


def test_day_hours_begin_with_their_first_minute_and_end_before_their_last() -> None:
    hours = hours_of({"days": list(WEEKDAYS), "from": "07:30", "to": "18:00"})
    assert not covers(hours, BERLIN, at("2026-11-20T07:29:59"))
    assert covers(hours, BERLIN, at("2026-11-20T07:30"))
    assert covers(hours, BERLIN, at("2026-11-20T17:59:59"))
    assert not covers(hours, BERLIN, at("2026-11-20T18:00"))
    assert not covers(hours, BERLIN, at("2026-11-21T12:00"))  # a Saturday


def test_hours_over_midnight_count_to_the_day_on_which_they_began() -> None:
    friday_night = hours_of({"days": ["fri"], "from": "22:00", "to": "06:00"})
    assert covers(friday_night, BERLIN, at("2026-11-20T23:00"))
    assert covers(friday_night, BERLIN, at("2026-11-21T05:59"))
    assert not covers(friday_night, BERLIN, at("2026-11-21T06:00"))
    assert not covers(friday_night, BERLIN, at("2026-11-21T23:00"))
    assert not covers(friday_night, BERLIN, at("2026-11-20T05:00"))


def test_holiday_is_no_weekday() -> None:
    assert day_of(at("2026-12-25T12:00").astimezone(BERLIN.zone).date(), BERLIN) == "holiday"
    fridays = hours_of({"days": ["fri"]})
    assert covers(fridays, BERLIN, at("2026-12-18T12:00"))
    assert not covers(fridays, BERLIN, at("2026-12-25T12:00"))
    assert covers(hours_of({"days": ["holiday"]}), BERLIN, at("2026-12-25T12:00"))
    assert covers(Hours(), BERLIN, at("2026-12-25T12:00"))


def test_clock_change_moves_the_hours_with_the_wall_clock() -> None:
    hours = hours_of({"from": "08:00", "to": "09:00"})
    assert covers(hours, BERLIN, datetime(2026, 3, 28, 7, 30, tzinfo=UTC))  # winter: +1
    assert covers(hours, BERLIN, datetime(2026, 3, 29, 6, 30, tzinfo=UTC))  # summer: +2
    assert not covers(hours, BERLIN, datetime(2026, 3, 29, 7, 30, tzinfo=UTC))


@given(
    begin=st.integers(0, DAY_MINUTES - 1),
    end=st.integers(0, DAY_MINUTES),
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    minutes=st.integers(0, 14 * DAY_MINUTES),
)
def test_hours_and_those_between_them_cover_each_moment_once(
    begin: int, end: int, days: set[str], minutes: int
) -> None:
    if begin == end or (begin, end) == (0, DAY_MINUTES):
        return
    calendar = Calendar()
    moment = datetime(2026, 11, 16, tzinfo=UTC) + timedelta(minutes=minutes)
    on = Hours(days=tuple(days), begin=begin, end=end)
    off = Hours(days=DAYS, begin=end % DAY_MINUTES, end=begin or DAY_MINUTES)
    others = Hours(days=tuple(set(DAYS) - days), begin=begin, end=end)
    assert sum(covers(hours, calendar, moment) for hours in (on, off, others) if hours.days) == 1


@pytest.mark.parametrize(
    "text", ["7:30", "25:00", "24:01", "12:60", "0730", "", None, 730, "٠٧:٣٠"]
)
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(ConfigError):
        minute_of(text)


@pytest.mark.parametrize(
    "value",
    [
        {"days": ["monday"]},
        {"days": []},
        {"days": "mon"},
        {"from": "08:00", "to": "08:00"},
        {"from": "24:00", "to": "08:00"},
    ],
)
def test_hours_that_cover_nothing_or_that_nobody_knows_are_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        hours_of(value)


@pytest.mark.parametrize(
    ("zone", "holidays"),
    [
        ("Mars/Base", []),
        ("", []),
        (None, []),
        ("../etc/passwd", []),
        ("UTC", ["25.12."]),
        ("UTC", "x"),
    ],
)
def test_zones_and_dates_that_there_are_not_are_refused(zone: object, holidays: object) -> None:
    with pytest.raises(ConfigError):
        calendar_of(zone, holidays)
