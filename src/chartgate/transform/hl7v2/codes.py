"""Code maps: what a code of an HL7 table is in FHIR. "*" stands for every other code.

Source: the HL7 v2-to-FHIR implementation guide, concept maps. Codes that it leaves without a
target are left out here too.
"""

from collections.abc import Mapping
from typing import Any

TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"


def _codings(system: str, codes: Mapping[str, tuple[str, str]]) -> dict[str, dict[str, str]]:
    return {
        sent: {"system": f"{TERMINOLOGY}/{system}", "code": code, "display": display}
        for sent, (code, display) in codes.items()
    }


CODING_SYSTEMS: Mapping[str, str] = {  # HL7 table 0396, the part that has a URI in FHIR
    "LN": "http://loinc.org",
    "SCT": "http://snomed.info/sct",
    "SNM3": "http://snomed.info/sct",
    "I10C": "http://hl7.org/fhir/sid/icd-10-cm",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "I9C": "http://hl7.org/fhir/sid/icd-9-cm",
    "C4": "http://www.ama-assn.org/go/cpt",
    "CVX": "http://hl7.org/fhir/sid/cvx",
    "NDC": "http://hl7.org/fhir/sid/ndc",
    "RXNORM": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "UCUM": "http://unitsofmeasure.org",
}

GENDER = {
    "F": "female",
    "FEMALE": "female",
    "M": "male",
    "MALE": "male",
    "O": "other",
    "A": "other",
    "N": "other",
    "*": "unknown",
}

NAME_USE = {
    "BAD": "old",
    "D": "usual",
    "L": "official",
    "R": "official",
    "M": "maiden",
    "MSK": "anonymous",
    "N": "nickname",
    "NAV": "temp",
    "TEMP": "temp",
}

ADDRESS_USE = {"BA": "old", "BI": "billing", "C": "temp", "B": "work", "O": "work", "H": "home"}
ADDRESS_TYPE = {"M": "postal", "SH": "postal"}

CONTACT_SYSTEM = {
    "PH": "phone",
    "CP": "phone",
    "FX": "fax",
    "BP": "pager",
    "MD": "other",
    "SAT": "other",
    "TDD": "other",
    "TTY": "other",
    "INTERNET": "email",
    "X.400": "email",
}
CONTACT_USE = {"PRN": "home", "WPN": "work", "PRS": "mobile"}

MARITAL_STATUS: Mapping[str, Any] = {
    **_codings(
        "v3-MaritalStatus",
        {
            "A": ("L", "Legally Separated"),
            "D": ("D", "Divorced"),
            "M": ("M", "Married"),
            "S": ("S", "Never Married"),
            "W": ("W", "Widowed"),
            "C": ("C", "Common Law"),
            "G": ("T", "Domestic partner"),
            "P": ("T", "Domestic partner"),
            "R": ("T", "Domestic partner"),
            "E": ("L", "Legally Separated"),
            "N": ("A", "Annulled"),
            "I": ("I", "Interlocutory"),
            "B": ("U", "unmarried"),
        },
    ),
    **_codings(
        "v3-NullFlavor",
        {"U": ("UNK", "unknown"), "O": ("OTH", "other"), "T": ("NAVU", "not available")},
    ),
}

PATIENT_CLASS: Mapping[str, Any] = {
    **_codings(
        "v3-ActCode",
        {
            "E": ("EMER", "emergency"),
            "I": ("IMP", "inpatient encounter"),
            "O": ("AMB", "ambulatory"),
            "P": ("PRENC", "pre-admission"),
        },
    ),
    **_codings(
        "v2-0004",
        {
            "R": ("R", "Recurring patient"),
            "B": ("B", "Obstetrics"),
            "C": ("C", "Commercial Account"),
            "N": ("N", "Not Applicable"),
            "U": ("U", "Unknown"),
        },
    ),
}
CLASS_UNKNOWN = {"system": f"{TERMINOLOGY}/v3-NullFlavor", "code": "UNK", "display": "unknown"}
ENCOUNTER_STATUS = {"P": "planned", "U": "unknown", "*": "in-progress"}  # by PV1-2

APPOINTMENT_STATUS = {
    "PENDING": "pending",
    "WAITLIST": "waitlist",
    "BOOKED": "booked",
    "STARTED": "checked-in",
    "COMPLETE": "fulfilled",
    "CANCELLED": "cancelled",
    "DELETED": "entered-in-error",
    "NOSHOW": "noshow",
}

APPOINTMENT_REASON: Mapping[str, Any] = {
    "CHECKUP": {"system": "http://snomed.info/sct", "code": "866149003"},
    "FOLLOWUP": {"system": "http://snomed.info/sct", "code": "185389009"},
    "EMERGENCY": {"system": "http://snomed.info/sct", "code": "373110003"},
    "ROUTINE": {"system": "http://snomed.info/sct", "code": "3780001"},
}
APPOINTMENT_TYPE: Mapping[str, Any] = {
    code.upper(): {"system": f"{TERMINOLOGY}/v2-0277", "code": code}
    for code in ("Normal", "Tentative", "Complete")
}

MINUTES_PER_UNIT = {"M": 1, "MIN": 1, "MINUTE": 1, "MINUTES": 1, "H": 60, "HR": 60, "HOURS": 60}
