"""What is rendered parses again to what it was made from, by the receiver's own parser."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.demo.hl7v2_render import Envelope, escape, render_adt, render_oru, render_siu
from chartgate.formats.hl7v2 import Message, parse

ENVELOPE = Envelope(control_id="C-1", at=datetime(2026, 3, 4, 8, tzinfo=UTC))
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "N1004",
    "name": [{"family": "Gärtner", "given": ["Ann", "B."]}],
    "birthDate": "1980-05-17",
    "gender": "female",
    "telecom": [{"system": "phone", "value": "1"}, {"system": "phone", "value": "2"}],
    "address": [{"line": ["1 High St"], "city": "Lynn", "state": "MA"}],
}
ENCOUNTER = {
    "id": "visit-1",
    "class": {"code": "IMP"},
    "participant": [{"individual": {"reference": "Practitioner/dr"}}],
    "location": [{"location": {"reference": "Location/rooms"}}],
    "period": {"start": "2026-03-04T07:00:00Z", "end": "2026-03-04T10:30:00+02:00"},
}
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"))).map(str.strip).filter(bool)


def values(message: Message, *places: str) -> list[str | None]:
    """E.g. "PID-5.2"."""
    found = []
    for place in places:
        segment, _, numbers = place.partition("-")
        field, _, component = numbers.partition(".")
        found.append(message.value(segment, int(field), int(component or 1)))
    return found


@pytest.mark.parametrize(
    ("trigger", "structure"),
    [("A01", "ADT_A01"), ("A03", "ADT_A03"), ("A04", "ADT_A01"), ("A08", "ADT_A01")],
)
def test_adt_carries_patient_and_visit(trigger: str, structure: str) -> None:
    message = parse(render_adt(trigger, PATIENT, envelope=ENVELOPE, encounter=ENCOUNTER))
    assert values(message, "MSH-9.1", "MSH-9.2", "MSH-9.3") == ["ADT", trigger, structure]
    assert values(message, "MSH-10", "MSH-12", "EVN-1") == ["C-1", "2.5.1", trigger]
    assert values(message, "PID-3.1", "PID-3.4", "PID-3.5") == ["N1004", "NORTH", "MR"]
    assert values(message, "PID-5.1", "PID-5.2", "PID-5.3") == ["Gärtner", "Ann", "B."]
    assert values(message, "PID-7", "PID-8", "PID-11.3") == ["19800517", "F", "Lynn"]
    assert values(message, "PV1-2", "PV1-3.1", "PV1-7.1") == ["I", "rooms", "dr"]
    assert values(message, "PV1-19.1", "PV1-44", "PV1-45") == [
        "visit-1",
        "20260304070000+0000",
        "20260304083000+0000",
    ]


def test_a_merge_names_both_records() -> None:
    message = parse(render_adt("A40", PATIENT, envelope=ENVELOPE, merged="N1912"))
    assert values(message, "MSH-9.3", "PID-3.1", "MRG-1.1") == ["ADT_A39", "N1004", "N1912"]


@pytest.mark.parametrize(
    ("trigger", "status"), [("S12", "Booked"), ("S14", "Booked"), ("S15", "Cancelled")]
)
def test_siu_carries_the_appointment(trigger: str, status: str) -> None:
    people = ("Patient/N1004", "Practitioner/dr", "Location/rooms")
    appointment = {
        "id": "appt-1",
        "status": "booked",
        "serviceType": [{"text": "Check & talk"}],
        "start": "2026-03-05T09:00:00Z",
        "end": "2026-03-05T09:30:00Z",
        "participant": [{"actor": {"reference": p}} for p in people],
    }
    message = parse(render_siu(trigger, appointment, PATIENT, envelope=ENVELOPE))
    assert values(message, "SCH-2.1", "SCH-7", "SCH-9", "SCH-25") == [
        "appt-1",
        "Check & talk",
        "30",
        status,
    ]
    assert values(message, "SCH-11.4", "SCH-11.5", "AIS-4") == [
        "20260305090000+0000",
        "20260305093000+0000",
        "20260305090000+0000",
    ]
    assert values(message, "PID-3.1", "AIP-3.1", "AIL-3.1") == ["N1004", "dr", "rooms"]


def test_oru_has_one_obx_for_each_value() -> None:
    def value(code: str, number: float) -> dict[str, Any]:
        coding = {"system": "http://loinc.org", "code": code, "display": code}
        quantity = {"value": number, "unit": "mm[Hg]"}
        return {"code": {"coding": [coding]}, "valueQuantity": quantity}

    pressure = {
        "id": "obs-1",
        "code": {"text": "Blood pressure"},
        "effectiveDateTime": "2026-03-04T07:00:00Z",
        "component": [value("8480-6", 112), value("8462-4", 66)],
    }
    message = parse(render_oru(PATIENT, [pressure], envelope=ENVELOPE))
    rows = [(s.value(1), s.value(3), s.value(5), s.value(6)) for s in message.segments("OBX")]
    assert rows == [("1", "8480-6", "112", "mm[Hg]"), ("2", "8462-4", "66", "mm[Hg]")]
    assert values(message, "OBR-3.1", "OBR-7", "OBR-25") == ["obs-1", "20260304070000+0000", "F"]


@given(family=TEXT, given=TEXT)
def test_any_text_comes_back_as_it_was(family: str, given: str) -> None:
    patient = {**PATIENT, "name": [{"family": family, "given": [given]}]}
    message = parse(render_adt("A08", patient, envelope=ENVELOPE))
    assert values(message, "PID-5.1", "PID-5.2") == [family, given]


@given(st.text())
def test_escaped_text_holds_no_delimiter(text: str) -> None:
    assert not set("|^&~\r\n") & set(escape(text))
