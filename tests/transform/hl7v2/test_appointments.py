"""Bookings: times, participants, their changes, and the orders that they are for."""

from typing import Any

import pytest

from chartgate.testing.messages import header, message, patient, siu
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.messages import Excluded
from tests.transform.hl7v2.made import Record, all_of, fields, laid, only, said

TIMES = "^^^20240203100000^20240203103000"


@pytest.mark.parametrize(
    ("trigger", "status"),
    [
        ("S12", "booked"), ("S13", "booked"), ("S14", "booked"), ("S15", "cancelled"),
        ("S16", "cancelled"), ("S17", "entered-in-error"), ("S18", "booked"), ("S26", "noshow"),
    ],
)  # fmt: skip
def test_trigger_says_how_the_booking_stands(trigger: str, status: str) -> None:
    assert only(laid(siu("S12"), siu(trigger)), "Appointment")["status"] == status


@pytest.mark.parametrize("trigger", ["S23", "S24"])
def test_blocked_time_is_about_no_patient(trigger: str) -> None:
    with pytest.raises(Excluded, match="schedule"):
        said(siu(trigger))


def test_patient_is_the_subject_and_takes_part() -> None:
    record = laid(siu())
    found, reference = only(record, "Appointment"), f"Patient/{only(record, 'Patient')['id']}"
    assert found["extension"][0]["valueReference"] == {"reference": reference}
    assert reference in [p["actor"].get("reference") for p in found["participant"]]


def test_resource_has_its_own_time_by_offset_and_duration() -> None:
    person = fields(
        "AIP", _1="1", _3="77^Doctor^Dora", _7="-15", _8="MIN", _9="1", _10="H", _12="Pending"
    )
    place = fields("AIL", _1="1", _3="ROOM", _6="20240203101000", _9="20", _10="MIN")
    thing = fields("AIG", _1="1", _3="ECG^Machine", _4="DEV", _9="0", _14="Cancelled")
    found = only(laid(_siu("S12", person, place, thing)), "Appointment")
    by_name = {p["actor"].get("display"): p for p in found["participant"]}
    assert by_name["Dora Doctor"]["period"] == {
        "start": "2024-02-03T09:45:00+00:00",
        "end": "2024-02-03T10:45:00+00:00",
    }
    assert by_name["ROOM"]["period"]["end"] == "2024-02-03T10:30:00+00:00"
    assert by_name["Machine"]["period"] == {"start": found["start"]}
    statuses = [by_name[name]["status"] for name in ("Dora Doctor", "ROOM", "Machine")]
    assert statuses == ["tentative", "accepted", "declined"]


def test_snapshot_takes_the_place_of_what_was_before() -> None:
    before, after = _siu("S12", "AIP|1||1^One", "AIP|2||2^Two"), _siu("S14", "AIP|1||3^Three")
    assert _people(laid(before, after)) == ["Three"]


def test_change_of_one_resource_leaves_the_others() -> None:
    before = laid(_siu("S12", "AIP|1||1^One", "AIP|2||2^Two"))
    assert _people(laid(_siu("S18", "AIP|1||3^Three"), over=before)) == ["One", "Two", "Three"]
    assert _people(laid(_siu("S20", "AIP|1||2^Two"), over=before)) == ["One"]
    assert _people(laid(_siu("S14", "AIP|1|D|1^One", "AIP|2|A|4^Four"), over=before)) == [
        "Two",
        "Four",
    ]
    assert _people(laid(_siu("S14", "AIP|1|X|9^Nine"), over=before)) == ["One", "Two"]


def test_service_that_is_taken_back_is_no_longer_asked_for() -> None:
    before = laid(_siu("S12", "AIS|1||A^Alpha", "AIS|2||B^Beta"))
    found = only(laid(_siu("S22", "AIS|1|D|A^Alpha"), over=before), "Appointment")
    assert [s["coding"][0]["code"] for s in found["serviceType"]] == ["B"]
    none = laid(_siu("S22", "AIS|1|D|A^Alpha", "AIS|2|D|B^Beta"), over=before)
    assert "serviceType" not in only(none, "Appointment")


def test_notes_are_one_comment_and_each_an_annotation() -> None:
    note = fields("NTE", _1="1", _3="bring shoes", _4="RE", _5="7^Doctor^Dora", _6="20240101")
    raw = _siu("S12", "AIS|1||A", "NTE|1||and a list", before=[note])
    found = only(laid(raw), "Appointment")
    assert found["comment"] == "bring shoes\nand a list"
    notes = [e["valueAnnotation"] for e in found["extension"] if "valueAnnotation" in e]
    assert [n["text"] for n in notes] == ["bring shoes", "and a list"]
    assert notes[0]["time"] == "2024-01-01"
    assert notes[0]["authorReference"]["display"] == "Dora Doctor"


def test_booking_for_an_order_says_what_it_is_based_on() -> None:
    sch = _sch(order="P7^NORTH")
    ais = fields("AIS", _1="1", _3="MRI^Knee", _4="20240203100000", _7="30", _8="MIN", _11="LEFT")
    record = laid(message(header("SIU^S12"), sch, patient(), "RGS|1", ais))
    request, found = only(record, "ServiceRequest"), only(record, "Appointment")
    assert found["basedOn"][0]["reference"] == f"ServiceRequest/{request['id']}"
    assert (request["status"], request["intent"]) == ("active", "order")
    assert request["code"]["coding"][0]["code"] == "MRI"
    assert request["occurrencePeriod"]["end"] == "2024-02-03T10:30:00+00:00"
    assert request["orderDetail"][0]["coding"][0]["code"] == "LEFT"


def test_order_keeps_what_it_said_itself() -> None:
    order = message(header("ORM^O01"), patient(), "ORC|CA|P7^NORTH", "OBR|1|P7^NORTH||XR^X-ray")
    booking = message(header("SIU^S12"), _sch(order="P7^NORTH"), patient(), "RGS|1", "AIS|1||MRI")
    request = only(laid(order, booking), "ServiceRequest")
    assert (request["status"], request["code"]["coding"][0]["code"]) == ("revoked", "XR")


def test_visit_of_a_booking_is_planned_until_it_takes_place() -> None:
    pv1 = fields("PV1", _1="1", _2="O", _19="V1")
    booking = message(header("SIU^S12"), _sch(), patient(), pv1, "RGS|1", "AIS|1||A")
    visit = only(laid(booking), "Encounter")
    assert visit["status"] == "planned"
    assert visit["appointment"][0]["reference"].startswith("Appointment/")
    come = message(header("ADT^A04"), patient(), pv1)
    assert only(laid(come, booking), "Encounter")["status"] == "in-progress"


def test_length_of_an_old_timing_is_minutes() -> None:
    sch = _sch().replace(TIMES, "^^M45^20240203100000")
    found = only(laid(message(header("SIU^S12"), sch, patient())), "Appointment")
    assert (found["minutesDuration"], found["end"]) == (45, "2024-02-03T10:45:00+00:00")


@pytest.mark.parametrize(
    ("segments", "position"),
    [([], "SCH"), (["SCH|"], "SCH-2"), (["SCH||A1|||||||||^^^never"], "SCH-11")],
)
def test_booking_that_cannot_be_told_is_refused(segments: list[str], position: str) -> None:
    with pytest.raises(Unmappable) as refused:
        said(message(header("SIU^S12"), *segments, patient()))
    assert refused.value.position == position


def _sch(order: str = "") -> str:
    return fields("SCH", _1="PA1", _2="A1", _11=TIMES, _26=order)


def _siu(trigger: str, *resources: str, before: list[str] | None = None) -> bytes:
    start = [header(f"SIU^{trigger}"), _sch(), *(before or []), patient(), "RGS|1"]
    return message(*start, *resources)


def _people(record: Record) -> list[Any]:
    found = only(record, "Appointment")["participant"]
    assert len(all_of(record, "Appointment")) == 1
    return [p["actor"]["display"] for p in found if p["actor"].get("type") == "Practitioner"]
