"""Whom a FHIR R4 resource is about: the patient that its compartment element names.

Source: https://hl7.org/fhir/R4/compartmentdefinition-patient.html
"""

from typing import Any

PATIENT_ELEMENTS = ("subject", "patient", "for", "beneficiary", "individual")
PREFIX = "Patient/"


def patient_of(resource: dict[str, Any]) -> str | None:
    """ "Patient/7" where the resource is, or names as its own, exactly one patient."""
    if resource.get("resourceType") == "Patient":
        return f"{PREFIX}{resource['id']}" if "id" in resource else None
    named = {
        reference
        for element in PATIENT_ELEMENTS
        if (reference := _reference(resource.get(element)))
    }
    if isinstance(resource.get("participant"), list):
        actors = (p.get("actor") for p in resource["participant"] if isinstance(p, dict))
        named.update(reference for actor in actors if (reference := _reference(actor)))
    return named.pop() if len(named) == 1 else None


def _reference(value: Any) -> str | None:
    reference = value.get("reference") if isinstance(value, dict) else None
    if isinstance(reference, str) and reference.startswith(PREFIX):
        return reference
    return None
