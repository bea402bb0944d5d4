"""FHIR dates as half-open intervals, and the comparisons that search prefixes make.

A search value without a zone is taken as UTC. Source: https://hl7.org/fhir/R4/search.html#date
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

Interval = tuple[datetime, datetime]  # from, up to but without
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
SHAPE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)"
    r"(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?)?)?"
)
Compare = Callable[[Interval, Interval], bool]  # of the resource, of the search


def _equal(have: Interval, want: Interval) -> bool:
    return want[0] <= have[0] and have[1] <= want[1]


COMPARISONS: Mapping[str, Compare] = {
    "eq": _equal,
    "ne": lambda have, want: not _equal(have, want),
    "gt": lambda have, want: have[1] > want[1],
    "lt": lambda have, want: have[0] < want[0],
    "ge": lambda have, want: have[1] > want[1] or _equal(have, want),
    "le": lambda have, want: have[0] < want[0] or _equal(have, want),
    "sa": lambda have, want: have[0] >= want[1],
    "eb": lambda have, want: have[1] <= want[0],
    "ap": lambda have, want: have[0] < want[1] and want[0] < have[1],
}


def parse_interval(text: str) -> Interval | None:
    """The time that a date, dateTime or instant covers: "2026-03" is all of March."""
    match = SHAPE.fullmatch(text.replace(" ", "+"))  # a "+" that a form decoder ate
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        clock = (int(hour or 0), int(minute or 0), int(second or 0))
        micro = int((fraction or "0")[:6].ljust(6, "0"))
        start = datetime.fromisoformat(
            f"{year}-{month or '01'}-{day or '01'}T"
            f"{clock[0]:02}:{clock[1]:02}:{clock[2]:02}.{micro:06}{_zone(zone)}"
        )
        return start, _end(start, month=month, day=day, hour=hour, second=second, micro=micro)
    except (ValueError, OverflowError):
        return None


def interval_of(value: Any) -> Interval | None:
    """The interval of a date-like element or a Period; None if it has none."""
    if isinstance(value, str):
        return parse_interval(value)
    if isinstance(value, dict):
        start, end = value.get("start"), value.get("end")
        low = parse_interval(start) if isinstance(start, str) else None
        high = parse_interval(end) if isinstance(end, str) else None
        if low or high:
            return (low[0] if low else EARLIEST, high[1] if high else LATEST)
    return None


def _zone(zone: str | None) -> str:
    return "+00:00" if zone in (None, "Z") else str(zone)


def _end(
    start: datetime,
    *,
    month: str | None,
    day: str | None,
    hour: str | None,
    second: str | None,
    micro: int,
) -> datetime:
    if month is None:
        return start.replace(year=start.year + 1)
    if day is None:
        return (start + timedelta(days=32)).replace(day=1)
    if hour is None:
        return start + timedelta(days=1)
    if second is None:
        return start + timedelta(minutes=1)
    return start + (timedelta(milliseconds=1) if micro else timedelta(seconds=1))
