"""Times whose place in FHIR depends on their precision, and the bounds of what repeats."""

from datetime import date, datetime, timedelta
from typing import Any

from chartgate.formats.hl7v2 import Composite
from chartgate.transform.hl7v2.datatypes import Codes, Context, date_time, valued
from chartgate.transform.hl7v2.order_kinds import TIME

DAY = 10  # characters of a date: "2024-01-02"
IN_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "wk": 604800}


def timed_instant(cx: Composite, context: Context, codes: Codes) -> str | None:
    """DTM as instant; None where no time of day was sent."""
    found = date_time(cx, context)
    return found if found and "T" in found else None


def untimed_date(cx: Composite, context: Context, codes: Codes) -> str | None:
    """DTM as date; None where a time of day was sent."""
    found = date_time(cx, context)
    return None if found is None or "T" in found else found


def times_of_day(cx: Composite, context: Context, codes: Codes) -> list[str] | None:
    """The explicit times of an RI, "0600,1800"; what is no time is left out."""
    matches = (TIME.fullmatch(text.strip()) for text in (valued(cx) or "").split(","))
    return [f"{m[1]}:{m[2] or '00'}:{m[3] or '00'}" for m in matches if m] or None


def close_bounds(repeat: dict[str, Any]) -> None:
    """A repeat has one kind of bounds: with a start or an end, a length becomes the other one."""
    length, period = repeat.get("boundsDuration"), repeat.get("boundsPeriod")
    if not length or not period:
        return
    del repeat["boundsDuration"]
    seconds = length["value"] * IN_SECONDS.get(length["code"], 0)
    if "end" not in period:
        end = _moved(period["start"], seconds)
        repeat["boundsPeriod"] = {**period, **({"end": end} if end else {})}
    elif "start" not in period:
        start = _moved(period["end"], -seconds)
        repeat["boundsPeriod"] = {**({"start": start} if start else {}), **period}


def _moved(moment: str, seconds: float) -> str | None:
    """A dateTime so much later, as precise as it was; None where that cannot be said."""
    try:
        if not seconds:
            return None
        if "T" in moment:
            found = datetime.fromisoformat(moment) + timedelta(seconds=seconds)
            return found.isoformat(timespec="seconds")
        if len(moment) == DAY and seconds % IN_SECONDS["d"] == 0:
            return (date.fromisoformat(moment) + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        return None
    return None
