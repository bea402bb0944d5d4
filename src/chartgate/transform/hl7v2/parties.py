"""Whom and what a segment around a patient names: relatives, insurers, software, remarks.

As references.py says, people and organisations stay logical references; where R4 needs details
of a role beside the person (since when, for whom, in what function), the details become a
contained PractitionerRole, which lives and goes with the resource that it stands in.
"""

import re
from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from chartgate.formats.hl7v2 import Composite
from chartgate.transform.hl7v2.datatypes import (
    Codes,
    Context,
    Kind,
    Unmappable,
    authority_system,
    code_of,
    coding_at,
    concept,
    contact_point,
    human_name,
    identifier,
    nested_extension,
    put,
    translation,
    valued,
)
from chartgate.transform.hl7v2.references import authority_uri, location

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


def named(resource_type: str) -> Kind:
    """A kind that makes an XPN a reference by its display."""

    def kind(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
        text = name_text(cx, context)
        return {"type": resource_type, "display": text} if text else None

    return kind


def person(resource_type: str) -> Kind:
    """A kind that makes an XCN a reference to somebody who is not of the staff."""

    def kind(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
        found: dict[str, Any] = {"type": resource_type}
        if valued(cx):
            system = authority_system(valued(cx, 9, 1), valued(cx, 9, 2), valued(cx, 9, 3), context)
            found["identifier"] = {"value": valued(cx), **({"system": system} if system else {})}
        parts = (valued(cx, component) for component in (6, 3, 4, 2, 5))
        put(found, "display", " ".join(part for part in parts if part))
        return found if len(found) > 1 else None

    return kind


def name_text(cx: Composite, context: Context) -> str | None:
    """XPN as one text, as it is spoken."""
    name = human_name(cx, context, {}) or {}
    parts = [*name.get("prefix", ()), *name.get("given", ()), name.get("family", "")]
    return " ".join(part for part in (*parts, *name.get("suffix", ())) if part) or None


def coded_identifier(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """CWE as Identifier: the code is the value."""
    found = coding_at(cx, 1)
    if found is None:
        return None
    result = {"value": found["code"]}
    put(result, "system", found.get("system"))
    return result


def typed_identifier(code: str) -> Kind:
    """A kind that takes only the CX of one identifier type (table 0203)."""

    def kind(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
        return identifier(cx, context, codes) if code_of(cx, 5) == code else None

    return kind


def known_code(cx: Composite, context: Context, codes: Codes) -> str | None:
    """A code by its row's map; None for one that is not in it, where FHIR needs none."""
    found = translation(code_of(cx), codes)
    return found if isinstance(found, str) else None


def text_concept(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """ST as CodeableConcept: a text; senders that code it all the same are heard."""
    if valued(cx, 2) or valued(cx, 3):
        return concept(cx, context, codes)
    text = valued(cx)
    return {"text": text} if text else None


def coded_text(cx: Composite, context: Context, codes: Codes) -> str | None:
    """CWE as text: the original text, else the name, else the code."""
    return valued(cx, 9) or valued(cx, 2) or valued(cx)


def rank(cx: Composite, context: Context, codes: Codes) -> int | None:
    """ID of table 0359 as positiveInt; 0 says that it is not ranked."""
    value = valued(cx)
    if value is None or not value.strip("0"):
        return None
    if not value.isascii() or not value.isdecimal() or len(value) > 9:
        raise Unmappable("is not a whole number")
    return int(value)


def message_type(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """MSG as Coding: the trigger event."""
    trigger = code_of(cx, 2)
    if trigger is None:
        return None
    found = translation(trigger, codes)
    names = [valued(cx, n) for n in (1, 2, 3)]
    known = dict(found) if isinstance(found, dict) else {"code": trigger}
    known.setdefault("system", "http://terminology.hl7.org/CodeSystem/v2-0003")
    return {**known, "display": "^".join(name for name in names if name)}


def endpoint(cx: Composite, context: Context, codes: Codes) -> str | None:
    """HD as the address of a system: its URI, else a URN of its name."""
    found = authority_uri(cx, context, codes)
    if found:
        return found
    name = valued(cx) or valued(cx, 2)
    return f"urn:hl7v2:application:{'-'.join(name.split())}" if name else None


def sent_code(cx: Composite, context: Context, codes: Codes) -> str | None:
    """A code as it was sent."""
    return code_of(cx)


def answer(cx: Composite, context: Context, codes: Codes) -> str | None:
    """ID of table 0008 as a response code."""
    value = (valued(cx) or "").upper()
    return {"A": "ok", "E": "fatal-error", "R": "transient-error"}.get(value[1:])


def message_id(cx: Composite, context: Context, codes: Codes) -> str | None:
    """A control id as an id; one that cannot be an id gives its name-based UUID."""
    value = valued(cx)
    if value is None or ID.fullmatch(value):
        return value
    return str(uuid5(NAMESPACE_URL, f"urn:chartgate:control-id:{value}"))


def work_contact(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """XTN of a place of work."""
    found = contact_point(cx, context, codes)
    return {**found, "use": "work"} if found else None


def processing(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """PT as a tag: the processing id."""
    found = translation(code_of(cx), codes)
    return dict(found) if isinstance(found, dict) else coding_at(cx, 1)


def past_place(place: Kind) -> Kind:
    """A kind that puts a place into an inner extension of its own."""

    def kind(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
        found = place(cx, context, codes)
        return {"url": "location", "valueReference": found} if found else None

    return kind


ALTERNATE = "http://hl7.org/fhir/StructureDefinition/alternate-codes"
PARTY_KINDS: Mapping[str, Kind] = {
    "Practitioner-XPN": named("Practitioner"),
    "Patient-XPN": named("Patient"),
    "RelatedPerson-XPN": named("RelatedPerson"),
    "RelatedPerson-XCN": person("RelatedPerson"),
    "string-XPN": lambda cx, context, codes: name_text(cx, context),
    "string-CWE": coded_text,
    "Identifier-CWE": coded_identifier,
    "Identifier-SN": typed_identifier("SN"),
    "code-known": known_code,
    "CodeableConcept-text": text_concept,
    "Extension-alternate": nested_extension(ALTERNATE),
    "Extension-annotation-type": nested_extension(
        "http://hl7.org/fhir/StructureDefinition/annotationType"
    ),
    "Extension-location": past_place(location),
    "positiveInt-ranked": rank,
    "Coding-MSG": message_type,
    "Coding-PT": processing,
    "url-HD": endpoint,
    "code-sent": sent_code,
    "code-answer": answer,
    "id-message": message_id,
    "ContactPoint-work": work_contact,
}
