"""Code systems and codes of audit events, as FHIR writes them."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

DICOM = "http://dicom.nema.org/resources/ontology/DCM"
EVENT_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
OBJECT_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
INTERACTION = "http://hl7.org/fhir/restful-interaction"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
PROVENANCE_ROLE = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
ROLE_CLASS = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
SECURITY_ROLE = "http://terminology.hl7.org/CodeSystem/extra-security-role-type"
SOURCE_TYPE = "http://terminology.hl7.org/CodeSystem/security-source-type"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
IHE_TRANSACTION = "urn:ihe:event-type-code"
BALP_ENTITY = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
BALP_AGENT = "https://profiles.ihe.net/ITI/BALP/CodeSystem/UserAgentTypes"
BALP_AUTHORIZATION = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"
PROFILES = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
PROFILE_TOKEN_REQUEST = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.IUA.71"
ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"

# Ours: what no standard has a code for.
OUR_ACTION = "urn:chartgate:audit-action"
OUR_ENTITY = "urn:chartgate:audit-entity-type"
OUR_REASON = "urn:chartgate:audit-reason"
OUR_DECISION = "urn:chartgate:decision"
OUR_CONSENT = "urn:chartgate:consent-digest"
OUR_LEAF = "urn:chartgate:ledger-leaf"

DICOM_WORDS: Mapping[str, str] = {
    "110100": "Application Activity",
    "110101": "Audit Log Used",
    "110106": "Export",
    "110107": "Import",
    "110110": "Patient Record",
    "110113": "Security Alert",
    "110114": "User Authentication",
    "110122": "Login",
    "110123": "Logout",
    "110127": "Emergency Override Started",
    "110129": "Security Configuration",
    "110132": "Use of Restricted Function",
    "110136": "Security Roles Changed",
    "110138": "Emergency Override Stopped",
    "110150": "Application",
    "110152": "Destination Role ID",
    "110153": "Source Role ID",
}


def coding(system: str, code: str, display: str = "") -> Json:
    """A Coding; without a display where none is known."""
    shown = display or (DICOM_WORDS.get(code, "") if system == DICOM else "")
    return {"system": system, "code": code} | ({"display": shown} if shown else {})


def concept(system: str, code: str) -> Json:
    """A CodeableConcept of one coding."""
    return {"coding": [coding(system, code)]}


def absent(reason: str = "unknown") -> Json:
    """What stands in the place of something that the standard requires and nobody knows."""
    return {"extension": [{"url": ABSENT, "valueCode": reason}]}


def words(text: str | None) -> str:
    """A text as FHIR's `string` allows it: without control characters, and not blank."""
    said = "".join(c if c.isprintable() else " " for c in text or "")
    return " ".join(said.split())
