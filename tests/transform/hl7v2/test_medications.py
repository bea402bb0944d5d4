"""What RDE, RDS, OMP and ORM messages say of medications: ordered, changed, ended, given out."""

from typing import Any

import pytest

from chartgate.testing.messages import header, message, patient, visit
from chartgate.transform.hl7v2.datatypes import Unmappable
from tests.transform.hl7v2.made import by_type, laid

DRUG = "1191^Aspirin^RXNORM"
RXO = f"RXO|{DRUG}|100|200|mg^milligram^UCUM|TAB^Tablet^HL70292||^With food||G||30|TAB^Tablet|2"
RXE = f"RXE||{DRUG}|150||mg^milligram^UCUM|||||30|TAB^Tablet|1|||RX77"


def record_after(*messages: tuple[str, ...]) -> dict[str, list[Any]]:
    """A record after messages of (trigger, segments…), by type."""
    raws = (message(header(m[0]), patient(), visit(), *m[1:]) for m in messages)
    return by_type(laid(*raws))


def request_after(*messages: tuple[str, ...]) -> Any:
    [request] = record_after(*messages)["MedicationRequest"]
    return request


def orc(control: str = "NW", *, status: str = "", number: str = "M1^NORTH") -> str:
    return f"ORC|{control}|{number}|F1^PHARM||{status}||||20240102030400|||77^Doctor^Dora"


def quantity(value: float, unit: str = "milligram", code: str = "mg") -> dict[str, Any]:
    return {"unit": unit, "system": "http://unitsofmeasure.org", "code": code, "value": value}


def test_order_says_what_how_much_and_who_asked() -> None:
    found = request_after(("OMP^O09", orc(), RXO))
    assert (found["status"], found["intent"]) == ("active", "original-order")
    assert found["medicationCodeableConcept"]["coding"][0]["display"] == "Aspirin"
    [dosage] = found["dosageInstruction"]
    assert dosage["text"] == "With food"
    dose = dosage["doseAndRate"][0]
    assert dose["doseRange"] == {"low": quantity(100), "high": quantity(200)}
    assert found["dispenseRequest"] == {
        "quantity": {"unit": "Tablet", "value": 30},
        "numberOfRepeatsAllowed": 2,
    }
    assert found["requester"]["identifier"]["value"] == "77"
    assert found["contained"][0]["form"]["coding"][0]["code"] == "TAB"
    assert found["supportingInformation"][0]["reference"] == f"#{found['contained'][0]['id']}"


def test_dose_without_a_maximum_is_exact() -> None:
    dose = request_after(("RDE^O11", orc(), RXE))["dosageInstruction"][0]["doseAndRate"][0]
    assert dose["doseQuantity"] == quantity(150)
    assert "doseRange" not in dose


def test_what_the_pharmacy_encoded_stands_over_what_was_asked() -> None:
    found = request_after(("RDE^O11", orc(), RXO, RXE))
    dose = found["dosageInstruction"][0]["doseAndRate"][0]
    assert dose["doseQuantity"] == quantity(150)
    assert "doseRange" not in dose
    assert found["dispenseRequest"]["numberOfRepeatsAllowed"] == 1


def test_each_timing_is_a_dosage_with_the_same_dose_and_route() -> None:
    found = request_after(
        (
            "RDE^O11",
            orc(),
            RXE,
            "TQ1|1||BID|0800~2000||5^D|20240102||R",
            "TQ1|2||Q6H||||20240107|20240109|||as needed for pain",
            "RXR|PO^Oral",
            "RXR|IV^Intravenous",
        )
    )
    first, second = found["dosageInstruction"]
    assert [first["sequence"], second["sequence"]] == [1, 2]
    assert first["doseAndRate"] == second["doseAndRate"]
    assert first["route"] == second["route"]
    assert first["timing"]["code"]["coding"][0]["code"] == "BID"
    assert first["timing"]["repeat"] == {
        "timeOfDay": ["08:00:00", "20:00:00"],
        "boundsPeriod": {"start": "2024-01-02", "end": "2024-01-07"},
    }
    assert second["timing"]["repeat"]["period"] == 6
    assert second["text"] == "as needed for pain"
    assert first["additionalInstruction"] == [{"text": "Or by another route: Intravenous"}]
    assert found["priority"] == "routine"


def test_timing_of_older_versions_stands_in_orc_7() -> None:
    line = orc().split("|")
    line[7] = "1^Q8H&0600,1400,2200^D10^20240102^^S"
    found = request_after(("RDE^O01", "|".join(line), RXE))
    assert found["priority"] == "stat"
    repeat = found["dosageInstruction"][0]["timing"]["repeat"]
    assert repeat["timeOfDay"] == ["06:00:00", "14:00:00", "22:00:00"]
    assert repeat["boundsPeriod"] == {"start": "2024-01-02", "end": "2024-01-12"}
    assert found["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"] == quantity(150)


def test_mixture_lists_its_ingredients() -> None:
    rxcs = ["RXC|B|D5W^Dextrose|1000|ml", "RXC|A|K^Potassium|20|meq"]
    product = request_after(("RDE^O11", orc(), RXE, *rxcs))["contained"][0]
    named = [
        (i["isActive"], i["itemCodeableConcept"]["coding"][0]["code"], i["strength"]["numerator"])
        for i in product["ingredient"]
    ]
    assert named == [
        (False, "D5W", {"unit": "ml", "value": 1000}),
        (True, "K", {"unit": "meq", "value": 20}),
    ]


def test_strength_is_that_of_the_product() -> None:
    rxe = f"RXE||{DRUG}|1||TAB{'|' * 20}325|mg^^UCUM"
    [ingredient] = request_after(("RDE^O11", orc(), rxe))["contained"][0]["ingredient"]
    assert ingredient["itemCodeableConcept"]["coding"][0]["display"] == "Aspirin"
    assert ingredient["strength"]["numerator"]["value"] == 325
    assert ingredient["strength"]["denominator"] == {"value": 1}


@pytest.mark.parametrize(
    ("control", "status", "then"),
    [
        ("CA", "", "cancelled"),
        ("CA", "IP", "cancelled"),
        ("DC", "", "stopped"),
        ("HD", "", "on-hold"),
        ("RL", "", "active"),
        ("SC", "CM", "completed"),
        ("SC", "ER", "entered-in-error"),
        ("CA", "ER", "entered-in-error"),
        ("UC", "", "unknown"),
        ("XO", "", "active"),
    ],
)
def test_order_control_moves_the_same_order(control: str, status: str, then: str) -> None:
    found = request_after(("RDE^O11", orc(), RXE), ("RDE^O11", orc(control, status=status), RXE))
    assert found["status"] == then


def test_message_that_says_nothing_of_the_state_leaves_it() -> None:
    first, second = ("RDE^O11", orc("DC"), RXE), ("RDE^O11", orc("SN"), RXE)
    assert request_after(first, second)["status"] == "stopped"


def test_order_and_encoded_order_are_one_request() -> None:
    found = request_after(("OMP^O09", orc(), RXO), ("RDE^O11", orc("RE"), RXE))
    assert found["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"] == quantity(150)
    assert len(found["contained"]) == 1


def test_dispense_refers_to_the_request_that_it_fills() -> None:
    rxd = f"RXD|1|{DRUG}|20240103|30|TAB^Tablet||RX77|1||88^Pharmacist^Pia|G|||||||LOT7|20250101"
    found = record_after(
        ("RDE^O11", orc(), RXE), ("RDS^O13", orc("RE"), rxd, "RXR|PO^Oral"), ("RDS^O13", orc(), rxd)
    )
    [dispense] = found["MedicationDispense"]
    [request] = found["MedicationRequest"]
    reference = dispense["authorizingPrescription"][0]["reference"]
    assert reference == f"MedicationRequest/{request['id']}"
    assert dispense["status"] == "completed"
    assert dispense["quantity"] == {"unit": "Tablet", "value": 30}
    assert dispense["substitution"] == {"wasSubstituted": True}
    assert dispense["contained"][0]["batch"]["lotNumber"] == "LOT7"
    assert dispense["dosageInstruction"][0]["route"]["coding"][1]["code"] == "PO"


def test_each_dispense_of_an_order_is_one_of_its_own() -> None:
    rxds = [f"RXD|{number}|{DRUG}|2024010{number}|30|TAB" for number in (1, 2)]
    found = record_after(("RDS^O13", orc("RE"), RXE, *rxds))
    assert len(found["MedicationDispense"]) == 2
    [request] = found["MedicationRequest"]
    assert len(request["dosageInstruction"]) == 1


def test_medication_in_a_general_order_is_a_medication_request() -> None:
    obr = "OBR|1|S1^NORTH||GLU^Glucose^L"
    found = record_after(("ORM^O01", orc(), RXO, orc(number="S1^NORTH"), obr))
    assert len(found["MedicationRequest"]) == 1
    assert len(found["ServiceRequest"]) == 1


def test_observation_under_an_order_supports_it() -> None:
    found = record_after(("RDE^O11", orc(), RXE, "OBX|1|NM|3141-9^Weight^LN||71|kg|||||F"))
    [observation], [request] = found["Observation"], found["MedicationRequest"]
    references = [s["reference"] for s in request["supportingInformation"]]
    assert f"Observation/{observation['id']}" in references


@pytest.mark.parametrize(
    ("segments", "sentence"),
    [
        ((orc(), "RXE|||150||mg"), "RXE-2 names no medication"),
        ((orc(), "RXO"), "RXO-1 names no medication"),
        (("ORC|CA", RXE.replace("RX77", "")), "neither ORC-2 nor ORC-3"),
        ((orc(),), "no RXO, RXE or RXD"),
    ],
)
def test_what_could_mislead_is_refused(segments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(Unmappable, match=sentence):
        record_after(("RDE^O11", *segments))
