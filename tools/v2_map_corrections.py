"""Where tools/build_v2_maps.py departs from the official concept maps, each with its reason.

Facts for the builder and for the tests: which map feeds which element, and every code that the
source leaves out, spells wrong, or sends to a place that R4 does not have.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Maps whose target is a bare code, and the element that it fills. A target outside the element's
# required value set is an error of the build, unless a correction says what to do with it.
CODE_ELEMENTS: Mapping[str, str] = {
    "AddressType[Type]": "Address.type",
    "AddressType[Use]": "Address.use",
    "AdministrativeSex": "Patient.gender",
    "AllergenType[AllergyIntoleranceCategory]": "AllergyIntolerance.category",
    "AllergySeverity[AllergyIntolerance.criticality]": "AllergyIntolerance.criticality",
    "AllergySeverity[AllergyIntolerance.reaction.severity]": "AllergyIntolerance.reaction.severity",
    "AllergyType": "AllergyIntolerance.type",
    "CompletionStatus": "Immunization.status",
    "CountryCode": "Address.country",
    "Event[EncounterStatus]": "Encounter.status",
    "EventRelatedPeriod": "Timing.repeat.when",
    "ExtendedPriorityCodes": "ServiceRequest.priority",
    "FillerStatusCodes[Appointment]": "Appointment.status",
    "NameAssemblyOrder": "Extension.valueCode",
    "NameType": "HumanName.use",
    "ObservationResultStatusCodesInterpretation": "Observation.status",
    "OrderControlCode[ServiceRequest.status]": "ServiceRequest.status",
    "OrderStatus": "ServiceRequest.status",
    "PatientClass[EncounterStatus]": "Encounter.status",
    "ResultStatus[Non-Queries]": "DiagnosticReport.status",
    "SegmentActionCode": "Bundle.entry.request.method",
    "TelecommunicationEquipmentType": "ContactPoint.system",
    "TelecommunicationEquipmentType[Use]": "ContactPoint.use",
    "TelecommunicationUseCode": "ContactPoint.use",
    "Test/ServiceDefaultDurationUnits": "Timing.repeat.durationUnit",
    "Yes/NoIndicator": "Patient.multipleBirthBoolean",
    "Yes/NoIndicator[AvailabilityStatus]": "Specimen.status",
}

# File names cannot hold a slash; the columns of the segment maps do.
COLUMN_NAMES: Mapping[str, str] = {
    "AdditivePreservative": "Additive/Preservative",
    "TestServiceDefaultDurationUnits": "Test/ServiceDefaultDurationUnits",
    "YesNoIndicator": "Yes/NoIndicator",
    "YesNoIndicator[AvailabilityStatus]": "Yes/NoIndicator[AvailabilityStatus]",
}


@dataclass(frozen=True, kw_only=True)
class Correction:
    """One map's codes with the target that they have here: a code, a coding, or None for none."""

    map: str
    targets: Mapping[str, Any]
    reason: str


def codings(system: str, **codes: str) -> dict[str, dict[str, str]]:
    """Targets of one code system: each code of v2 with the code it has there."""
    url = f"http://terminology.hl7.org/CodeSystem/{system}"
    return {sent: {"system": url, "code": code} for sent, code in codes.items()}


CORRECTIONS: tuple[Correction, ...] = (
    Correction(
        map="AdministrativeSex",
        targets={"FEMALE": "female", "MALE": "male"},
        reason="senders write the words out; the meaning is the same",
    ),
    Correction(
        map="BodyParts",
        targets={"CHESTÂ": None, "KIDNÂ": None, "Â": None},
        reason="a blank in a wrong encoding; CHEST and KIDN are there without it",
    ),
    Correction(
        map="EventRelatedPeriod",
        targets={"IC": None, "ICD": None, "ICM": None, "ICV": None},
        reason="Timing.repeat.when requires a value set of R4 that has no time between meals",
    ),
    Correction(
        map="ObservationResultStatusCodesInterpretation",
        targets={
            "B": "amended",
            "I": "registered",
            "R": "preliminary",
            "S": "preliminary",
            "U": "final",
            "V": "final",
        },
        reason="Observation.status is mandatory and the source leaves these open; the table's own "
        "words (appended, pending, not verified, partial, now final, verified) say which",
    ),
    Correction(
        map="OrderControlCode[ServiceRequest.status]",
        targets={"CA": "revoked"},
        reason="the source calls a cancelled order active, and a discontinued one (DC) revoked; "
        "an order that its placer cancels must not look as if it were to be carried out",
    ),
    Correction(
        map="RepeatPattern",
        targets={
            **{f"Q<integer>{unit}": None for unit in "SMHDWL"},
            "Q<integer>J<day#>": None,
            "xID": None,
            "PRNxxx": None,
            '"U <spec>"': None,
            '"Meal Related Timings"': None,
        },
        reason="patterns, not codes: no message holds them as they stand",
    ),
    Correction(
        map="RepeatPattern",
        targets=codings(
            "v3-GTSAbbreviation",
            Q1H="Q1H",
            Q2H="Q2H",
            Q3H="Q3H",
            Q4H="Q4H",
            Q6H="Q6H",
            Q8H="Q8H",
            Q1D="QD",
            QD="QD",
            Q1W="WK",
            Q1L="MO",
        ),
        reason="the source writes these rows by meaning, without the code that a message holds",
    ),
    Correction(
        map="ResultStatus[Non-Queries]",
        targets={"A": "partial", "M": "preliminary", "N": "registered"},
        reason="DiagnosticReport.status is mandatory and the source leaves these open; the table's "
        "own words (some results, corrected but not final, results pending) say which",
    ),
    Correction(
        map="SegmentActionCode",
        targets={"U": "PUT"},
        reason="the source offers PUT and PATCH; a segment holds the whole",
    ),
    Correction(
        map="TelecommunicationEquipmentType",
        targets={"CP": "phone"},
        reason="the source gives a use (mobile) where the element is the system",
    ),
    Correction(
        map="TelecommunicationEquipmentType[Use]",
        targets={"CP": "mobile"},
        reason="the use that the source hides among the systems",
    ),
    Correction(
        map="Test/ServiceDefaultDurationUnits",
        targets={unit: unit for unit in ("s", "min", "h", "d", "wk", "mo", "a")},
        reason="the source lists the targets only; v2 sends the same UCUM codes",
    ),
    Correction(
        map="UniversalIDType",
        targets={"L,M,N": None, **codings("v2-0301", L="L", M="M", N="N")},
        reason="three codes of the table in one row",
    ),
    Correction(
        map="Yes/NoIndicator",
        targets={"Y": True, "N": False},
        reason="the element is a boolean, not a code of that name",
    ),
)
