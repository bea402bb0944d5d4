"""Search parameters of the sample hospital: which element each looks at, and how.

A row is "kind[:TargetType] path|path"; a path is element names with dots. The names and paths
are those of R4; a type that is not here can be searched by the common parameters only.

Source: https://hl7.org/fhir/R4/searchparameter-registry.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

Kind = Literal["token", "reference", "date", "string", "uri"]

COMMON = {
    "_id": "token id",
    "_lastUpdated": "date meta.lastUpdated",
    "_tag": "token meta.tag",
    "_security": "token meta.security",
    "_profile": "uri meta.profile",
    "identifier": "token identifier",
}
PATIENT = "reference:Patient subject"
PEOPLE = {
    "name": "string name.family|name.given|name.text|name.prefix|name.suffix",
    "family": "string name.family",
    "given": "string name.given",
    "gender": "token gender",
    "active": "token active",
    "telecom": "token telecom",
    "phone": "token telecom",
    "email": "token telecom",
    "address": "string address.line|address.city|address.state|address.postalCode|address.text",
    "address-city": "string address.city",
    "address-postalcode": "string address.postalCode",
}
ORDER = {
    "subject": "reference subject",
    "patient": PATIENT,
    "encounter": "reference encounter",
    "status": "token status",
    "intent": "token intent",
    "category": "token category",
    "code": "token code|medicationCodeableConcept",
    "authored": "date authoredOn",
    "authoredon": "date authoredOn",
    "requester": "reference requester",
    "performer": "reference performer",
    "based-on": "reference basedOn",
    "priority": "token priority",
    "occurrence": "date occurrenceDateTime|occurrencePeriod",
}
PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "Patient": {
        **PEOPLE,
        "birthdate": "date birthDate",
        "death-date": "date deceasedDateTime",
        "language": "token communication.language",
        "link": "reference link.other",
        "organization": "reference managingOrganization",
        "general-practitioner": "reference generalPractitioner",
    },
    "Practitioner": PEOPLE,
    "RelatedPerson": {**PEOPLE, "patient": "reference:Patient patient"},
    "PractitionerRole": {
        "active": "token active",
        "date": "date period",
        "practitioner": "reference practitioner",
        "organization": "reference organization",
        "location": "reference location",
        "role": "token code",
        "specialty": "token specialty",
    },
    "Organization": {
        "active": "token active",
        "name": "string name|alias",
        "type": "token type",
        "partof": "reference partOf",
    },
    "Location": {
        "name": "string name|alias",
        "status": "token status",
        "type": "token type",
        "partof": "reference partOf",
        "organization": "reference managingOrganization",
    },
    "HealthcareService": {
        "active": "token active",
        "name": "string name",
        "organization": "reference providedBy",
        "location": "reference location",
        "specialty": "token specialty",
    },
    "Schedule": {
        "active": "token active",
        "actor": "reference actor",
        "date": "date planningHorizon",
        "service-category": "token serviceCategory",
        "service-type": "token serviceType",
        "specialty": "token specialty",
    },
    "Slot": {
        "schedule": "reference schedule",
        "start": "date start",
        "status": "token status",
        "appointment-type": "token appointmentType",
        "service-category": "token serviceCategory",
        "service-type": "token serviceType",
        "specialty": "token specialty",
    },
    "Appointment": {
        "actor": "reference participant.actor",
        "patient": "reference:Patient participant.actor",
        "practitioner": "reference:Practitioner participant.actor",
        "location": "reference:Location participant.actor",
        "date": "date start",
        "status": "token status",
        "part-status": "token participant.status",
        "slot": "reference slot",
        "based-on": "reference basedOn",
        "appointment-type": "token appointmentType",
        "service-category": "token serviceCategory",
        "service-type": "token serviceType",
        "specialty": "token specialty",
        "reason-code": "token reasonCode",
    },
    "AppointmentResponse": {
        "actor": "reference actor",
        "patient": "reference:Patient actor",
        "appointment": "reference appointment",
        "part-status": "token participantStatus",
    },
    "Task": {
        "patient": "reference:Patient for",
        "subject": "reference for",
        "owner": "reference owner",
        "requester": "reference requester",
        "focus": "reference focus",
        "encounter": "reference encounter",
        "based-on": "reference basedOn",
        "part-of": "reference partOf",
        "status": "token status",
        "business-status": "token businessStatus",
        "intent": "token intent",
        "priority": "token priority",
        "code": "token code",
        "performer": "token performerType",
        "period": "date executionPeriod",
        "authored-on": "date authoredOn",
        "modified": "date lastModified",
        "group-identifier": "token groupIdentifier",
    },
    "ServiceRequest": ORDER,
    "MedicationRequest": ORDER,
    "CarePlan": {**ORDER, "date": "date period"},
    "Encounter": {
        "subject": "reference subject",
        "patient": PATIENT,
        "status": "token status",
        "class": "token class",
        "type": "token type",
        "date": "date period",
        "participant": "reference participant.individual",
        "practitioner": "reference:Practitioner participant.individual",
        "appointment": "reference appointment",
        "based-on": "reference basedOn",
        "location": "reference location.location",
        "part-of": "reference partOf",
        "reason-code": "token reasonCode",
        "service-provider": "reference serviceProvider",
    },
    "Condition": {
        "subject": "reference subject",
        "patient": PATIENT,
        "encounter": "reference encounter",
        "code": "token code",
        "category": "token category",
        "clinical-status": "token clinicalStatus",
        "verification-status": "token verificationStatus",
        "onset-date": "date onsetDateTime|onsetPeriod",
        "abatement-date": "date abatementDateTime|abatementPeriod",
        "recorded-date": "date recordedDate",
    },
    "Observation": {
        "subject": "reference subject",
        "patient": PATIENT,
        "encounter": "reference encounter",
        "status": "token status",
        "code": "token code",
        "category": "token category",
        "date": "date effectiveDateTime|effectivePeriod|effectiveInstant",
        "performer": "reference performer",
        "based-on": "reference basedOn",
        "value-concept": "token valueCodeableConcept",
    },
    "DiagnosticReport": {
        "subject": "reference subject",
        "patient": PATIENT,
        "encounter": "reference encounter",
        "status": "token status",
        "code": "token code",
        "category": "token category",
        "date": "date effectiveDateTime|effectivePeriod",
        "issued": "date issued",
        "based-on": "reference basedOn",
    },
    "DocumentReference": {
        "subject": "reference subject",
        "patient": PATIENT,
        "author": "reference author",
        "status": "token status",
        "type": "token type",
        "category": "token category",
        "date": "date date",
        "period": "date context.period",
        "encounter": "reference:Encounter context.encounter",
        "related": "reference context.related",
        "custodian": "reference custodian",
        "relatesto": "reference relatesTo.target",
    },
    "Coverage": {
        "beneficiary": "reference beneficiary",
        "patient": "reference:Patient beneficiary",
        "subscriber": "reference subscriber",
        "payor": "reference payor",
        "status": "token status",
        "type": "token type",
    },
    "AllergyIntolerance": {
        "patient": "reference:Patient patient",
        "clinical-status": "token clinicalStatus",
        "code": "token code",
        "date": "date recordedDate",
    },
    "Immunization": {
        "patient": "reference:Patient patient",
        "status": "token status",
        "vaccine-code": "token vaccineCode",
        "date": "date occurrenceDateTime",
    },
    "Procedure": {
        "subject": "reference subject",
        "patient": PATIENT,
        "encounter": "reference encounter",
        "status": "token status",
        "code": "token code",
        "category": "token category",
        "date": "date performedDateTime|performedPeriod",
    },
    "Communication": {
        "subject": "reference subject",
        "patient": PATIENT,
        "encounter": "reference encounter",
        "status": "token status",
        "sent": "date sent",
        "recipient": "reference recipient",
        "based-on": "reference basedOn",
    },
    "Claim": {"patient": "reference:Patient patient", "status": "token status"},
    "ExplanationOfBenefit": {"patient": "reference:Patient patient", "status": "token status"},
    "Provenance": {
        "target": "reference target",
        "agent": "reference agent.who",
        "recorded": "date recorded",
    },
    "Basic": {"code": "token code", "subject": "reference subject", "patient": PATIENT},
    "Goal": {"subject": "reference subject", "patient": PATIENT},
    "ImagingStudy": {
        "subject": "reference subject",
        "patient": PATIENT,
        "status": "token status",
        "started": "date started",
    },
    "Consent": {
        "patient": "reference:Patient patient",
        "status": "token status",
        "category": "token category",
        "scope": "token scope",
        "date": "date dateTime",
    },
    "CareTeam": {"subject": "reference subject", "patient": PATIENT, "status": "token status"},
    "Medication": {"code": "token code"},
    "Binary": {},
    "Flag": {"subject": "reference subject", "patient": PATIENT, "status": "token status"},
    "List": {"subject": "reference subject", "patient": PATIENT, "status": "token status"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One search parameter of one type."""

    name: str
    kind: Kind
    paths: tuple[tuple[str, ...], ...]
    target: str = ""  # reference parameters: only references to this type count


@cache
def parameters_of(resource_type: str) -> Mapping[str, Parameter]:
    """The parameters of a type, common ones included."""
    rows = {**COMMON, **PARAMETERS.get(resource_type, {})}
    return {name: _parameter(name, row) for name, row in rows.items()}


def elements(resource: Mapping[str, Any], parameter: Parameter) -> Iterator[Any]:
    """The values that a parameter looks at, lists flattened."""
    for path in parameter.paths:
        yield from _walk(resource, path)


def index_keys(resource: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(type, parameter, key) for each token and reference of a resource."""
    resource_type = resource["resourceType"]
    for parameter in parameters_of(resource_type).values():
        if parameter.kind in ("token", "reference"):
            for key in keys(resource, parameter):
                yield resource_type, parameter.name, key


def keys(resource: Mapping[str, Any], parameter: Parameter) -> frozenset[str]:
    """What an equality search on a token or reference parameter may ask for."""
    found: set[str] = set()
    for value in elements(resource, parameter):
        if parameter.kind == "reference":
            found.update(_reference_keys(value, parameter.target))
        else:
            found.update(_token_keys(value))
    return frozenset(found)


def _parameter(name: str, row: str) -> Parameter:
    kind, _, paths = row.partition(" ")
    kind, _, target = kind.partition(":")
    split = tuple(tuple(path.split(".")) for path in paths.split("|"))
    return Parameter(name=name, kind=kind, paths=split, target=target)  # type: ignore[arg-type]


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _walk(item, path)
    elif not path:
        if value is not None:
            yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _walk(value[path[0]], path[1:])


def _token_keys(value: Any) -> Iterator[str]:
    """code, system|code, |code (no system), system| ; *|code where the system is implied."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, str):
        yield from (value, f"*|{value}")
    elif isinstance(value, dict) and isinstance(value.get("coding"), list):
        for coding in value["coding"]:
            yield from _token_keys(coding)
    elif isinstance(value, dict):
        system, code = value.get("system", ""), value.get("code", value.get("value"))
        if isinstance(code, str):
            yield from (code, f"{system}|{code}")
        if system:
            yield f"{system}|"


def _reference_keys(value: Any, target: str) -> Iterator[str]:
    literal = value.get("reference") if isinstance(value, dict) else None
    if not isinstance(literal, str) or literal.startswith("#"):
        return
    literal = literal.partition("/_history/")[0]
    kind, _, resource_id = literal.rpartition("/")
    kind = kind.rpartition("/")[2]
    if not target or kind == target:
        yield from (literal, f"{kind}/{resource_id}", resource_id)
