"""HL7 v2 data types to FHIR ones: pure functions of one repetition and the feed's settings.

Each gives None for what says nothing, and raises Unmappable for what cannot be what it should.
Source: the HL7 v2-to-FHIR implementation guide, data type maps.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from chartgate.errors import Unprocessable
from chartgate.formats.hl7v2 import NULL, Composite
from chartgate.formats.hl7v2_time import fhir_date, fhir_datetime, fhir_instant
from chartgate.transform.hl7v2.code_maps import TERMINOLOGY, code_map, coding_system_uri, target_of

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
NAME_USE = code_map("NameType")
ADDRESS_USE = code_map("AddressType[Use]")
ADDRESS_TYPE = code_map("AddressType[Type]")
CONTACT_SYSTEM = code_map("TelecommunicationEquipmentType")
CONTACT_USE = code_map("TelecommunicationUseCode")


class Unmappable(Unprocessable):
    """A value that cannot become what the table asks for; `position` is e.g. "PID-7"."""

    def __init__(self, sentence: str, *, position: str = "") -> None:
        super().__init__(sentence)
        self.position = position


@dataclass(frozen=True, slots=True)
class Context:
    """What a data type needs beside its own value."""

    systems: Mapping[str, str]  # assigning authority: system URI
    patient_system: str  # of patient identifiers whose authority `systems` does not name
    zone: tzinfo  # of times without one: MSH-7's where it names one, else the feed's


Codes = Mapping[str, Any]  # the row's code map; empty without one
Kind = Callable[[Composite, Context, Codes], Any]
NO_CODES: Codes = {}


def valued(cx: Composite, component: int = 1, subcomponent: int = 1) -> str | None:
    """A value that is there and not the explicit null, fit for a FHIR string."""
    parts = cx.parts
    if component > len(parts):
        return None
    value = parts[component - 1]
    if not value or value == NULL:
        return None
    marks = cx.separators
    if subcomponent > 1 or marks.subcomponent in value or marks.escape in value:
        found = cx.value(component, subcomponent)
        if found is None or found == NULL:
            return None
        value = found
    if not value.isprintable():
        value = CONTROL.sub("", value)
    return value.strip() or None


def code_of(cx: Composite, component: int = 1) -> str | None:
    """A value as a FHIR code: single blanks only."""
    value = valued(cx, component)
    return " ".join(value.split()) if value else None


def string(cx: Composite, context: Context, codes: Codes) -> str | None:
    """ST, TX, ID: the text."""
    return valued(cx)


def boolean(cx: Composite, context: Context, codes: Codes) -> bool | None:
    """ID of table 0136."""
    value = valued(cx)
    if value is None:
        return None
    known = {"Y": True, "N": False, "1": True, "0": False, "TRUE": True, "FALSE": False}
    known |= {"YES": True, "NO": False}
    try:
        return known[value.upper()]
    except KeyError:
        raise Unmappable("is not Y or N") from None


def positive_integer(cx: Composite, context: Context, codes: Codes) -> int | None:
    """NM as positiveInt."""
    value = valued(cx)
    if value is None:
        return None
    if not value.isascii() or not value.isdecimal() or not 0 < int(value[:12]) < 2**31:
        raise Unmappable("is not a whole number from 1")
    return int(value)


def mapped_code(cx: Composite, context: Context, codes: Codes) -> str | None:
    """CWE[code] by the row's code map; codes outside it raise, as FHIR has no place for them."""
    value = valued(cx)
    if value is None:
        return None
    found = translation(value, codes) or codes.get("*")
    if found is None:
        raise Unmappable("holds a code that its table does not map")
    return str(found)


def date(cx: Composite, context: Context, codes: Codes) -> str | None:
    """DT, DTM as date."""
    return _time(cx, 1, fhir_date, "is not a date")


def date_time(
    cx: Composite, context: Context, codes: Codes = NO_CODES, component: int = 1
) -> str | None:
    """DTM as dateTime."""
    return _time(
        cx, component, lambda text: fhir_datetime(text, zone=context.zone), "is not a timestamp"
    )


def instant(
    cx: Composite, context: Context, codes: Codes = NO_CODES, component: int = 1
) -> str | None:
    """DTM as instant."""
    return _time(
        cx,
        component,
        lambda text: fhir_instant(text, zone=context.zone),
        "is not a timestamp with a time of day",
    )


def identifier(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """CX as Identifier."""
    value = valued(cx)
    if value is None:
        return None
    found: dict[str, Any] = {"value": value, **_assigned(cx, context)}
    kind = code_of(cx, 5)
    if kind:
        found["type"] = {"coding": [{"system": f"{TERMINOLOGY}/v2-0203", "code": kind}]}
    period(found, date_time(cx, context, component=7), date_time(cx, context, component=8))
    return found


def patient_identifier(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """CX as Identifier, in the feed's system of patient identifiers unless it names its own."""
    found = identifier(cx, context, codes)
    if found and context.patient_system:
        found.setdefault("system", context.patient_system)
    return found


def entity_identifier(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """EI as Identifier."""
    value = valued(cx)
    if value is None:
        return None
    found: dict[str, Any] = {"value": value}
    system = authority_system(valued(cx, 2), valued(cx, 3), valued(cx, 4), context)
    if system:
        found["system"] = system
    elif valued(cx, 2):
        found["assigner"] = {"display": valued(cx, 2)}
    return found


def human_name(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """XPN as HumanName."""
    found: dict[str, Any] = {}
    put(found, "use", NAME_USE.get((valued(cx, 7) or "").upper()))
    put(found, "family", valued(cx, 1))
    put(found, "given", [g for g in (valued(cx, 2), valued(cx, 3)) if g])
    put(found, "prefix", [p for p in (valued(cx, 5),) if p])
    put(found, "suffix", [s for s in (valued(cx, 4), valued(cx, 6), valued(cx, 14)) if s])
    if not found.keys() - {"use"}:
        return None
    period(found, date_time(cx, context, component=12), date_time(cx, context, component=13))
    return found


def address(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """XAD as Address."""
    found: dict[str, Any] = {}
    kind = (valued(cx, 7) or "").upper()
    put(found, "use", ADDRESS_USE.get(kind))
    put(found, "type", ADDRESS_TYPE.get(kind))
    street = [valued(cx, 1, part) for part in (1, 2, 3)]
    put(found, "line", [line for line in (*street, valued(cx, 2), valued(cx, 19)) if line])
    names = {3: "city", 9: "district", 4: "state", 5: "postalCode", 6: "country"}
    for component, name in names.items():
        put(found, name, valued(cx, component))
    if not found.keys() - {"use", "type"}:
        return None
    period(found, date_time(cx, context, component=13), date_time(cx, context, component=14))
    return found


def contact_point(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """XTN as ContactPoint."""
    equipment = valued(cx, 3) or ""
    electronic = equipment.upper() in ("INTERNET", "X.400")
    address_sent = valued(cx, 4)
    number = valued(cx, 1) or valued(cx, 12)
    if not number and not electronic:
        parts = [valued(cx, 5), valued(cx, 6), valued(cx, 7)]
        parts[0] = f"+{parts[0].lstrip('+')}" if parts[0] and valued(cx, 7) else None
        number = " ".join(part for part in parts if part) if valued(cx, 7) else None
        if number and valued(cx, 8):
            number += f" X{valued(cx, 8)}"
    by_address = bool(address_sent) and (electronic or not number)
    value = address_sent if by_address else number
    if not value:
        return None
    found: dict[str, Any] = {"value": value}
    system = "email" if by_address else CONTACT_SYSTEM.get(equipment.upper(), "phone")
    found["system"] = system
    mobile = "mobile" if equipment.upper() == "CP" else None
    put(found, "use", mobile or CONTACT_USE.get((valued(cx, 2) or "").upper()))
    return found


def concept(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """CWE, CE, IS as CodeableConcept; a code map's Coding comes first."""
    found: dict[str, Any] = {}
    codings = [c for c in (coding_at(cx, 1), coding_at(cx, 4), coding_at(cx, 10)) if c]
    translated = translation(code_of(cx), codes)
    if isinstance(translated, dict):
        codings.insert(0, dict(translated))
    put(found, "coding", [c for n, c in enumerate(codings) if c not in codings[:n]])
    put(found, "text", valued(cx, 9) or (None if code_of(cx) else valued(cx, 2)))
    return found or None


def coding(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """CWE, IS as Coding, by the row's code map where it has the code."""
    translated = translation(code_of(cx), codes)
    return dict(translated) if isinstance(translated, dict) else coding_at(cx, 1)


def translation(code: str | None, codes: Codes) -> Any:
    """What a code map makes of a code; None: nothing."""
    return target_of(codes, code) if code and codes else None


def coding_at(cx: Composite, first: int) -> dict[str, Any] | None:
    """The code, display and system that begin at this component."""
    code = code_of(cx, first)
    if code is None:
        return None
    found: dict[str, Any] = {}
    name = valued(cx, first + 2)
    put(found, "system", coding_system_uri(name) if name else None)
    found["code"] = code
    put(found, "display", valued(cx, first + 1))
    put(found, "version", valued(cx, {1: 7, 4: 8, 10: 13}[first]))
    return found


def _assigned(cx: Composite, context: Context) -> dict[str, Any]:
    names = [valued(cx, 4, part) for part in (1, 2, 3)]
    system = authority_system(names[0], names[1], names[2], context)
    if system:
        return {"system": system}
    return {"assigner": {"display": names[0] or names[1]}} if names[0] or names[1] else {}


def authority_system(
    namespace: str | None, universal: str | None, kind: str | None, context: Context
) -> str | None:
    """The URI of an assigning authority (HD), by the feed's own names first."""
    for name in (namespace, universal):
        if name and name in context.systems:
            return context.systems[name]
    if universal and kind:
        if kind.upper() == "ISO" and re.fullmatch(r"[0-2](\.\d+)+", universal):
            return f"urn:oid:{universal}"
        if kind.upper() in ("UUID", "GUID"):
            return f"urn:uuid:{universal.lower()}"
        if kind.upper() in ("URI", "URL") and not re.search(r"\s", universal):
            return universal
    return None


def _time(
    cx: Composite, component: int, convert: Callable[[str], str], sentence: str
) -> str | None:
    value = valued(cx, component)
    if value is None:
        return None
    try:
        return convert(value)
    except ValueError:
        raise Unmappable(sentence) from None


def period(found: dict[str, Any], start: str | None, end: str | None) -> None:
    """Puts a period with what is known of it."""
    known = {k: v for k, v in (("start", start), ("end", end)) if v}
    if known:
        found["period"] = known


def put(found: dict[str, Any], name: str, value: Any) -> None:
    """Puts what is there."""
    if value:
        found[name] = value


def birth_time(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """The time of birth, where one was sent: what stands beside birthDate."""
    moment = date_time(cx, context)
    if moment is None or "T" not in moment:
        return None
    url = "http://hl7.org/fhir/StructureDefinition/patient-birthTime"
    return {"extension": [{"url": url, "valueDateTime": moment}]}


def licence(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """DLN as Identifier: number, issuing state, expiry."""
    value = valued(cx)
    if value is None:
        return None
    found: dict[str, Any] = {"value": value}
    put(found, "assigner", {"display": valued(cx, 2)} if valued(cx, 2) else None)
    period(found, None, date_time(cx, context, component=3))
    return found


def restricted(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """ID of table 0136 as a security label: restricted where it says yes."""
    if not boolean(cx, context, codes):
        return None
    return {"system": f"{TERMINOLOGY}/v3-Confidentiality", "code": "R", "display": "restricted"}


def nested_extension(url: str) -> Kind:
    """A kind that puts a code into an inner extension of this URL."""

    def kind(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
        found = concept(cx, context, codes)
        return {"url": url, "valueCodeableConcept": found} if found else None

    return kind


def coded_extension(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """A code in the "code" part of an extension that has parts."""
    found = nested_extension("code")(cx, context, codes)
    return {"extension": [found]} if found else None
