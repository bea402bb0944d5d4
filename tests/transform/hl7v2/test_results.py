"""Reports, observations and specimens of ORU messages, and how they change."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chartgate.errors import Unprocessable
from chartgate.formats.hl7v2 import parse
from chartgate.formats.r4_structure import structure_findings
from chartgate.testing.messages import adt, header, message, patient, visit
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.messages import SUPPORTED, transform
from chartgate.transform.hl7v2.settings import FeedSettings

SETTINGS = FeedSettings(connection="north-lab", site="north-clinic", patient_system="urn:mrn")
CORPUS = Path(__file__).parents[4] / "shared" / "corpora" / "hl7v2"
ORC = "ORC|RE|P1^EHR|F1^LAB"
NOTE = "http://hl7.org/fhir/5.0/StructureDefinition/extension-DiagnosticReport.note"


def obr(code: str = "600-7^Culture^LN", status: str = "F", **fields: str) -> str:
    """OBR of the order P1; `fields` by number, f7="20240101"."""
    said = [""] * 50
    said[2], said[3], said[4], said[25] = "P1^EHR", "F1^LAB", code, status
    for name, value in fields.items():
        said[int(name[1:])] = value
    return "OBR|" + "|".join(said[1:]).rstrip("|")


class Record:
    """What a record holds after some messages, each resource checked as R4."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}

    def take(self, *segments: str, trigger: str = "ORU^R01", late: bool = False) -> None:
        self.take_raw(message(header(trigger, f"C{len(self.held)}"), patient(), *segments), late)

    def take_raw(self, raw: bytes, late: bool = False) -> None:
        for draft in transform(parse(raw), SETTINGS).drafts:
            resource = merged(self.held.get(draft.reference), draft, late=late)
            assert list(structure_findings(resource)) == []
            self.held[draft.reference] = resource

    def all_of(self, resource_type: str) -> list[Any]:
        return [r for r in self.held.values() if r["resourceType"] == resource_type]

    def one(self, resource_type: str) -> Any:
        [found] = self.all_of(resource_type)
        return found


@pytest.fixture
def record() -> Record:
    return Record()


def references(items: list[dict[str, Any]]) -> list[str]:
    return [item["reference"] for item in items]


def test_result_is_a_report_with_its_observations_in_order(record: Record) -> None:
    record.take(
        visit(),
        ORC,
        obr(f7="202401011200", f8="202401011300", f22="20240102030405", f24="MB", f32="9&Ham&Sue"),
        "NTE|1||Seen twice",
        "OBX|1|NM|1^One^L||7|mg|3-9|H|||F|||202401011230||55^Watch^Wim",
        "NTE|1||Repeated",
        "OBX|2|ST|2^Two^L||none||||||P",
    )
    report, (first, second) = record.one("DiagnosticReport"), record.all_of("Observation")
    assert report["status"] == "final"
    assert report["code"]["coding"][0]["code"] == "600-7"
    assert report["effectivePeriod"] == {
        "start": "2024-01-01T12:00:00+00:00",
        "end": "2024-01-01T13:00:00+00:00",
    }
    assert report["issued"] == "2024-01-02T03:04:05+00:00"
    assert report["category"][0]["coding"][0]["display"] == "Microbiology"
    assert report["resultsInterpreter"][0]["display"] == "Sue Ham"
    assert references(report["result"]) == [f"Observation/{o['id']}" for o in (first, second)]
    assert report["extension"][0]["url"] == NOTE
    assert report["extension"][0]["valueAnnotation"] == {"text": "Seen twice"}
    assert [i["value"] for i in report["identifier"]] == ["P1", "F1"]
    assert first["effectiveDateTime"] == "2024-01-01T12:30:00+00:00"
    assert first["interpretation"][0]["coding"][0]["display"] == "High"
    assert first["note"][0]["text"] == "Repeated"
    assert first["performer"][0]["display"] == "Wim Watch"
    assert second["effectivePeriod"] == report["effectivePeriod"]
    assert (first["status"], second["status"]) == ("final", "preliminary")
    people = {"subject": f"Patient/{record.one('Patient')['id']}"}
    people["encounter"] = f"Encounter/{record.one('Encounter')['id']}"
    for resource in (report, first, second):
        assert {name: resource[name]["reference"] for name in people} == people


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("F", "final"), ("P", "preliminary"), ("C", "corrected"), ("D", "entered-in-error"),
        ("W", "entered-in-error"), ("X", "cancelled"), ("I", "registered"), ("R", "preliminary"),
        ("S", "preliminary"), ("U", "final"), ("N", "final"), ("O", "registered"), ("", "unknown"),
        ("?", "unknown"),
    ],
)  # fmt: skip
def test_observation_status_by_table_0085(record: Record, sent: str, status: str) -> None:
    record.take(ORC, obr(), f"OBX|1|NM|1^One^L||||||||{sent}")
    assert record.one("Observation")["status"] == status


@pytest.mark.parametrize(
    ("sent", "status"),
    [("F", "final"), ("C", "corrected"), ("P", "preliminary"), ("X", "cancelled"), ("A", "partial"),
     ("R", "partial"), ("O", "registered"), ("Y", "unknown"), ("", "unknown")],
)  # fmt: skip
def test_report_status_by_table_0123(record: Record, sent: str, status: str) -> None:
    record.take(ORC, obr(status=sent), "OBX|1|NM|1^One^L||7||||||F")
    assert record.one("DiagnosticReport")["status"] == status


def test_correction_is_the_same_observation_with_another_status(record: Record) -> None:
    record.take(ORC, obr(status="P"), "OBX|1|NM|1^One^L||7||||||P", "OBX|2|NM|2^Two^L||8||||||P")
    record.take(ORC, obr(status="C"), "OBX|1|NM|1^One^L||9||||||C")
    first, second = record.all_of("Observation")
    assert (first["status"], first["valueQuantity"]["value"]) == ("corrected", 9)
    assert (second["status"], second["valueQuantity"]["value"]) == ("preliminary", 8)
    report = record.one("DiagnosticReport")
    assert report["status"] == "corrected"
    assert len(report["result"]) == 2


@pytest.mark.parametrize("status", ["D", "W"])
def test_withdrawn_result_stays_as_entered_in_error(record: Record, status: str) -> None:
    record.take(ORC, obr(), "OBX|1|NM|1^One^L||7||||||F")
    record.take(ORC, obr(status="C"), f"OBX|1|NM|1^One^L||||||||{status}")
    found = record.one("Observation")
    assert (found["status"], found["valueQuantity"]["value"]) == ("entered-in-error", 7)


def test_result_that_could_not_be_had_says_so_until_it_is_there(record: Record) -> None:
    record.take(ORC, obr(), "OBX|1|NM|1^One^L||||||||X")
    [said] = record.one("Observation")["_status"]["extension"]
    assert said["valueCodeableConcept"]["coding"][0]["code"] == "X"
    record.take(ORC, obr(), "OBX|1|NM|1^One^L||7||||||F")
    assert "_status" not in record.one("Observation")


def test_value_takes_the_place_of_the_reason_why_there_was_none(record: Record) -> None:
    record.take(ORC, obr(), "OBX|1|NM|1^One^L||||||||N")
    assert record.one("Observation")["dataAbsentReason"]["coding"][0]["code"] == "not-asked"
    record.take(ORC, obr(), "OBX|1|NM|1^One^L||7||||||F")
    assert "dataAbsentReason" not in record.one("Observation")


def test_late_message_changes_nothing_that_is_known(record: Record) -> None:
    record.take(ORC, obr(), "OBX|1|NM|1^One^L||7||||||F")
    record.take(ORC, obr(), "OBX|1|ST|1^One^L||open||||||P", late=True)
    found = record.one("Observation")
    assert (found["status"], found["valueQuantity"]["value"]) == ("final", 7)
    assert "valueString" not in found


def test_lines_of_a_report_are_kept_each_in_order(record: Record) -> None:
    lines = [f"OBX|{n}|TX|GDT^Report^L||line {n}||||||F" for n in range(1, 4)]
    record.take(ORC, obr(), *lines)
    record.take(ORC, obr(), *lines)
    found = record.all_of("Observation")
    assert [o["valueString"] for o in found] == ["line 1", "line 2", "line 3"]
    assert references(record.one("DiagnosticReport")["result"]) == [
        f"Observation/{o['id']}" for o in found
    ]


def test_line_without_a_name_has_that_of_its_report(record: Record) -> None:
    record.take(ORC, obr(), "OBX|1|TX|||Impression: good||||||F")
    found = record.one("Observation")
    assert found["code"] == record.one("DiagnosticReport")["code"]


def test_sub_identifiers_tell_equal_codes_apart(record: Record) -> None:
    record.take(ORC, obr(), "OBX|1|ST|1^One^L|1|a||||||F", "OBX|2|ST|1^One^L|2|b||||||F")
    record.take(ORC, obr(), "OBX|1|ST|1^One^L|2|c||||||C")
    first, second = record.all_of("Observation")
    assert (first["valueString"], second["valueString"]) == ("a", "c")
    assert first["extension"][0]["extension"][0]["valueString"] == "1"


def test_panels_under_one_number_are_reports_of_their_own(record: Record) -> None:
    record.take(ORC, obr("A^A^L"), "OBX|1|ST|1||a||||||F", obr("B^B^L"), "OBX|1|ST|1||b||||||F")
    assert [r["code"]["coding"][0]["code"] for r in record.all_of("DiagnosticReport")] == ["A", "B"]
    assert [o["valueString"] for o in record.all_of("Observation")] == ["a", "b"]


def test_result_of_a_result_is_its_member(record: Record) -> None:
    record.take(
        ORC,
        obr(),
        "OBX|1|CWE|600-7^Bacteria^LN|1|112283007^E. coli^SCT||||||F",
        obr("29576-6^Susceptibility^LN", f3="F2^LAB", f11="G", f26="600-7&Bacteria&LN^1"),
        "OBX|1|SN|AMP^Ampicillin^L||<=^2|ug/mL|||||F",
    )
    parent, child = record.all_of("Observation")
    assert references(parent["hasMember"]) == [f"Observation/{child['id']}"]


def test_child_order_refers_to_its_parent_in_the_message(record: Record) -> None:
    child = obr("B^B^L", f2="P2^EHR", f3="F2^LAB", f11="G", f29="P1&EHR^F1&LAB")
    record.take(ORC, obr("A^A^L"), child, "OBX|1|ST|1||b||||||F")
    first, second = record.all_of("ServiceRequest")
    assert (first["intent"], second["intent"]) == ("order", "reflex-order")
    assert references(second["basedOn"]) == [f"ServiceRequest/{first['id']}"]
    assert second["basedOn"][0]["identifier"]["value"] == "P1"


def test_specimen_is_that_of_the_report_and_of_its_observations(record: Record) -> None:
    record.take(
        ORC,
        obr(),
        "OBX|1|NM|1^One^L||7||||||F",
        "SPM|1|S1&LAB^S2&LAB||BLD^Blood^HL70487|||VEN^Vein^HL70488|ARM^Arm^L||||5^mL|||||"
        "202401010800|202401010900||N|QS^Too little^HL70490",
        "OBX|1|NM|VOL^Volume^L||5|mL|||||F",
    )
    specimen, (result, about) = record.one("Specimen"), record.all_of("Observation")
    reference = f"Specimen/{specimen['id']}"
    assert specimen["type"]["coding"][0]["code"] == "BLD"
    assert specimen["status"] == "unsatisfactory"
    assert specimen["collection"]["collectedDateTime"] == "2024-01-01T08:00:00+00:00"
    assert [i["value"] for i in specimen["identifier"]] == ["S1", "S2"]
    report = record.one("DiagnosticReport")
    assert references(report["specimen"]) == [reference]
    assert references(report["result"]) == [f"Observation/{result['id']}"]
    assert result["specimen"] == {"reference": reference}
    assert references(about["focus"]) == [reference]


def test_results_behind_the_specimen_are_results_where_none_stand_before_it(record: Record) -> None:
    record.take(ORC, obr(), "SPM|1|S1||BLD", "OBX|1|NM|1^One^L||7||||||F")
    assert len(record.one("DiagnosticReport")["result"]) == 1
    assert "specimen" in record.one("Observation")


def test_specimen_of_older_senders_is_in_the_obr(record: Record) -> None:
    record.take(ORC, obr(f14="202401010900", f15="BLD^^from the left"), "OBX|1|NM|1||7||||||F")
    found = record.one("Specimen")
    assert found["receivedTime"] == "2024-01-01T09:00:00+00:00"
    assert found["note"][0]["text"] == "from the left"


def test_time_of_collection_changes_into_a_period(record: Record) -> None:
    start = "SPM|1|S1^S2||BLD|||||||||||||"
    record.take(ORC, obr(), f"{start}20240101")
    record.take(ORC, obr(), f"{start}20240101^20240102")
    assert record.one("Specimen")["collection"] == {
        "collectedPeriod": {"start": "2024-01-01", "end": "2024-01-02"}
    }


def test_specimen_number_without_an_authority_is_one_of_its_patient(record: Record) -> None:
    for mrn in ("1001", "1002"):
        record.take_raw(message(header("ORU^R01"), patient(mrn), obr(f3=mrn), "SPM|1|1||BLD"))
    assert len(record.all_of("Specimen")) == 2


def test_participants_fill_what_their_role_says(record: Record) -> None:
    record.take(
        ORC,
        obr(),
        "PRT|1|AD||PRI^Interpreter^HL70912|9^Ham^Sue",
        "OBX|1|NM|1^One^L||7||||||F",
        "PRT|2|AD||PB^Performed by^HL70912|8^Lee^Lou||||WARD^1|DEV1^LAB",
        "SPM|1|S1||BLD",
        "PRT|3|AD||SC^Collector^HL70912|7^Cole^Kim",
    )
    assert record.one("DiagnosticReport")["resultsInterpreter"][0]["display"] == "Sue Ham"
    found = record.one("Observation")
    assert found["performer"][0]["display"] == "Lou Lee"
    [function] = found["performer"][0]["extension"]
    assert function["valueCodeableConcept"]["coding"][0]["code"] == "PB"
    assert found["device"]["identifier"]["value"] == "DEV1"
    assert "contained" not in found
    assert found["extension"][0]["valueReference"]["display"] == "WARD, 1"


def test_what_more_is_known_of_a_participant_stands_beside_the_reference(record: Record) -> None:
    prt = "PRT|1|AD||PB^Performed by^HL70912|8^Lee^Lou|RN^Nurse^L||Lab Ltd^^L1||DEV1^LAB|2024"
    record.take(ORC, obr(), "OBX|1|NM|1^One^L||7||||||F", f"{prt}||||||||L77|SN8")
    found = record.one("Observation")
    by_type = {c["resourceType"]: c for c in found["contained"]}
    role, device = by_type["PractitionerRole"], by_type["Device"]
    assert role["organization"]["display"] == "Lab Ltd"
    assert role["specialty"][0]["coding"][0]["code"] == "RN"
    assert role["period"] == {"start": "2024"}
    assert found["performer"][0]["reference"] == f"#{role['id']}"
    assert (device["lotNumber"], device["serialNumber"]) == ("L77", "SN8")
    assert found["device"]["reference"] == f"#{device['id']}"
    assert found["device"]["identifier"]["value"] == "DEV1"


def test_deleted_participant_is_no_longer_there(record: Record) -> None:
    record.take(ORC, obr(), "OBX|1|NM|1^One^L||7||||||F", "PRT|1|AD||PB|8^Lee^Lou|||||DEV1")
    record.take(ORC, obr(), "OBX|1|NM|1^One^L||7||||||F", "PRT|1|D||PB|8^Lee^Lou|||||DEV1")
    assert not {"performer", "device"} & record.one("Observation").keys()


def test_results_without_an_order_are_the_patients_own(record: Record) -> None:
    record.take(visit(), "OBX|1|NM|1^One^L||7||||||F|||20240101", "SPM|1|S1||BLD")
    assert record.all_of("DiagnosticReport") == []
    assert record.one("Observation")["effectiveDateTime"] == "2024-01-01"
    assert "specimen" in record.one("Observation")


def test_observation_of_a_visit_is_updated_by_its_later_messages(record: Record) -> None:
    for weight in (70, 71):
        record.take_raw(adt("A08", more=[f"OBX|1|NM|3141-9^Weight^LN||{weight}|kg"]))
    found = record.one("Observation")
    assert found["valueQuantity"]["value"] == 71
    assert found["encounter"] == {"reference": f"Encounter/{record.one('Encounter')['id']}"}


def test_message_about_several_patients_is_refused(record: Record) -> None:
    with pytest.raises(Unmappable) as refused:
        record.take(obr(), "OBX|1|NM|1||7||||||F", patient("1002"), obr(), "OBX|1|NM|1||8||||||F")
    assert refused.value.position == "PID-3"


@pytest.mark.parametrize("trigger", ["ORU", "ORU^R01", "ORU^R30", "ORU^R31", "ORU^R32"])
def test_every_trigger_of_results_is_taken(record: Record, trigger: str) -> None:
    record.take(ORC, obr(), "OBX|1|NM|1^One^L||7||||||F", trigger=trigger)
    assert len(record.all_of("Observation")) == 1


def test_same_message_gives_the_same_bytes() -> None:
    raw = message(header("ORU^R01"), patient(), ORC, obr(), "OBX|1|NM|1||7||||||F", "SPM|1|S1||BLD")
    first, second = (
        json.dumps([merged(None, d) for d in transform(parse(raw), SETTINGS).drafts])
        for _ in range(2)
    )
    assert first == second


def test_trace_names_the_fields_that_code_took() -> None:
    raw = message(header("ORU^R01"), patient(), ORC, obr(), "OBX|1|NM|1||7|mg|3-9||||F")
    drafts = transform(parse(raw), SETTINGS).drafts
    [draft] = [d for d in drafts if d.resource_type == "Observation"]
    taken = {str(row.source): ".".join(row.path) for _, row in draft.trace}
    assert taken["OBX-5"] == taken["OBX-6"] == "valueQuantity"
    assert (taken["OBX-7"], taken["OBX-11"]) == ("referenceRange", "status")


def _corpus() -> list[bytes]:
    messages = CORPUS / "linuxforhealth" / "messages.jsonl"
    if not messages.exists():
        pytest.skip("the corpora are not on this machine")
    lines = messages.read_text("utf-8").splitlines()
    found = [json.loads(line)["message"].encode() for line in lines]
    folder = CORPUS / "ms-fhir-converter"
    found += [file.read_bytes() for file in sorted(folder.glob("*.hl7"))]
    # Some were written for Java, where a backslash is written twice.
    return [raw.replace(b"^~\\\\&", b"^~\\&", 1) for raw in found]


def test_corpus_is_transformed_or_refused_for_want_of_a_patient() -> None:
    refused: Counter[str] = Counter()
    made: Counter[str] = Counter()
    for raw in _corpus():
        try:
            parsed = parse(raw)
        except Unprocessable:
            continue
        kind = parsed.message_type
        if kind[:3] not in ("ORU", "ORM", "OML", "OMG") or kind not in SUPPORTED:
            continue
        try:
            drafts = transform(parsed, SETTINGS).drafts
        except Unmappable as error:
            refused[error.position] += 1
            assert not parsed.value("PID", 3)
            continue
        resources = [merged(None, draft) for draft in drafts]
        made.update(r["resourceType"] for r in resources)
        assert [f for r in resources for f in structure_findings(r)] == []
    assert set(refused) <= {"PID-3"}
    assert made["Observation"] >= 50
    assert made["DiagnosticReport"] >= 10
    assert made["ServiceRequest"] >= 15


def test_field_that_repeats_without_end_costs_no_more_than_its_length(record: Record) -> None:
    """Twenty thousand contents are looked up; compared in turn, they would take minutes."""
    codes = "~".join(f"Q{n % 15000}" for n in range(20000))
    record.take(ORC, obr(), f"OBX|1|ST|1^One^L||a|||{codes}|||F")
    assert len(record.one("Observation")["interpretation"]) == 15000
