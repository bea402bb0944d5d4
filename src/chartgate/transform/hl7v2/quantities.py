"""Numbers, ranges, times that repeat, and attachments of HL7 v2 as FHIR data types."""

import base64
import binascii
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from chartgate.formats.hl7v2 import Composite
from chartgate.transform.hl7v2.code_maps import code_map, coding_system_uri
from chartgate.transform.hl7v2.datatypes import (
    Codes,
    Context,
    Unmappable,
    code_of,
    concept,
    date_time,
    put,
    translation,
    valued,
)

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
COMPARATORS = ("<", "<=", ">", ">=")
UCUM = "http://unitsofmeasure.org"
# ISO+ and everyday names of units of time, as UCUM.
TIME_UNITS = {
    **dict.fromkeys(("S", "SEC", "SECOND", "SECONDS"), "s"),
    **dict.fromkeys(("M", "MIN", "MINUTE", "MINUTES"), "min"),
    **dict.fromkeys(("H", "HR", "HOUR", "HOURS"), "h"),
    **dict.fromkeys(("D", "DAY", "DAYS"), "d"),
    **dict.fromkeys(("W", "WK", "WEEK", "WEEKS"), "wk"),
    **dict.fromkeys(("L", "MO", "MONTH", "MONTHS"), "mo"),
    **dict.fromkeys(("A", "Y", "YR", "YEAR", "YEARS"), "a"),
}
INTERVAL = re.compile(r"Q(\d{1,4})([SMHDWL])", re.ASCII)


def number(text: str | None) -> int | float | None:
    """A decimal that JSON keeps exactly. Raises Unmappable."""
    if text is None:
        return None
    if not NUMBER.fullmatch(text):
        raise Unmappable("is not a number")
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise Unmappable("is not a number") from None
    if exact == exact.to_integral_value() and "." not in text and abs(exact) < 2**53:
        return int(exact)
    if Decimal(repr(float(exact))) != exact:
        raise Unmappable("has more digits than can be kept exactly")
    return float(exact)


def decimal(cx: Composite, context: Context, codes: Codes) -> int | float | None:
    """NM, or the number of a CQ."""
    return number(valued(cx))


def known_decimal(cx: Composite, context: Context, codes: Codes) -> int | float | None:
    """ST that may hold a number; None for one that does not."""
    return number_or_none(valued(cx))


def unsigned_integer(cx: Composite, context: Context, codes: Codes) -> int | None:
    """NM or the number of a CQ, as unsignedInt."""
    found = number(valued(cx))
    if found is not None and (found != int(found) or not 0 <= found < 2**31):
        raise Unmappable("is not a whole number from 0")
    return None if found is None else int(found)


def quantity(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """CQ, or an NM alone: a number, and its unit in the second component."""
    value = number(valued(cx))
    return None if value is None else {"value": value, **unit(cx, 2)}


def money(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """CP, or an MO: an amount and its currency."""
    value = number(valued(cx))
    if value is None:
        return None
    found: dict[str, Any] = {"value": value}
    currency = (valued(cx, 1, 2) or valued(cx, 2) or "").upper()
    put(found, "currency", currency if CURRENCY.fullmatch(currency) else None)
    return found


def unit_only(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """CWE of a unit, as what a Quantity says of it."""
    return unit(cx, 0) or None


def days(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """NM that counts days, as Duration."""
    value = number(valued(cx))
    return None if value is None else {"value": value, "unit": "d", "system": UCUM, "code": "d"}


def unit(cx: Composite, component: int) -> dict[str, Any]:
    """unit, system and code of a unit: a CWE, or (`component` > 0) one inside a CQ."""
    if component:
        parts = [valued(cx, component, n) for n in (1, 2, 3)]
    else:
        parts = [valued(cx, n) for n in (1, 2, 3)]
    found: dict[str, Any] = {}
    put(found, "unit", parts[1] or parts[0])
    system = coding_system_uri(parts[2]) if parts[2] else None
    if parts[0] and system:
        found["system"], found["code"] = system, " ".join(parts[0].split())
    return found


def structured_number(text: Composite) -> tuple[str, dict[str, Any]] | None:
    """SN as (element kind, value): Quantity, Range or Ratio, else a string."""
    comparator, first, separator, second = (valued(text, n) for n in (1, 2, 3, 4))
    if first is None:
        return None
    low = number(first)
    if separator is None and second is None:
        found: dict[str, Any] = {"value": low}
        if comparator in COMPARATORS:
            found["comparator"] = comparator
        return "Quantity", found
    if separator == "-" and comparator is None:
        return "Range", {"low": {"value": low}, **_high(second)}
    if separator in (":", "/"):
        numerator: dict[str, Any] = {"value": low}
        if comparator in COMPARATORS:
            numerator["comparator"] = comparator
        denominator = number(second)
        below = {} if denominator is None else {"denominator": {"value": denominator}}
        return "Ratio", {"numerator": numerator, **below}
    if separator == "+":
        return "String", {"text": f"{comparator or ''}{first}+"}
    written = [part for part in (comparator, first, separator, second) if part]
    return "String", {"text": " ".join(written)}


def number_range(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """NR as Range."""
    low, high = number(valued(cx)), number(valued(cx, 2))
    found: dict[str, Any] = {}
    if low is not None:
        found["low"] = {"value": low}
    if high is not None:
        found["high"] = {"value": high}
    return found or None


def period_of_range(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """DR as Period."""
    found: dict[str, Any] = {}
    put(found, "start", date_time(cx, context))
    put(found, "end", date_time(cx, context, component=2))
    return found or None


def attachment(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """ED as Attachment: data as base64, whichever way it was encoded."""
    data = valued(cx, 5)
    if data is None:
        return None
    kind, subtype = valued(cx, 2) or "", valued(cx, 3) or ""
    found: dict[str, Any] = {}
    mime = subtype if "/" in subtype else MIME.get(subtype.upper()) or MIME.get(kind.upper())
    put(found, "contentType", mime)
    encoding = (valued(cx, 4) or "A").upper()
    try:
        if encoding == "BASE64":
            content = base64.b64decode("".join(data.split()), validate=True)
        elif encoding == "HEX":
            content = bytes.fromhex(data)
        else:
            content = data.encode()
    except (ValueError, binascii.Error):
        raise Unmappable("is not encoded as it says") from None
    found["data"] = base64.b64encode(content).decode()
    return found


def pointer(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """RP as Attachment: where the content lies."""
    value = valued(cx)
    if value is None or re.search(r"\s", value):
        return None
    found: dict[str, Any] = {"url": value}
    kind, subtype = valued(cx, 3), valued(cx, 4)
    put(found, "contentType", f"{kind}/{subtype}" if kind and subtype else None)
    return found


def annotation(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """FT, TX, ST as Annotation."""
    text = valued(cx)
    return {"text": text} if text else None


def timing(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """RPT, or the interval of a TQ (RI), as Timing."""
    found: dict[str, Any] = {}
    pattern = code_of(cx)
    code = concept(cx, context, code_map("RepeatPattern"))
    interval = INTERVAL.fullmatch((pattern or "").upper())
    repeat: dict[str, Any] = {}
    if interval:
        repeat = {"period": int(interval[1]), "periodUnit": TIME_UNITS[interval[2]]}
        repeat["frequency"] = 1
    length, named = number_or_none(valued(cx, 5)), TIME_UNITS.get((valued(cx, 6) or "").upper())
    if length is not None and named:
        repeat = {"period": length, "periodUnit": named, "frequency": 1}
    when = translation(code_of(cx, 8), code_map("EventRelatedPeriod"))
    if isinstance(when, str):
        repeat["when"] = [when]
    put(found, "repeat", repeat)
    put(found, "code", code)
    return found or None


def number_or_none(text: str | None) -> int | float | None:
    """A number, or None for what is none."""
    try:
        return number(text)
    except Unmappable:
        return None


def minutes(value: str | None, unit_name: str | None) -> int | None:
    """A length of time in whole minutes, where the unit tells."""
    factor = {"s": 1 / 60, "min": 1, "h": 60, "d": 1440}.get(
        TIME_UNITS.get((unit_name or "").upper(), "")
    )
    if value is None or factor is None or not value.isascii() or not value.isdecimal():
        return None
    found = int(int(value[:9]) * factor)
    return found if 0 < found < 2**31 else None


def _high(text: str | None) -> dict[str, Any]:
    value = number(text)
    return {} if value is None else {"high": {"value": value}}


# HL7 tables 0191 and 0291, the part that has a media type.
MIME = {
    "PDF": "application/pdf",
    "RTF": "application/rtf",
    "TEXT": "text/plain",
    "TX": "text/plain",
    "FT": "text/plain",
    "PLAIN": "text/plain",
    "HTML": "text/html",
    "XML": "text/xml",
    "JPEG": "image/jpeg",
    "JPG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "DICOM": "application/dicom",
}
