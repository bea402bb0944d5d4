"""Data types as orders, results and specimens use them: parts of identifiers, extensions, times."""

import re
from typing import Any

from chartgate.formats.hl7v2 import Composite
from chartgate.transform.hl7v2.code_maps import TERMINOLOGY
from chartgate.transform.hl7v2.datatypes import (
    Codes,
    Context,
    Kind,
    authority_system,
    code_of,
    concept,
    date_time,
    nested_extension,
    put,
    translation,
    valued,
)
from chartgate.transform.hl7v2.quantities import TIME_UNITS, UCUM, minutes, number_or_none, unit
from chartgate.transform.hl7v2.references import person_of_role, practitioner_role

STRUCTURE_TYPE = "http://hl7.org/fhir/StructureDefinition/observation-structure-type"
SUBID = "http://hl7.org/fhir/StructureDefinition/observation-v2-subid"
FUNCTION = "http://hl7.org/fhir/StructureDefinition/event-performerFunction"
TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d)?([0-5]\d)?(\.\d{1,6})?([+-]\d{4})?", re.ASCII)
LENGTH = re.compile(r"([SMHDWL])(\d{1,6})", re.ASCII)  # D10: ten days


def known_code(cx: Composite, context: Context, codes: Codes) -> str | None:
    """A code by the row's code map; None for one that it does not hold."""
    found = translation(code_of(cx), codes)
    return found if isinstance(found, str) else None


def known_quantity(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """CQ; None for a number that is none: how often a test is asked for misleads nobody."""
    value = number_or_none(valued(cx))
    return None if value is None else {"value": value, **unit(cx, 2)}


def known_count(cx: Composite, context: Context, codes: Codes) -> int | None:
    """NM as positiveInt; None for what is none."""
    value = number_or_none(valued(cx))
    return int(value) if value is not None and value == int(value) and 0 < value < 2**31 else None


def table_concept(table: str) -> Kind:
    """A kind for an ID or CWE of this HL7 table, which the message need not name."""

    def kind(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
        found = concept(cx, context, codes)
        for coding in (found or {}).get("coding", ()):
            coding.setdefault("system", table)
        return found

    return kind


def text(cx: Composite, context: Context, codes: Codes) -> str | None:
    """CWE or ST as text."""
    return valued(cx, 2) or valued(cx)


def time_of_day(cx: Composite, context: Context, codes: Codes) -> str | None:
    """TM as time; None for what is none, or no time that FHIR can say."""
    match = TIME.fullmatch(valued(cx) or "")
    if match is None:
        return None
    return f"{match[1]}:{match[2] or '00'}:{match[3] or '00'}{match[4] or ''}"


def length_of_time(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """The duration of a TQ, "D10", as Duration; None for what it does not say."""
    match = LENGTH.fullmatch((valued(cx) or "").upper())
    if match is None:
        return None
    return duration(int(match[2]), TIME_UNITS[match[1]])


def duration(value: float, code: str) -> dict[str, Any]:
    """A Duration of so many units of UCUM."""
    return {"value": value, "unit": code, "system": UCUM, "code": code}


def duration_of_quantity(cx: Composite) -> dict[str, Any] | None:
    """CQ as Duration, where its unit is one of time."""
    value, named = number_or_none(valued(cx)), TIME_UNITS.get((valued(cx, 2) or "").upper())
    return None if value is None or named is None else duration(value, named)


def time_unit(cx: Composite, context: Context, codes: Codes) -> str | None:
    """The unit of a CQ, as a unit of time."""
    return TIME_UNITS.get((valued(cx, 2) or "").upper())


def whole_minutes(cx: Composite, context: Context, codes: Codes) -> int | None:
    """CQ of a length of time, in minutes."""
    return minutes(valued(cx), valued(cx, 2) or "MIN")


def extension_of_event(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """What an order control code says has happened."""
    code = code_of(cx)
    coding = {"system": f"{TERMINOLOGY}/v2-0119", "code": code}
    return {"url": "value", "valueCodeableConcept": {"coding": [coding]}} if code else None


def extension_of_date(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """When it has happened."""
    found = date_time(cx, context)
    return {"url": "date", "valueDateTime": found} if found else None


def extension_of_function(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """In which role a performer took part."""
    found = concept(cx, context, codes)
    return {"url": FUNCTION, "valueCodeableConcept": found} if found else None


def extension_of_subid(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """OG, or an ST: what an observation's sub-identifier says, part by part."""
    parts: list[dict[str, Any]] = []
    for component, name in ((1, "original-sub-identifier"), (4, "identifier")):
        text_sent = valued(cx, component)
        if text_sent:
            parts.append({"url": name, "valueString": text_sent})
    for component, name in ((2, "group"), (3, "sequence")):
        number = number_or_none(valued(cx, component))
        if number is not None:
            parts.append({"url": name, "valueDecimal": number})
    return {"url": SUBID, "extension": parts} if parts else None


def part_identifier(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """One of the two EI of an EIP, its components already taken apart."""
    return _entity([valued(cx, n) for n in (1, 2, 3, 4)], context)


def group_identifier(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """A placer's group number: an EI, or the first part of an EIP."""
    found = (
        _of_pair(cx, 1, context)
        if valued(cx, 1, 2)
        else _entity([valued(cx, n) for n in (1, 2, 3, 4)], context)
    )
    coding = {"system": f"{TERMINOLOGY}/v2-0203", "code": "PGN"}
    return {**found, "type": {"coding": [coding]}} if found else None


def person_identifier(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """The number of an XCN."""
    found = _entity([valued(cx), valued(cx, 9, 1), valued(cx, 9, 2), valued(cx, 9, 3)], context)
    kind = code_of(cx, 13)
    if found and kind:
        found["type"] = {"coding": [{"system": f"{TERMINOLOGY}/v2-0203", "code": kind}]}
    return found


def person_name(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """The name in an XCN, which is an XPN but for the number before it."""
    found: dict[str, Any] = {}
    put(found, "family", valued(cx, 2))
    put(found, "given", [g for g in (valued(cx, 3), valued(cx, 4)) if g])
    put(found, "prefix", [p for p in (valued(cx, 6),) if p])
    put(found, "suffix", [s for s in (valued(cx, 5), valued(cx, 7), valued(cx, 21)) if s])
    return found or None


def licence_number(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """PLN as Identifier: number, kind, place of issue, expiry."""
    value = valued(cx)
    if value is None:
        return None
    found: dict[str, Any] = {"value": value}
    kind = code_of(cx, 2)
    if kind:
        found["type"] = {"coding": [{"system": f"{TERMINOLOGY}/v2-0203", "code": kind}]}
    put(found, "assigner", {"display": valued(cx, 3)} if valued(cx, 3) else None)
    until = date_time(cx, context, component=4)
    put(found, "period", {"end": until} if until else None)
    return found


def parent(resource_type: str) -> Kind:
    """A kind for an EIP that names another resource: by the placer's number, else the filler's."""

    def kind(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
        found = _of_pair(cx, 1, context) or _of_pair(cx, 2, context)
        return {"type": resource_type, "identifier": found} if found else None

    return kind


def interpreter(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """NDL of a person; and what many senders write there instead, an XCN."""
    older = valued(cx, 2) and not valued(cx, 1, 2) and not (valued(cx, 2) or "0")[0].isdecimal()
    return practitioner_role(cx, context, codes) if older else person_of_role(cx, context, codes)


def device_of_code(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """CWE that stands for a device."""
    code = code_of(cx)
    name = valued(cx, 2) or code
    if name is None:
        return None
    return {"type": "Device", **({"identifier": {"value": code}} if code else {}), "display": name}


def device_of_serial(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """ST that is the serial number of a device."""
    value = valued(cx)
    coding = {"system": f"{TERMINOLOGY}/v2-0203", "code": "SNO"}
    if value is None:
        return None
    return {"type": "Device", "identifier": {"type": {"coding": [coding]}, "value": value}}


def location_of_address(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """XAD that stands for a place."""
    parts = [valued(cx, 1, 1), *(valued(cx, n) for n in (2, 3, 4, 5, 6))]
    display = ", ".join(part for part in parts if part)
    return {"type": "Location", "display": display} if display else None


def _of_pair(cx: Composite, component: int, context: Context) -> dict[str, Any] | None:
    return _entity([valued(cx, component, n) for n in (1, 2, 3, 4)], context)


def _entity(parts: list[str | None], context: Context) -> dict[str, Any] | None:
    value, namespace, universal, kind = parts
    if value is None:
        return None
    found: dict[str, Any] = {"value": value}
    system = authority_system(namespace, universal, kind, context)
    if system:
        found["system"] = system
    elif namespace:
        found["assigner"] = {"display": namespace}
    return found


ORDER_KINDS: dict[str, Kind] = {
    "code-known": known_code,
    "Count-known": known_count,
    "Device-code": device_of_code,
    "Device-serial": device_of_serial,
    "Duration-text": length_of_time,
    "Extension-concept": nested_extension("concept"),
    "Extension-event-date": extension_of_date,
    "Extension-event-value": extension_of_event,
    "Extension-function": extension_of_function,
    "Extension-subid": extension_of_subid,
    "HumanName-person": person_name,
    "Identifier-group": group_identifier,
    "Identifier-PLN": licence_number,
    "Identifier-part": part_identifier,
    "Identifier-person": person_identifier,
    "Location-address": location_of_address,
    "Minutes": whole_minutes,
    "Quantity-known": known_quantity,
    "PractitionerRole-person": interpreter,
    "ServiceRequest-parent": parent("ServiceRequest"),
    "Specimen-parent": parent("Specimen"),
    "Structure-type": table_concept(STRUCTURE_TYPE),
    "Table-0085": table_concept(f"{TERMINOLOGY}/v2-0085"),
    "Table-0936": table_concept(f"{TERMINOLOGY}/v2-0936"),
    "Text": text,
    "Time-unit": time_unit,
}
