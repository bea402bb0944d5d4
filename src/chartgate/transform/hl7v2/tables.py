"""The tables: which field becomes which element. Data only; `engine.py` applies it.

A target is a path; "[]" marks the list to which each value adds an item. Source: the HL7
v2-to-FHIR implementation guide, segment maps PID[Patient], PV1[Encounter], SCH, AIS, AIL and
AIP[Appointment]. Deliberately not mapped: PID-10 and PID-22 (race and ethnicity are local by the
guide), PID-12 (deprecated for PID-11), PID-26 to PID-28 and PID-31 to PID-39 (no element in R4,
or none that the guide has settled), PV1-20 to PV1-35 and PV1-46 to PV1-49 (finance, elsewhere),
AIG (resources other than people and places have no actor here).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chartgate.transform.hl7v2 import codes

EXTENSIONS = "http://hl7.org/fhir/StructureDefinition"
PARTICIPATION = f"{codes.TERMINOLOGY}/v3-ParticipationType"
IDENTIFIER_TYPE = f"{codes.TERMINOLOGY}/v2-0203"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One field to one element."""

    source: str  # "PID-5"
    target: str  # "name[]", "period.start", "participant[].individual"
    kind: str  # a key of datatypes.KINDS
    many: bool = False  # every repetition, not the first only
    every: bool = False  # every segment of that name, not the first only
    codes: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)  # beside the value, in a list's item
    unless: str = ""  # a field that, if valued, makes this row moot


def _identifier_type(code: str) -> dict[str, Any]:
    return {"type": {"coding": [{"system": IDENTIFIER_TYPE, "code": code}]}}


def _participant(code: str, display: str) -> dict[str, Any]:
    return {"type": [{"coding": [{"system": PARTICIPATION, "code": code, "display": display}]}]}


PATIENT: tuple[Row, ...] = (
    Row(source="PID-3", target="identifier[]", kind="Identifier-patient", many=True),
    Row(source="PID-2", target="identifier[]", kind="Identifier-patient"),
    Row(source="PID-4", target="identifier[]", kind="Identifier", many=True),
    Row(
        source="PID-19",
        target="identifier[].value",
        kind="string",
        extra={"system": "http://hl7.org/fhir/sid/us-ssn", **_identifier_type("SS")},
    ),
    Row(source="PID-20", target="identifier[].value", kind="string", extra=_identifier_type("DL")),
    Row(source="PID-5", target="name[]", kind="HumanName", many=True),
    Row(source="PID-9", target="name[]", kind="HumanName", many=True),
    Row(
        source="PID-6",
        target="extension[].valueString",
        kind="string",
        extra={"url": f"{EXTENSIONS}/patient-mothersMaidenName"},
    ),
    Row(source="PID-7", target="birthDate", kind="date"),
    Row(source="PID-8", target="gender", kind="code", codes=codes.GENDER),
    Row(source="PID-11", target="address[]", kind="Address", many=True),
    Row(source="PID-13", target="telecom[]", kind="ContactPoint", many=True, extra={"use": "home"}),
    Row(source="PID-14", target="telecom[]", kind="ContactPoint", many=True, extra={"use": "work"}),
    Row(source="PID-40", target="telecom[]", kind="ContactPoint", many=True),
    Row(source="PID-15", target="communication[].language", kind="CodeableConcept"),
    Row(
        source="PID-16",
        target="maritalStatus",
        kind="CodeableConcept",
        codes=codes.MARITAL_STATUS,
    ),
    Row(
        source="PID-17",
        target="extension[].valueCodeableConcept",
        kind="CodeableConcept",
        extra={"url": f"{EXTENSIONS}/patient-religion"},
    ),
    Row(
        source="PID-23",
        target="extension[].valueAddress.text",
        kind="string",
        extra={"url": f"{EXTENSIONS}/patient-birthPlace"},
    ),
    Row(source="PID-24", target="multipleBirthBoolean", kind="boolean", unless="PID-25"),
    Row(source="PID-25", target="multipleBirthInteger", kind="positiveInt"),
    Row(source="PID-29", target="deceasedDateTime", kind="dateTime"),
    Row(source="PID-30", target="deceasedBoolean", kind="boolean", unless="PID-29"),
)

ENCOUNTER: tuple[Row, ...] = (
    Row(source="PV1-19", target="identifier[]", kind="Identifier", extra=_identifier_type("VN")),
    Row(source="PV1-50", target="identifier[]", kind="Identifier", many=True),
    Row(source="PV1-2", target="class", kind="Coding", codes=codes.PATIENT_CLASS),
    Row(source="PV1-4", target="type[]", kind="CodeableConcept"),
    Row(source="PV1-10", target="serviceType", kind="CodeableConcept"),
    Row(source="PV1-3", target="location[].location", kind="Location", extra={"status": "active"}),
    Row(
        source="PV1-6",
        target="location[].location",
        kind="Location",
        extra={"status": "completed"},
    ),
    Row(source="PV1-11", target="location[].location", kind="Location", extra={"status": "active"}),
    Row(
        source="PV1-42",
        target="location[].location",
        kind="Location",
        extra={"status": "reserved"},
    ),
    *(
        Row(
            source=source,
            target="participant[].individual",
            kind="Practitioner",
            many=True,
            extra=_participant(code, display),
        )
        for source, code, display in (
            ("PV1-7", "ATND", "attender"),
            ("PV1-8", "REF", "referrer"),
            ("PV1-9", "CON", "consultant"),
            ("PV1-17", "ADM", "admitter"),
            ("PV1-52", "PART", "Participation"),
        )
    ),
    Row(source="PV1-44", target="period.start", kind="dateTime"),
    Row(source="PV1-45", target="period.end", kind="dateTime"),
    Row(source="PV1-5", target="hospitalization.preAdmissionIdentifier", kind="Identifier"),
    Row(source="PV1-13", target="hospitalization.reAdmission", kind="CodeableConcept"),
    Row(source="PV1-14", target="hospitalization.admitSource", kind="CodeableConcept"),
    Row(
        source="PV1-15",
        target="hospitalization.specialArrangement[]",
        kind="CodeableConcept",
        many=True,
    ),
    Row(source="PV1-16", target="hospitalization.specialCourtesy[]", kind="CodeableConcept"),
    Row(source="PV1-36", target="hospitalization.dischargeDisposition", kind="CodeableConcept"),
    Row(source="PV1-37", target="hospitalization.destination.display", kind="string"),
    Row(source="PV1-38", target="hospitalization.dietPreference[]", kind="CodeableConcept"),
)

APPOINTMENT: tuple[Row, ...] = (
    Row(
        source="SCH-1",
        target="identifier[]",
        kind="Identifier-entity",
        extra=_identifier_type("PLAC"),
    ),
    Row(
        source="SCH-2",
        target="identifier[]",
        kind="Identifier-entity",
        extra=_identifier_type("FILL"),
    ),
    Row(
        source="SCH-7",
        target="reasonCode[]",
        kind="CodeableConcept",
        codes=codes.APPOINTMENT_REASON,
    ),
    Row(
        source="SCH-8",
        target="appointmentType",
        kind="CodeableConcept",
        codes=codes.APPOINTMENT_TYPE,
    ),
    Row(source="AIS-3", target="serviceType[]", kind="CodeableConcept", every=True),
    Row(
        source="AIP-3",
        target="participant[].actor",
        kind="Practitioner",
        every=True,
        many=True,
        extra={"status": "accepted"},
    ),
    Row(
        source="AIL-3",
        target="participant[].actor",
        kind="Location",
        every=True,
        many=True,
        extra={"status": "accepted"},
    ),
)
