"""HL7 v2 timestamps (DT, DTM, TS) to FHIR dates, with the precision that was sent.

A time without a zone is local to its sender, so the caller says which zone that is. Nothing here
looks at a clock or a locale. Source: HL7 v2.9 section 2.A.22; FHIR R4 dateTime.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

DTM = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(\.\d{1,6})?)?)?)?)?)?([+-]\d{4})?",
    re.ASCII,
)
OFFSET_MINUTES_MAX = 14 * 60
DTM_DIGITS = re.compile(r"\d*", re.ASCII)
SECONDS = 14  # digits of a timestamp that goes to the second


@lru_cache(maxsize=4096)  # a message says the same time in several places
def fhir_datetime(value: str, *, zone: tzinfo) -> str:
    """FHIR dateTime of e.g. "202401021530+0200". Raises ValueError.

    Minutes and seconds that were not sent are zero where an hour was, since FHIR wants them.
    """
    match = DTM.fullmatch(value.strip())
    if match is None:
        raise ValueError("not a timestamp")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    if day is None:
        datetime(int(year), int(month or 1), 1, tzinfo=UTC)  # refuses month 13 and year 0
        return "-".join(part for part in (year, month) if part)
    if hour is None:
        return date(int(year), int(month), int(day)).isoformat()
    moment = datetime(
        int(year),
        int(month),
        int(day),
        int(hour),
        int(minute or 0),
        int(second or 0),
        tzinfo=_offset(offset) if offset else zone,
    )
    text = moment.isoformat(timespec="seconds")
    return text[:19] + (fraction or "") + text[19:25]  # zones before 1900 have seconds


def fhir_date(value: str) -> str:
    """FHIR date of a timestamp of any precision. Raises ValueError."""
    return fhir_datetime(value, zone=UTC)[:10]


def fhir_instant(value: str, *, zone: tzinfo) -> str:
    """FHIR instant; a time of day must have been sent. Raises ValueError."""
    found = fhir_datetime(value, zone=zone)
    if "T" not in found:
        raise ValueError("without a time of day")
    return found


def moment(value: str, *, zone: tzinfo) -> datetime:
    """The point in time, the start of it where it is not precise. Raises ValueError."""
    found = fhir_datetime(value, zone=zone)
    if "T" in found:
        return datetime.fromisoformat(found)
    parts = [int(part) for part in found.split("-")]
    year, month, day = [*parts, 1, 1][:3]
    return datetime(year, month, day, tzinfo=zone)


def span(value: str, *, zone: tzinfo) -> tuple[datetime, datetime]:
    """From when until when a timestamp can mean, by the precision that was sent: both ends are
    the same where it goes to the second. Raises ValueError."""
    start = moment(value, zone=zone)
    digits = len(DTM_DIGITS.match(value.strip())[0])  # type: ignore[index]
    if digits >= SECONDS:
        return start, start
    lengths = {4: timedelta(days=366), 6: timedelta(days=31), 8: timedelta(days=1)}
    length = lengths.get(digits) or (timedelta(hours=1) if digits == 10 else timedelta(minutes=1))
    return start, start + length


def _offset(text: str) -> tzinfo:
    minutes = int(text[1:3]) * 60 + int(text[3:])
    if minutes > OFFSET_MINUTES_MAX or int(text[3:]) > 59:
        raise ValueError("not a zone")
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
