"""Writes src/chartgate/demo/hospital/sample_patients.json: the patients of the sample hospital.

They are made by clinosim (MIT licence; synthetic, after no real person), which takes longer than a
start should and is needed only here: `pip install clinosim==0.6.5`, then
`python tools/build_sample_patients.py`. The file is trimmed to what a clinic's day needs and its
ids are made short, so that a person can follow the story. Dates end at ANCHOR; the hospital moves
them to its own today.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ANCHOR = "2026-06-30"
SEED = "7"
POPULATION = "110"  # of the catchment area; some 60 of them become patients
OUT = Path(__file__).parents[1] / "src/chartgate/demo/hospital/sample_patients.json"
MRN_SYSTEM = "https://north-clinic.example/mrn"
CLINICIANS = ("DR-PC-001", "DR-PC-002", "DR-IM-001", "DR-IM-002")
OBSERVED = ("85354-9", "29463-7", "4548-4", "2160-0")  # pressure, weight, HbA1c, creatinine
KEPT: Mapping[str, tuple[int, str]] = {  # how many a patient, and which elements
    "Coverage": (1, "status type subscriberId subscriber beneficiary relationship payor period"),
    "Encounter": (2, "status class subject type serviceType period reasonCode participant"),
    "Condition": (
        4,
        "clinicalStatus verificationStatus category code subject onsetDateTime recordedDate",
    ),
    "AllergyIntolerance": (2, "clinicalStatus verificationStatus code patient recordedDate"),
    "MedicationRequest": (
        2,
        "status intent medicationCodeableConcept subject authoredOn requester",
    ),
    "Observation": (
        3,
        "status category code subject effectiveDateTime valueQuantity component encounter",
    ),
    "DocumentReference": (1, "status docStatus type category subject date content context"),
}
PATIENT = "active name gender birthDate deceasedDateTime address telecom maritalStatus"
NEWEST = {"Encounter": "period", "Observation": "effectiveDateTime"}
PREFIXES = {
    "Coverage": "cov",
    "Encounter": "visit",
    "Condition": "cond",
    "AllergyIntolerance": "allergy",
    "MedicationRequest": "med",
    "Observation": "obs",
    "DocumentReference": "note",
}
EMPTY: tuple[Any, ...] = (None, "", [], {})
Rows = dict[str, list[dict[str, Any]]]


def main() -> None:
    """Runs clinosim and writes the file."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("clinosim")), "simulate", "--country", "US"]
        command += ["--population", POPULATION, "--seed", SEED, "--end", ANCHOR]
        subprocess.run([*command, "--output", folder, "--format", "fhir-r4"], check=True)
        rows = {
            file.stem: [json.loads(line) for line in file.read_text("utf-8").splitlines()]
            for file in sorted((Path(folder) / "fhir_r4").glob("*.ndjson"))
        }
    lines = [
        json.dumps(resource, ensure_ascii=False, separators=(",", ":"))
        for resource in renamed(list(selected(rows)))
    ]
    OUT.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{OUT}: {len(lines)} resources, {OUT.stat().st_size} bytes")


def selected(rows: Rows) -> Iterator[dict[str, Any]]:
    """Trimmed resources, still with clinosim's ids."""
    for practitioner in rows["Practitioner"]:
        if practitioner["id"] in CLINICIANS:
            yield trimmed(practitioner, "active name gender telecom")
    payers: set[str] = set()
    for patient in sorted(rows["Patient"], key=lambda p: str(p["id"])):
        yield trimmed(patient, PATIENT)
        for kind, (most, elements) in KEPT.items():
            mine = of_patient(rows[kind], f"Patient/{patient['id']}")
            if kind in NEWEST:
                mine.sort(key=lambda r, kind=kind: str(r[NEWEST[kind]]), reverse=True)  # type: ignore[misc]
            for resource in mine[:most]:
                kept = trimmed(resource, elements)
                payers.update(p["reference"] for p in kept.get("payor", ()))
                yield kept
    for organization in rows["Organization"]:
        if f"Organization/{organization['id']}" in payers:
            yield trimmed(organization, "active type name")


def of_patient(resources: list[dict[str, Any]], reference: str) -> list[dict[str, Any]]:
    """What is worth keeping of one patient, oldest first."""
    found = []
    for resource in resources:
        owner = resource.get("subject") or resource.get("beneficiary") or resource.get("patient")
        code = (resource.get("code") or {}).get("coding", [{}])[0].get("code")
        wanted = resource["resourceType"] != "Observation" or code in OBSERVED
        ambulatory = resource["resourceType"] != "Encounter" or resource["class"]["code"] == "AMB"
        if owner == {"reference": reference} and wanted and ambulatory:
            found.append(resource)
    return found


def trimmed(resource: dict[str, Any], elements: str) -> dict[str, Any]:
    """The named elements, and those parts of them that a reader of the demo looks at."""
    names = ("resourceType", "id", *elements.split())
    kept = {name: resource[name] for name in names if name in resource}
    for component in kept.get("component", ()):
        for name in ("referenceRange", "interpretation"):
            component.pop(name, None)
    if "participant" in kept:
        attending = [p for p in kept["participant"] if p["type"][0]["coding"][0]["code"] == "ATND"]
        kept["participant"] = attending[:1]
    if kept["resourceType"] == "Patient":
        for contact in kept.get("telecom", ()):
            contact.pop("rank", None)
    return kept


def renamed(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Short ids everywhere, and only clinicians that are kept."""
    counts: Counter[str] = Counter()
    ids: dict[str, str] = {}
    for resource in resources:
        kind = resource["resourceType"]
        old = f"{kind}/{resource['id']}"
        if kind == "Patient":
            counts[kind] += 1
            mrn = f"N{1000 + counts[kind]}"
            ids[old] = f"Patient/{mrn}"
            resource["identifier"] = [identifier(mrn)]
        elif kind in PREFIXES:
            counts[kind] += 1
            ids[old] = f"{kind}/{PREFIXES[kind]}-{1000 + counts[kind]}"
        else:
            ids[old] = old
    for resource in resources:
        old = f"{resource['resourceType']}/{resource['id']}"
        resource["id"] = ids[old].partition("/")[2]
    return [relinked(resource, ids) for resource in resources]


def identifier(mrn: str) -> dict[str, Any]:
    """A medical record number of the clinic."""
    coding = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}
    return {"use": "usual", "type": {"coding": [coding]}, "system": MRN_SYSTEM, "value": mrn}


def relinked(value: Any, ids: Mapping[str, str]) -> Any:
    """References to what is kept; to clinicians who are not, one who is; others are left out."""
    if isinstance(value, list):
        return [r for item in value if (r := relinked(item, ids)) not in EMPTY]
    if not isinstance(value, dict):
        return value
    reference = value.get("reference")
    if isinstance(reference, str):
        if reference in ids:
            return {**value, "reference": ids[reference]}
        if reference.startswith("Practitioner/"):
            number = sum(reference.encode()) % len(CLINICIANS)
            return {"reference": f"Practitioner/{CLINICIANS[number]}"}
        return None
    copies = {name: relinked(item, ids) for name, item in value.items()}
    return {name: item for name, item in copies.items() if item not in EMPTY}


if __name__ == "__main__":
    main()
