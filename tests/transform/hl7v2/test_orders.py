"""Orders of ORM, OML and OMG messages, and what becomes of them."""

from typing import Any

import pytest

from chartgate.formats.hl7v2 import parse
from chartgate.formats.r4_structure import structure_findings
from chartgate.testing.messages import header, message, patient, visit
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.messages import transform, transform_with_provenance
from chartgate.transform.hl7v2.settings import FeedSettings

SETTINGS = FeedSettings(connection="north-lab", site="north-clinic", patient_system="urn:mrn")
NEW = "ORC|NW|P1^EHR"
OBR = "OBR|1|P1^EHR||CBC^Blood count^L"


class Record:
    """What a record holds after some messages, each resource checked as R4."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}

    def take(self, *segments: str, trigger: str = "ORM^O01") -> None:
        raw = message(header(trigger, f"C{len(self.held)}"), patient(), *segments)
        for draft in transform(parse(raw), SETTINGS).drafts:
            resource = merged(self.held.get(draft.reference), draft)
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


@pytest.mark.parametrize("trigger", ["ORM", "ORM^O01", "OML^O21", "OMG^O19"])
def test_new_order_is_an_active_request(record: Record, trigger: str) -> None:
    orc = f"{NEW}|F1^LAB|G1^EHR|||||20240102030405|||3^Ord^Olga||555-0199"
    record.take(visit(), orc, f"{OBR}|S|||||||||||||||||||||||||||Z00^Why^I10C", trigger=trigger)
    found = record.one("ServiceRequest")
    assert (found["status"], found["intent"], found["priority"]) == ("active", "order", "stat")
    assert found["code"]["coding"][0]["code"] == "CBC"
    assert found["authoredOn"] == "2024-01-02T03:04:05+00:00"
    assert found["requester"]["display"] == "Olga Ord"
    assert found["requisition"]["value"] == "G1"
    assert [(i["value"], i["type"]["coding"][0]["code"]) for i in found["identifier"]] == [
        ("P1", "PLAC"),
        ("F1", "FILL"),
    ]
    assert found["subject"] == {"reference": f"Patient/{record.one('Patient')['id']}"}
    assert found["encounter"] == {"reference": f"Encounter/{record.one('Encounter')['id']}"}


@pytest.mark.parametrize(
    ("control", "sent", "status"),
    [
        ("CA", "", "revoked"), ("DC", "", "revoked"), ("OC", "", "revoked"), ("OD", "", "revoked"),
        ("CA", "IP", "revoked"), ("RP", "", "revoked"), ("HD", "HD", "on-hold"),
        ("RL", "", "active"), ("SC", "IP", "active"), ("SC", "CM", "completed"),
        ("SC", "A", "active"), ("SC", "ER", "entered-in-error"), ("SC", "??", "unknown"),
        ("UC", "", "unknown"), ("XO", "", "active"),
    ],
)  # fmt: skip
def test_control_is_a_change_of_state_of_the_same_order(
    record: Record, control: str, sent: str, status: str
) -> None:
    record.take(NEW, OBR)
    record.take(f"ORC|{control}|P1^EHR|||{sent}")
    found = record.one("ServiceRequest")
    assert found["status"] == status
    assert found["code"]["coding"][0]["code"] == "CBC"


def test_cancel_stays_when_the_result_repeats_the_order(record: Record) -> None:
    record.take(NEW, OBR)
    record.take("ORC|CA|P1^EHR")
    record.take("ORC|RE|P1^EHR", f"{OBR}{'|' * 21}F", "OBX|1|NM|1||7||||||F", trigger="ORU^R01")
    assert record.one("ServiceRequest")["status"] == "revoked"


def test_result_finds_its_order_and_leaves_what_was_asked(record: Record) -> None:
    record.take(NEW, OBR)
    record.take("OBR|1|P1^EHR|F1^LAB|OTHER^Reflex^L", "OBX|1|NM|1||7||||||F", trigger="ORU^R01")
    found = record.one("ServiceRequest")
    assert found["code"]["coding"][0]["code"] == "CBC"
    assert [i["value"] for i in found["identifier"]] == ["P1", "F1"]
    assert record.one("DiagnosticReport")["basedOn"][0]["reference"] == (
        f"ServiceRequest/{found['id']}"
    )


def test_identifier_is_one_whichever_segment_brings_it(record: Record) -> None:
    record.take(NEW, "OBR|1|||CBC^Blood count^L")
    record.take("OBR|1|P1^EHR||CBC^Blood count^L", "OBX|1|NM|1||7||||||F", trigger="ORU^R01")
    assert [i["value"] for i in record.one("ServiceRequest")["identifier"]] == ["P1"]


def test_conditions_on_another_segment_look_into_the_own_order(record: Record) -> None:
    record.take("ORC|NW|P1^EHR||||||||||3^Ord^Olga", OBR, "OBR|2|P2^EHR||B^B^L||||||||||||4^Ann^Al")
    first, second = record.all_of("ServiceRequest")
    assert (first["requester"]["display"], second["requester"]["display"]) == ("Olga Ord", "Al Ann")


def test_several_tests_under_one_number_are_requests_of_their_own(record: Record) -> None:
    record.take(NEW, OBR, NEW, "OBR|2|P1^EHR||LIP^Lipids^L")
    codes = [r["code"]["coding"][0]["code"] for r in record.all_of("ServiceRequest")]
    assert codes == ["CBC", "LIP"]


def test_order_without_a_number_is_known_by_what_and_when(record: Record) -> None:
    segments = ("ORC|NW", "OBR|1|||CBC^Blood count^L||20240105")
    record.take(*segments)
    record.take(*segments)
    assert record.one("ServiceRequest")["occurrenceDateTime"] == "2024-01-05"


def test_cancel_that_names_no_order_is_refused(record: Record) -> None:
    with pytest.raises(Unmappable) as refused:
        record.take("ORC|CA")
    assert refused.value.position == "ORC-2"


def test_order_for_nobody_is_refused() -> None:
    with pytest.raises(Unmappable) as refused:
        transform(parse(message(header("ORM^O01"), NEW, OBR)), SETTINGS)
    assert refused.value.position == "PID-3"


@pytest.mark.parametrize(
    ("tq1", "repeat"),
    [
        ("TQ1|1||BID||||20240101080000|20240103080000", {
            "boundsPeriod": {
                "start": "2024-01-01T08:00:00+00:00", "end": "2024-01-03T08:00:00+00:00",
            }
        }),
        ("TQ1|1||BID|0800~2000", {"timeOfDay": ["08:00:00", "20:00:00"]}),
        ("TQ1|1||BID|||3^D", {
            "boundsDuration": {
                "value": 3, "unit": "d", "system": "http://unitsofmeasure.org", "code": "d",
            }
        }),
        ("TQ1|1||BID|||2^D|20240101080000", {
            "boundsPeriod": {
                "start": "2024-01-01T08:00:00+00:00", "end": "2024-01-03T08:00:00+00:00",
            }
        }),
        ("TQ1|1||BID||||||||||10^MIN|5", {"duration": 10, "durationUnit": "min", "count": 5}),
    ],
)  # fmt: skip
def test_timing_of_tq1(record: Record, tq1: str, repeat: dict[str, Any]) -> None:
    record.take(NEW, tq1, OBR)
    timing = record.one("ServiceRequest")["occurrenceTiming"]
    assert timing["code"]["coding"][0]["code"] == "BID"
    assert timing["repeat"] == repeat


def test_timing_of_older_senders_is_in_orc(record: Record) -> None:
    record.take("ORC|NW|P1^EHR|||||2^mL^^20240101^^S", OBR)
    found = record.one("ServiceRequest")
    assert found["priority"] == "stat"
    assert found["occurrenceTiming"]["repeat"]["boundsPeriod"] == {"start": "2024-01-01"}


def test_what_comes_with_an_order_is_linked_to_it(record: Record) -> None:
    record.take(
        NEW,
        OBR,
        "NTE|1||Please hurry",
        "DG1|1||A01^Why^I10C|||A",
        "OBX|1|NM|3141-9^Weight^LN||70|kg",
        "SPM|1|S1&EHR||BLD",
        trigger="OML^O21",
    )
    found = record.one("ServiceRequest")
    assert found["note"][0]["text"] == "Please hurry"
    [observation], [specimen] = record.all_of("Observation"), record.all_of("Specimen")
    assert found["supportingInfo"][0]["reference"] == f"Observation/{observation['id']}"
    assert found["specimen"][0]["reference"] == f"Specimen/{specimen['id']}"
    [reason] = record.all_of("Condition")
    assert found["reasonReference"][0]["reference"] == f"Condition/{reason['id']}"


def test_those_who_ordered_and_entered_are_agents_of_its_provenance_once() -> None:
    orc = f"{NEW}|||||||20240102|1^Typist^Tom|2^Vera^Vi|3^Ord^Olga|||||4^Ward^L"
    raw = message(header("ORM^O01"), patient(), orc, OBR, orc, "OBR|2|P1^EHR||B^B^L")
    provenance = merged(None, transform_with_provenance(parse(raw), SETTINGS).drafts[-1])
    assert list(structure_findings(provenance)) == []
    agents = [a for a in provenance["agent"] if a["id"].startswith("ORC")]
    assert [(a["type"]["coding"][0]["code"], a["who"]["display"]) for a in agents] == [
        ("enterer", "Tom Typist"),
        ("verifier", "Vi Vera"),
        ("author", "Olga Ord"),
    ]
    assert agents[0]["onBehalfOf"]["display"] == "Ward"
    assert "CREATE" in [coding["code"] for coding in provenance["activity"]["coding"]]


@pytest.mark.parametrize(
    ("prt", "made"),
    [
        ("PRT|1|AD||NOK^Next of kin^HL70912|5^Kin^Kay||||||2020||||555-0101", 1),
        ("PRT|1|AD||AT^Attending^HL70912|5^Doc^Dan", 0),
        ("PRT|1|AD||NOK^Next of kin^HL70912", 0),
    ],
)
def test_person_beside_the_patient_is_a_related_person(record: Record, prt: str, made: int) -> None:
    record.take(prt, NEW, OBR)
    found = record.all_of("RelatedPerson")
    assert len(found) == made
    for person in found:
        assert person["name"][0] == {"id": "PRT-5.1", "family": "Kin", "given": ["Kay"]}
        assert (person["active"], person["period"]) == (True, {"start": "2020"})
