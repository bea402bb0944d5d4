"""Dates of consents: precision, zones, edges, and the end of time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.policy.consent_codes import Match
from chartgate.policy.consent_times import Period, moment, not_older

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026", "2026-01-01", "2027-01-01"),
        ("2026-12", "2026-12-01", "2027-01-01"),
        ("2024-02", "2024-02-01", "2024-03-01"),
        ("2024-02-29", "2024-02-29", "2024-03-01"),
        ("2026-06-15T12:00:00Z", "2026-06-15T12:00:00+00:00", "2026-06-15T12:00:01+00:00"),
        ("2026-06-15T12:00:00.25+02:00", "2026-06-15T12:00:00.25+02:00", "2026-06-15T12:00:01.25+02:00"),
    ],
)  # fmt: skip
def test_moment_is_as_long_as_its_precision(text: str, start: str, end: str) -> None:
    assert (moment(text).start, moment(text).end) == (at(start), at(end))


@pytest.mark.parametrize("text", ["9999", "9999-12", "9999-12-31", "9999-12-31T23:59:59Z"])
def test_the_end_of_time_is_no_error_and_never_over(text: str) -> None:
    for_ever = Period(end=moment(text))
    assert for_ever.holds_instant(at("9000-01-01T00:00:00+00:00"), None) is Match.YES
    assert Period(start=moment("0001")).holds_instant(at("2026-01-01T00:00:00Z"), None) is Match.YES


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2026-13", "2026-02-30", "26-01-01", "2026-06-15T12:00:00", "2026-06-15T12:00Z",
     "2026-06-15T12:00:60Z", "0000", "20260615", "2026-06-15T24:00:00Z"],
)  # fmt: skip
def test_what_is_no_fhir_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        moment(text)


@pytest.mark.parametrize(
    ("instant", "zone", "expected"),
    [
        # "2026-06-15" begins at 10:00 the day before in the east, and everywhere by noon
        ("2026-06-14T09:59:59.999999+00:00", None, Match.NO),
        ("2026-06-14T10:00:00+00:00", None, Match.UNSURE),
        ("2026-06-15T11:59:59+00:00", None, Match.UNSURE),
        ("2026-06-15T12:00:00+00:00", None, Match.YES),
        # "2026-06-16" ends at 10:00 in the east, and everywhere by noon of the next
        ("2026-06-16T09:59:59+00:00", None, Match.YES),
        ("2026-06-16T10:00:00+00:00", None, Match.UNSURE),
        ("2026-06-17T11:59:59+00:00", None, Match.UNSURE),
        ("2026-06-17T12:00:00+00:00", None, Match.NO),
        # in Berlin it is clear
        ("2026-06-14T21:59:59+00:00", BERLIN, Match.NO),
        ("2026-06-14T22:00:00+00:00", BERLIN, Match.YES),
        ("2026-06-16T21:59:59+00:00", BERLIN, Match.YES),
        ("2026-06-16T22:00:00+00:00", BERLIN, Match.NO),
        # wherever the one who asks is
        ("2026-06-15T00:00:00+14:00", BERLIN, Match.NO),
        ("2026-06-15T23:00:00-12:00", None, Match.UNSURE),
    ],
)
def test_days_without_a_zone_at_their_edges(
    instant: str, zone: ZoneInfo | None, expected: Match
) -> None:
    period = Period(start=moment("2026-06-15"), end=moment("2026-06-16"))
    assert period.holds_instant(at(instant), zone) is expected


def test_days_of_the_change_to_summer_time_have_23_hours() -> None:
    day = Period(start=moment("2026-03-29"), end=moment("2026-03-29"))
    first, after = at("2026-03-28T23:00:00+00:00"), at("2026-03-29T22:00:00+00:00")
    assert day.holds((first, after), BERLIN) is Match.YES
    assert day.holds_instant(after, BERLIN) is Match.NO
    assert day.holds_instant(first - timedelta(microseconds=1), BERLIN) is Match.NO


INSTANTS = st.datetimes(
    min_value=datetime(2020, 1, 1),  # noqa: DTZ001  hypothesis wants them so
    max_value=datetime(2030, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, BERLIN, ZoneInfo("Pacific/Kiritimati")]),
)
TEXTS = st.dates(min_value=datetime(2020, 1, 1, tzinfo=UTC).date(), max_value=datetime(2029, 1, 1, tzinfo=UTC).date()).flatmap(
    lambda d: st.sampled_from([str(d), str(d)[:7], str(d)[:4], f"{d}T10:00:00Z", f"{d}T10:00:00-05:00"])
)  # fmt: skip


@given(TEXTS, TEXTS, INSTANTS, st.sampled_from([BERLIN, ZoneInfo("Pacific/Apia"), UTC]))
def test_what_is_sure_without_a_zone_is_so_in_every_zone(
    start: str, end: str, instant: datetime, zone: ZoneInfo
) -> None:
    period = Period(start=moment(start), end=moment(end))
    blind, seen = period.holds_instant(instant, None), period.holds_instant(instant, zone)
    assert seen is not Match.UNSURE
    assert blind in (seen, Match.UNSURE)


@pytest.mark.parametrize(
    ("one", "other", "zone", "expected"),
    [
        ("2026-06-15", "2026-06-15", None, True),
        ("2026-06-16", "2026-06-15", None, True),
        ("2026-06-14", "2026-06-15", None, False),
        ("2026-06-15", "2026-06-15T08:00:00Z", None, False),
        ("2026-06-15T08:00:00Z", "2026-06-15", None, False),  # it may have been later that day
        ("2026-06-18T08:00:00Z", "2026-06-15", None, True),
        ("2026-06-15T10:00:00+02:00", "2026-06-15T07:59:59Z", None, True),
        ("2026-06-15T09:59:59+02:00", "2026-06-15T08:00:00Z", None, False),
        ("2026-06-16T00:00:00+02:00", "2026-06-15", BERLIN, True),
        ("2026-06-15T23:59:59+02:00", "2026-06-15", BERLIN, False),
        ("2026", "2026-06-15", None, False),
    ],
)
def test_not_older_needs_to_be_sure(
    one: str, other: str, zone: ZoneInfo | None, expected: bool
) -> None:
    assert not_older(moment(one), moment(other), zone) is expected
    assert not not_older(None, moment(other), zone)
    assert not not_older(moment(one), None, zone)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-06-15", "2026-06-14", True),
        ("2026-06-15", "2026-06-15", False),
        ("2026-06-15", "2026", False),
        ("2026-06-15T08:00:00Z", "2026-06-15T07:00:00Z", True),
        ("2026-06-15T08:00:00Z", "2026-06-15", False),
        ("2026-06-15T08:00:00Z", "2026-06-13", True),
    ],
)
def test_period_that_ends_before_it_starts(start: str, end: str, expected: bool) -> None:
    assert Period(start=moment(start), end=moment(end)).is_backward is expected
