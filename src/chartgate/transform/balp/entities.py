"""Entities of an audit event: what it is about, for which patient, by which request and rule."""

import base64
from collections.abc import Iterable
from urllib.parse import quote

from chartgate.formats import r4
from chartgate.formats.r4_structure import REFERENCE
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.label import CONFIDENTIALITY as CONFIDENTIALITY_CODES
from chartgate.transform.balp.agents import Place
from chartgate.transform.balp.codes import (
    ACT_CODE,
    BALP_ENTITY,
    CONFIDENTIALITY,
    ENTITY_TYPE,
    OBJECT_ROLE,
    OUR_CONSENT,
    OUR_DECISION,
    OUR_ENTITY,
    OUR_LEAF,
    OUR_REASON,
    RESOURCE_TYPES,
    Json,
    coding,
    words,
)

SYSTEM_OBJECT = coding(ENTITY_TYPE, "2", "System Object")
DOMAIN_RESOURCE = coding(OBJECT_ROLE, "4", "Domain Resource")


def patient(reference: str) -> Json:
    """The patient whom it is about."""
    return {
        "what": {"reference": reference},
        "type": coding(ENTITY_TYPE, "1", "Person"),
        "role": coding(OBJECT_ROLE, "1", "Patient"),
    }


def data(reference: str, event: AuditEvent) -> Json:
    """The one resource that a pattern is about."""
    entity = {"what": what(reference), "type": SYSTEM_OBJECT, "role": DOMAIN_RESOURCE}
    return entity | _labels(event)


def other(reference: str) -> Json:
    """A further resource: its type is its own, since a pattern allows one system object."""
    resource_type = reference.partition("/")[0]
    if _is_fhir(reference):
        type_ = coding(RESOURCE_TYPES, resource_type)
    else:
        type_ = coding(OUR_ENTITY, "object")
    return {"what": what(reference), "type": type_, "role": DOMAIN_RESOURCE}


def what(reference: str) -> Json:
    """A FHIR reference as such; one of ours as an identifier."""
    if _is_fhir(reference):
        return {"reference": reference}
    kind, _, id_ = reference.partition("/")
    if not id_:
        return {"display": kind}
    return {"identifier": {"system": f"urn:chartgate:{kind.lower()}", "value": id_}}


def query(event: AuditEvent, place: Place) -> Json:
    """The search, without its values: they can say as much of a patient as the chart."""
    resource_type = next((e for e in event.entities if "/" not in e), "")
    names = dict(event.details).get("parameters", "")
    criteria = "&".join(f"{quote(name)}=" for name in names.split(",") if name)
    path = f"{place.url}/fhir/{event.site or ''}/{resource_type}"
    asked = f"GET {path}?{criteria}" if criteria else f"GET {path}"
    return {
        "type": SYSTEM_OBJECT,
        "role": coding(OBJECT_ROLE, "24", "Query"),
        "query": base64.b64encode(asked.encode()).decode(),
    } | _labels(event)


def token_request(event: AuditEvent) -> Json:
    """What was asked for at the token endpoint; the assertion is not kept."""
    scope = dict(event.details).get("scope", "")
    asked = f"grant_type=client_credentials&scope={quote(scope)}"
    return {
        "type": SYSTEM_OBJECT,
        "role": coding(OBJECT_ROLE, "24", "Query"),
        "query": base64.b64encode(asked.encode()).decode(),
    }


def consent(event: AuditEvent) -> Json:
    """The consent that decided, or the digest of all that were looked at."""
    said = dict(event.details).get("consent", "")
    entity = {"type": coding(RESOURCE_TYPES, "Consent")}
    if _is_fhir(said.partition("#")[0]):
        entity["what"] = {"reference": said.partition("#")[0]}
    elif event.consent:
        entity["what"] = {"identifier": {"system": OUR_CONSENT, "value": event.consent}}
    else:
        entity["what"] = {"display": "none was found"}
    return entity | _detail(event)


def transaction(event: AuditEvent) -> list[Json]:
    """The request, by the X-Request-Id of its answer."""
    if not event.request:
        return []
    type_ = coding(BALP_ENTITY, "XrequestId")
    return [{"what": {"identifier": {"value": event.request}}, "type": type_}]


def decision(event: AuditEvent, leaf: str) -> list[Json]:
    """By which decision, rule and charter; and where this stands in the ledger."""
    found = [
        {
            "what": {"identifier": {"system": OUR_LEAF, "value": leaf}},
            "type": coding(OUR_ENTITY, "leaf"),
        }
    ]
    detail = _detail(event)
    if event.decision or detail:
        value = {"identifier": {"system": OUR_DECISION, "value": event.decision or "none"}}
        found.append({"what": value, "type": coding(OUR_ENTITY, "decision")} | detail)
    return found


def reason(event: AuditEvent) -> list[Json]:
    """Why it was refused or failed, as a code."""
    if event.outcome is Outcome.SUCCESS:
        return []
    value = {"identifier": {"system": OUR_REASON, "value": reason_code(event)}}
    return [{"what": value, "type": coding(OUR_ENTITY, "reason")}]


def reason_code(event: AuditEvent) -> str:
    """The event's reason where it is a code; a sentence is told in outcomeDesc, not here."""
    said = words(event.reason)
    return said if said and " " not in said else event.outcome.value


def _detail(event: AuditEvent) -> Json:
    pairs: Iterable[tuple[str, str | None]] = (
        ("action", event.action),
        ("rule", event.rule),
        ("charter", event.charter),
        ("charter-digest", event.charter_digest),
        ("interaction", event.interaction),
        ("consent-digest", event.consent),
        ("disclosed", event.disclosed),
        ("reason", event.reason if event.outcome is Outcome.SUCCESS else None),
        *event.details,
    )
    written = [{"type": name, "valueString": said} for name, v in pairs if (said := words(v))]
    return {"detail": written} if written else {}


def _labels(event: AuditEvent) -> Json:
    if not event.labels:
        return {}
    systems = [CONFIDENTIALITY if c in CONFIDENTIALITY_CODES else ACT_CODE for c in event.labels]
    codes = zip(systems, event.labels, strict=True)
    return {"securityLabel": [coding(system, code) for system, code in codes]}


def _is_fhir(reference: str) -> bool:
    matched = REFERENCE.fullmatch(reference)
    return matched is not None and r4.is_resource_type(matched[1])
