"""Whom a FHIR R4 resource is about: the patient that its compartment element names.

Source: https://hl7.org/fhir/R4/compartmentdefinition-patient.html
"""

import re
from typing import Any

PATIENT_ELEMENTS = ("subject", "patient", "for", "beneficiary", "individual")
PREFIX = "Patient/"
# Types that say nothing about a patient: definitions, directories, and what is on offer. Of every
# other type it must be told whom it is about, or it is nobody's to show.
NAMES = """
    ActivityDefinition CapabilityStatement CatalogEntry ChargeItemDefinition CodeSystem
    CompartmentDefinition ConceptMap DeviceDefinition EffectEvidenceSynthesis Endpoint
    EventDefinition Evidence EvidenceVariable ExampleScenario GraphDefinition HealthcareService
    ImplementationGuide InsurancePlan Library Location Measure Medication MedicationKnowledge
    MedicinalProduct MedicinalProductAuthorization MedicinalProductContraindication
    MedicinalProductIndication MedicinalProductIngredient MedicinalProductInteraction
    MedicinalProductManufactured MedicinalProductPackaged MedicinalProductPharmaceutical
    MedicinalProductUndesirableEffect MessageDefinition NamingSystem ObservationDefinition
    OperationDefinition Organization OrganizationAffiliation PlanDefinition Practitioner
    PractitionerRole Questionnaire ResearchDefinition ResearchElementDefinition ResearchStudy
    RiskEvidenceSynthesis Schedule SearchParameter Slot SpecimenDefinition StructureDefinition
    StructureMap Substance SubstanceNucleicAcid SubstancePolymer SubstanceProtein
    SubstanceReferenceInformation SubstanceSourceMaterial SubstanceSpecification
    TerminologyCapabilities TestReport TestScript ValueSet
"""
WITHOUT_PATIENTS = frozenset(NAMES.split())
SOMEBODY = "Patient/?"  # a patient is meant, and it cannot be told which
LITERAL = re.compile(r"(?:[a-z]+://[^?#]+/)?(Patient/[A-Za-z0-9\-.]{1,64})(?:/_history/[^/?#]+)?")
DEPTH_MAX = 64


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
    """ "Patient/7" of a reference to that patient, or to one version of it."""
    reference = value.get("reference") if isinstance(value, dict) else None
    if isinstance(reference, str) and reference.startswith(PREFIX):
        match = LITERAL.fullmatch(reference)
        return match[1] if match else reference
    return None


def patients_named(resource: dict[str, Any]) -> frozenset[str]:
    """Every patient that the resource is or refers to, at any depth: each of them has a say in
    who sees it. Holds SOMEBODY where one is meant that cannot be told: a contained patient, a
    conditional or a logical reference. A Patient's links to its own other records do not count.

    Raises ValueError for what nests deeper than any FHIR resource.
    """
    found: set[str] = set()
    own = resource
    if resource.get("resourceType") == "Patient":
        found.add(f"{PREFIX}{resource['id']}" if "id" in resource else SOMEBODY)
        own = {name: value for name, value in resource.items() if name != "link"}
    _collect(list(own.values()), found, DEPTH_MAX)
    return frozenset(found)


def is_unattributed(resource: dict[str, Any], named: frozenset[str]) -> bool:
    """Whether it may be about a patient, and does not say about whom."""
    return not named and resource.get("resourceType") not in WITHOUT_PATIENTS


def _collect(value: Any, found: set[str], depth: int) -> None:
    if depth == 0:
        raise ValueError("nests too deep")
    if type(value) is list:
        for item in value:
            if type(item) is dict or type(item) is list:
                _collect(item, found, depth - 1)
    elif type(value) is dict:
        _collect_object(value, found, depth)


def _collect_object(value: dict[str, Any], found: set[str], depth: int) -> None:
    if value.get("resourceType") == "Patient":
        found.add(SOMEBODY)
    reference = value.get("reference")
    if type(reference) is str and PREFIX[:-1] in reference:
        match = LITERAL.fullmatch(reference)
        found.add(match[1] if match else SOMEBODY)
    elif reference is None and value.get("type") == "Patient":
        found.add(SOMEBODY)
    for item in value.values():
        if type(item) is dict or type(item) is list:
            _collect(item, found, depth - 1)


def owner_of(resource: dict[str, Any]) -> str | None:
    """Whose key seals the resource: "Patient/7", "" where it may be about somebody and cannot be
    told about whom alone, None where its type says nothing about patients."""
    if resource.get("resourceType") in WITHOUT_PATIENTS:
        return None
    if patient := patient_of(resource):
        return patient
    try:
        named = patients_named(resource)
    except ValueError:
        return ""
    return next(iter(named)) if len(named) == 1 and SOMEBODY not in named else ""
