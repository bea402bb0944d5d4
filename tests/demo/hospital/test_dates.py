"""Search prefixes on intervals obey the laws one expects of them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.demo.hospital.dates import COMPARISONS, Interval, interval_of, parse_interval

TEXTS = st.one_of(
    st.dates().map(lambda d: d.isoformat()),
    st.dates().map(lambda d: d.isoformat()[:7]),
    st.dates().map(lambda d: d.isoformat()[:4]),
    st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)).map(  # noqa: DTZ001
        lambda d: d.strftime("%Y-%m-%dT%H:%M:%SZ")
    ),
)


def parsed(text: str) -> Interval:
    interval = parse_interval(text)
    assert interval is not None
    return interval


@given(have=TEXTS.filter(lambda t: t[:4] != "9999"), want=TEXTS.filter(lambda t: t[:4] != "9999"))
def test_prefixes_agree_with_one_another(have: str, want: str) -> None:
    a, b = parsed(have), parsed(want)
    answer = {name: compare(a, b) for name, compare in COMPARISONS.items()}
    assert answer["eq"] != answer["ne"]
    assert answer["ge"] == (answer["gt"] or answer["eq"])
    assert answer["le"] == (answer["lt"] or answer["eq"])
    assert not (answer["sa"] and answer["eb"])
    assert answer["gt"] or not answer["sa"]
    assert answer["lt"] or not answer["eb"]
    assert answer["ap"] == (not answer["sa"] and not answer["eb"])
    assert COMPARISONS["eq"](a, a)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026", (2026, 1, 1), (2027, 1, 1)),
        ("2026-12", (2026, 12, 1), (2027, 1, 1)),
        ("2026-02-28", (2026, 2, 28), (2026, 3, 1)),
        ("2026-03-02T09:00", (2026, 3, 2, 9), (2026, 3, 2, 9, 1)),
        ("2026-03-02T09:00:00+01:00", (2026, 3, 2, 8), (2026, 3, 2, 8, 0, 1)),
        ("2026-03-02T09:00:00.000Z", (2026, 3, 2, 9), (2026, 3, 2, 9, 0, 1)),
    ],
)
def test_an_interval_is_as_wide_as_what_was_said(
    text: str, start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    first, last = datetime(*start, tzinfo=UTC), datetime(*end, tzinfo=UTC)  # type: ignore[misc, arg-type]
    assert parse_interval(text) == (first, last)


@pytest.mark.parametrize("text", ["", "26", "2026-13", "2026-02-30", "tomorrow", "2026-1-1"])
def test_what_is_no_date_has_no_interval(text: str) -> None:
    assert parse_interval(text) is None


def test_an_open_period_reaches_as_far_as_it_says() -> None:
    open_end = interval_of({"start": "2026-03-02"})
    assert open_end is not None
    assert COMPARISONS["gt"](open_end, parsed("2100"))
    assert interval_of({}) is None
    assert interval_of(7) is None
