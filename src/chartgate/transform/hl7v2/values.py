"""What an OBX found: OBX-5 by its type in OBX-2, with its unit and reference range.

Nothing that was sent is lost: a value that is not what OBX-2 says, such as a number that is none,
stays as the text that it is.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from chartgate.formats.hl7v2 import NULL, Composite, Segment, Separators, unescape
from chartgate.transform.hl7v2.datatypes import (
    CONTROL,
    NO_CODES,
    Context,
    Unmappable,
    concept,
    date_time,
    valued,
)
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.order_kinds import time_of_day
from chartgate.transform.hl7v2.quantities import (
    attachment,
    number,
    number_range,
    period_of_range,
    pointer,
    quantity,
    structured_number,
    unit,
)

VALUE = "OBX-5"
VALUES = (
    "valueQuantity",
    "valueCodeableConcept",
    "valueString",
    "valueBoolean",
    "valueInteger",
    "valueRange",
    "valueRatio",
    "valueSampledData",
    "valueTime",
    "valueDateTime",
    "valuePeriod",
)
VALUE_ATTACHMENT = (
    "http://hl7.org/fhir/5.0/StructureDefinition/extension-Observation.valueAttachment"
)
ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
COMPARED = re.compile(r"(<=|>=|<|>)\s*(.*)", re.DOTALL)
DIGIT = re.compile(r"\d")
INTERVAL = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*-\s*(-?\d+(?:\.\d+)?)\s*", re.ASCII)
SAMPLES_MAX = 4096
NUMERIC = ("NM", "SN", "NR", "CQ")

Units = Mapping[str, Any]  # unit, system and code of OBX-6
Value = tuple[str, Any]  # the type as in "valueQuantity", and the value


def put_value(obx: Segment, draft: Draft, context: Context, marks: Separators) -> str | None:
    """Puts OBX-5: value[x], an attachment, or a component for each of several repetitions.

    Gives the element that it filled; None for none.
    """
    raw = obx.raw(5)
    if not raw:
        return None
    # Whatever a preliminary result held, this one takes its place.
    draft.cleared.update(((name,), "") for name in (*VALUES, "dataAbsentReason"))
    draft.cleared.update(((name,), VALUE) for name in ("component", "extension"))
    if raw == NULL:
        return None
    kind = obx.value(2) or "ST"
    units = next((unit(cx, 0) for cx in obx.repetitions(6)), {})
    repetitions = obx.repetitions(5)
    found = [value_of(kind, cx, units, context, marks) for cx in repetitions]
    if len(repetitions) > 1 and kind != "NA":
        code = draft.get("code")
        items = [
            {"id": f"{VALUE}.{nth}", "code": code, **_named(*value)}
            for nth, value in enumerate(found, 1)
            if value
        ]
        draft.lists[(("component",), VALUE)] = items
        return "component"
    if not found or found[0] is None:
        return None
    name, value = found[0]
    if name == "Attachment":
        draft.add("extension", VALUE, {"url": VALUE_ATTACHMENT, "valueAttachment": value})
        return "extension"
    draft.put(f"value{name}", value)
    return f"value{name}"


def value_of(
    kind: str, cx: Composite, units: Units, context: Context, marks: Separators
) -> Value | None:
    """One repetition of OBX-5, of this type; None for an empty one."""
    taken = TYPES.get(kind)
    try:
        found = taken(cx, units, context) if taken else None
    except Unmappable:
        found = None
    if found is not None:
        return found
    text = whole_text(cx, marks)
    if not text:
        return None
    if kind in NUMERIC and units.get("unit") and DIGIT.search(text):
        text = f"{text} {units['unit']}"
    return "String", text


def whole_text(cx: Composite, marks: Separators) -> str:
    """All of a repetition as text: delimiters that a sender left unescaped belong to it."""
    text = CONTROL.sub("", unescape(cx.text, marks, charset=cx.charset)).rstrip()
    return text if text.strip() else ""


def put_range(obx: Segment, draft: Draft, *, numeric: bool) -> bool:
    """Puts OBX-7: its text, and low and high where it says no more than these. False: nothing."""
    cx = next(iter(obx.repetitions(7)), None)
    text = valued(cx) if cx else None
    if text is None:
        if obx.raw(7) == NULL:
            draft.cleared.add((("referenceRange",), "OBX-7"))
        return False
    found: dict[str, Any] = {"text": text}
    bounds = INTERVAL.fullmatch(text) if numeric else None
    if bounds:
        units = next((unit(cx, 0) for cx in obx.repetitions(6)), {})
        try:
            low, high = number(bounds[1]), number(bounds[2])
        except Unmappable:
            low = high = None
        if low is not None and high is not None and low <= high:
            found |= {"low": {"value": low, **units}, "high": {"value": high, **units}}
    draft.add("referenceRange", "OBX-7", found)
    return True


def _number(cx: Composite, units: Units, context: Context) -> Value | None:
    """NM; "<5", which many senders write, is a Quantity with its comparator."""
    text = valued(cx) or ""
    compared = COMPARED.fullmatch(text)
    value = number(compared[2] if compared else text or None)
    if value is None:
        return None
    comparator = {"comparator": compared[1]} if compared else {}
    return "Quantity", {"value": value, **comparator, **units}


def _structured(cx: Composite, units: Units, context: Context) -> Value | None:
    found = structured_number(cx)
    if found is None:
        return None
    name, value = found
    if name == "Quantity" and valued(cx) not in ("<>", None):
        comparator = valued(cx)
        if comparator not in ("<", "<=", ">", ">=", "="):
            return "String", " ".join(p for p in (comparator, valued(cx, 2)) if p)
    if name == "String" or valued(cx) == "<>":
        parts = [*(valued(cx, n) for n in (1, 2, 3, 4)), units.get("unit")]
        return "String", " ".join(part for part in parts if part)
    if name == "Quantity":
        return name, {**value, **units}
    if name == "Ratio" and "denominator" not in value:
        return None
    return name, {part: {**held, **units} for part, held in value.items()}


def _coded(cx: Composite, units: Units, context: Context) -> Value | None:
    return _told("CodeableConcept", concept(cx, context, NO_CODES))


def _moment(cx: Composite, units: Units, context: Context) -> Value | None:
    return _told("DateTime", date_time(cx, context))


def _time(cx: Composite, units: Units, context: Context) -> Value | None:
    return _told("Time", time_of_day(cx, context, NO_CODES))


def _period(cx: Composite, units: Units, context: Context) -> Value | None:
    return _told("Period", period_of_range(cx, context, NO_CODES))


def _quantity(cx: Composite, units: Units, context: Context) -> Value | None:
    found = quantity(cx, context, NO_CODES)
    return _told("Quantity", {**units, **found} if found else None)


def _bounded(cx: Composite, units: Units, context: Context) -> Value | None:
    found = number_range(cx, context, NO_CODES) or {}
    return _told("Range", {name: {**held, **units} for name, held in found.items()})


def _sampled(cx: Composite, units: Units, context: Context) -> Value | None:
    """NA: numbers in a row, of which nobody says how far they are apart."""
    samples = [valued(cx, n) for n in range(1, SAMPLES_MAX + 1)]
    while samples and samples[-1] is None:
        samples.pop()
    if not samples or cx.part(SAMPLES_MAX + 1):
        return None
    data = " ".join(str(number(sample)) if sample else "E" for sample in samples)
    unknown = {"extension": [{"url": ABSENT, "valueCode": "unknown"}]}
    origin = {"value": 0, **units}
    return "SampledData", {"origin": origin, "_period": unknown, "dimensions": 1, "data": data}


def _document(cx: Composite, units: Units, context: Context) -> Value | None:
    return _told("Attachment", attachment(cx, context, NO_CODES))


def _pointed(cx: Composite, units: Units, context: Context) -> Value | None:
    return _told("Attachment", pointer(cx, context, NO_CODES))


def _between(cx: Composite, units: Units, context: Context) -> Value | None:
    return _told("String", "-".join(p for p in (valued(cx), valued(cx, 2)) if p))


def _readable(cx: Composite, units: Units, context: Context) -> Value | None:
    """A name, an address or a number with its owner, as one line."""
    parts = [valued(cx, n) for n in range(1, 24)]
    street = [valued(cx, 1, n) for n in (2, 3)]
    found = [parts[0], *street, *parts[1:]]
    return _told("String", " ".join(part for part in found if part))


def _told(name: str, value: Any) -> Value | None:
    return (name, value) if value else None


def _named(name: str, value: Any) -> dict[str, Any]:
    if name == "Attachment":
        return {"extension": [{"url": VALUE_ATTACHMENT, "valueAttachment": value}]}
    return {f"value{name}": value}


# By OBX-2; what stands here under no name is text.
TYPES: Mapping[str, Callable[[Composite, Units, Context], Value | None]] = {
    "NM": _number,
    "SN": _structured,
    **dict.fromkeys(("CE", "CWE", "CNE", "CF", "IS", "ID"), _coded),
    **dict.fromkeys(("DT", "DTM", "TS"), _moment),
    "TM": _time,
    "DR": _period,
    "CQ": _quantity,
    "NR": _bounded,
    "NA": _sampled,
    "ED": _document,
    "RP": _pointed,
    "VR": _between,
    **dict.fromkeys(("XAD", "XPN", "XCN", "XON", "XTN", "AD", "PN", "CN", "TN", "PL"), _readable),
    **dict.fromkeys(("PPN", "MO", "CP"), _readable),
}
