"""Timestamps: the precision that was sent, the zone that was meant, and nothing invented."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.formats.hl7v2_time import fhir_date, fhir_datetime, fhir_instant, moment


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2024", "2024"),
        ("202402", "2024-02"),
        ("20240229", "2024-02-29"),
        ("2024022913", "2024-02-29T13:00:00+00:00"),
        ("202402291305", "2024-02-29T13:05:00+00:00"),
        ("20240229130507.1234+0215", "2024-02-29T13:05:07.1234+02:15"),
        ("20240229130507-0000", "2024-02-29T13:05:07+00:00"),
        (" 20240229 ", "2024-02-29"),
    ],
)
def test_timestamp_keeps_its_precision(sent: str, expected: str) -> None:
    assert fhir_datetime(sent, zone=UTC) == expected


@pytest.mark.parametrize(
    "sent",
    ["", "24", "202413", "20240230", "2024022925", "20240229130561", "2024022913+2500", "today",
     "0000", "20240229130507+0060", "２０２４"],
)  # fmt: skip
def test_timestamp_when_it_is_none_is_refused(sent: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        fhir_datetime(sent, zone=UTC)


def test_time_without_a_zone_is_local_to_its_sender() -> None:
    berlin = timezone(timedelta(hours=1))
    assert fhir_datetime("202401021530", zone=berlin) == "2024-01-02T15:30:00+01:00"
    assert fhir_datetime("202401021530-0500", zone=berlin) == "2024-01-02T15:30:00-05:00"


def test_zone_of_long_ago_has_no_seconds() -> None:
    try:
        amsterdam = ZoneInfo("Europe/Amsterdam")
    except (OSError, KeyError):
        pytest.skip("this machine has no time zones")
    assert len(fhir_datetime("18800101120000", zone=amsterdam)) == len("1880-01-01T12:00:00+00:18")


def test_instant_needs_a_time_of_day_and_a_date_drops_it() -> None:
    assert fhir_date("20240102030405+0100") == "2024-01-02"
    assert fhir_instant("202401020304", zone=UTC) == "2024-01-02T03:04:00+00:00"
    with pytest.raises(ValueError, match="time of day"):
        fhir_instant("20240102", zone=UTC)


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001
def test_timestamp_names_the_same_moment(when: datetime) -> None:
    when = when.replace(microsecond=0, tzinfo=UTC)
    assert moment(when.strftime("%Y%m%d%H%M%S"), zone=UTC) == when
    assert datetime.fromisoformat(fhir_datetime(when.strftime("%Y%m%d%H%M%S"), zone=UTC)) == when
