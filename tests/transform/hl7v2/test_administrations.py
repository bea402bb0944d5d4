"""What RAS messages say of medications given."""

from typing import Any

import pytest

from chartgate.testing.messages import header, message, patient, visit
from chartgate.transform.hl7v2.datatypes import Unmappable
from tests.transform.hl7v2.made import by_type, laid

ORC = "ORC|RE|M1^NORTH|F1^PHARM|||||||||77^Doctor^Dora"
DRUG = "1191^Aspirin^RXNORM"


def record_after(*messages: tuple[str, ...]) -> dict[str, list[Any]]:
    """A record after messages of these segments, by type."""
    start = (header("RAS^O17"), patient(), visit())
    return by_type(laid(*(message(*start, *segments) for segments in messages)))


def rxa(
    *,
    given: str = "202401020800",
    drug: str = DRUG,
    amount: str = "100",
    refused: str = "",
    done: str = "CP",
    action: str = "A",
) -> str:
    start = f"RXA|0|1|{given}||{drug}|{amount}|mg^milligram^UCUM|||88^Nurse^Nora"
    return f"{start}|||||LOT7|20250101||{refused}||{done}|{action}"


def test_administration_says_what_was_given_when_how_and_by_whom() -> None:
    rxe = f"RXE||{DRUG}|100||mg"
    found = record_after((ORC, rxe, rxa(), "RXR|PO^Oral", "OBX|1|NM|8310-5^Temp^LN||37|Cel|||||F"))
    [given], [request] = found["MedicationAdministration"], found["MedicationRequest"]
    assert given["status"] == "completed"
    assert given["effectiveDateTime"] == "2024-01-02T08:00:00+00:00"
    assert given["dosage"]["dose"]["value"] == 100
    assert given["dosage"]["route"]["coding"][1]["code"] == "PO"
    assert given["request"]["reference"] == f"MedicationRequest/{request['id']}"
    roles = [p["function"]["coding"][0]["code"] for p in given["performer"]]
    assert roles == ["OP", "AP"]
    assert given["contained"][0]["batch"]["lotNumber"] == "LOT7"
    [observation] = found["Observation"]
    assert observation["partOf"][0]["reference"].endswith(given["id"])


@pytest.mark.parametrize("done", ["RE", "NA", ""])
def test_refused_medication_was_not_given(done: str) -> None:
    line = rxa(amount="", refused="00^Refused^NIP002", done=done)
    [given] = record_after((ORC, line, "RXR|PO^Oral"))["MedicationAdministration"]
    assert given["status"] == "not-done"
    assert given["statusReason"][0]["coding"][0]["display"] == "Refused"
    assert given["dosage"]["dose"]["extension"][0]["valueCode"] == "unknown"


def test_deleted_administration_stays_as_entered_in_error() -> None:
    found = record_after((ORC, rxa()), (ORC, rxa(action="D")))
    [given] = found["MedicationAdministration"]
    assert given["status"] == "entered-in-error"


def test_each_time_that_it_was_given_is_one_of_its_own() -> None:
    found = record_after((ORC, rxa()), (ORC, rxa(given="202401022000")))
    assert len(found["MedicationAdministration"]) == 2


@pytest.mark.parametrize(
    ("segments", "sentence"),
    [
        ((ORC, rxa(drug="")), "RXA-5 names no medication"),
        ((ORC, rxa(given="")), "RXA-3 does not say when"),
        ((ORC, rxa(done="ZZ")), "RXA-20"),
        ((ORC,), "no RXA"),
    ],
)
def test_what_could_mislead_is_refused(segments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(Unmappable, match=sentence):
        record_after(segments)
