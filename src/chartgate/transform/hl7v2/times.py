"""Times whose place in FHIR depends on their precision, and the parts of a Timing."""

from chartgate.formats.hl7v2 import Composite
from chartgate.transform.hl7v2.datatypes import Codes, Context, date_time


def timed_instant(cx: Composite, context: Context, codes: Codes) -> str | None:
    """DTM as instant; None where no time of day was sent."""
    found = date_time(cx, context)
    return found if found and "T" in found else None


def untimed_date(cx: Composite, context: Context, codes: Codes) -> str | None:
    """DTM as date; None where a time of day was sent."""
    found = date_time(cx, context)
    return None if found is None or "T" in found else found
