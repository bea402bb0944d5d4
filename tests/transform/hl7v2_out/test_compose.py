"""Messages as they are made, and read back by the tables of the other direction."""

from datetime import timedelta
from typing import Any

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.formats.hl7v2 import NULL, parse
from chartgate.formats.hl7v2_write import Unwritable
from chartgate.model.outgoing import CONTROL_ID
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.messages import transform
from chartgate.transform.hl7v2.settings import FeedSettings
from chartgate.transform.hl7v2_out.compose import compose, names
from chartgate.transform.hl7v2_out.datatypes import Unsayable
from tests.transform.hl7v2_out.told import (
    AT,
    MARKER,
    MRN,
    NAMED,
    NOTE,
    PATIENT,
    SETTINGS,
    appointment,
    change,
    create,
    note,
    observation,
    order,
    told,
    undo,
    wire,
)

FILLER = [{"system": "urn:north:filler", "value": "F1"}]
BOOKED = appointment(identifier=FILLER)
READER = FeedSettings(
    connection="back", site="north", systems={"NORTH": MRN, "STAFF": "urn:north:staff"}
)


def read_back(*messages: bytes) -> dict[str, dict[str, Any]]:
    """What our own feed makes of messages, by type; of several of a type the last."""
    record: dict[str, dict[str, Any]] = {}
    for raw in messages:
        for draft in transform(parse(raw), READER).drafts:
            record[draft.reference] = merged(record.get(draft.reference), draft)
    return {r["resourceType"]: r for r in record.values()}


def test_booking_says_who_when_where_and_by_which_number() -> None:
    found = told(create(appointment()))
    assert found.message_type == "SIU^S12"
    assert found.value("MSH", 9, 3) == "SIU_S12"
    assert [found.value("SCH", n) for n in (1, 2, 10)] == [MARKER, None, "MIN"]
    assert found.value("SCH", 1, 2) == "CHARTGATE"
    assert found.value("SCH", 11, 4) == found.value("TQ1", 7) == "20260303080000+0000"
    assert [s.name for s in found.segments()] == ["MSH", "SCH", "TQ1", "PID", "RGS", "AIS", "AIP", "AIL"]  # fmt: skip
    assert [found.value("AIP", 3, n) for n in (1, 2, 9)] == ["77", "Doctor", "STAFF"]
    assert found.value("AIL", 3) == "Room 4"


def test_only_identifiers_that_the_connection_names_leave() -> None:
    assert b"999-99-9999" not in wire(create(appointment())).raw


@pytest.mark.parametrize("enhanced", [False, True])
def test_header_asks_for_what_the_mode_needs(enhanced: bool) -> None:
    found = told(create(appointment()), enhanced=enhanced)
    wanted = "AL" if enhanced else None
    assert [found.value("MSH", n) for n in (15, 16)] == [wanted, wanted]
    message = wire(create(appointment()))
    assert CONTROL_ID.fullmatch(message.control_id)
    assert message.control_id == found.value("MSH", 10)


def test_same_arguments_give_the_same_bytes_and_another_moment_another_control_id() -> None:
    one, same = wire(create(appointment())), wire(create(appointment()))
    later = compose(
        [create(appointment())], NAMED, SETTINGS, marker=MARKER, at=AT + timedelta(seconds=1)
    )
    assert one == same
    assert one.control_id != later.control_id


@pytest.mark.parametrize(
    ("one", "kind", "place", "value"),
    [
        (undo(appointment()), "SIU^S15", ("SCH", 1), MARKER),
        (undo(order()), "OML^O21", ("ORC", 1), "CA"),
        (undo(note()), "MDM^T11", ("TXA", 19), "CA"),
        (undo(observation()), "ORU^R01", ("OBX", 11), "D"),
        (change(BOOKED, start="2026-03-03T09:00:00Z"), "SIU^S13", ("SCH", 2), "F1"),
        (change(BOOKED, comment="bring a list"), "SIU^S14", ("NTE", 3), "bring a list"),
        (change(BOOKED, status="cancelled"), "SIU^S15", ("SCH", 25), "Cancelled"),
        (change(BOOKED, status="noshow"), "SIU^S26", ("SCH", 25), "Noshow"),
        (change({**BOOKED, "status": "cancelled"}, status="booked"), "SIU^S12", ("SCH", 1), MARKER),
        (change(order(identifier=FILLER), status="revoked"), "OML^O21", ("ORC", 1), "CA"),
        (change(order(identifier=FILLER), status="on-hold"), "OML^O21", ("ORC", 1), "HD"),
        (change(order(identifier=FILLER), priority="routine"), "OML^O21", ("ORC", 1), "XO"),
        (
            change(observation(identifier=FILLER), status="corrected", valueQuantity={"value": 9}),
            "ORU^R01",
            ("OBX", 11),
            "C",
        ),
        (
            change(observation(identifier=FILLER), status="entered-in-error"),
            "ORU^R01",
            ("OBX", 11),
            "W",
        ),
        (change(PATIENT, birthDate="1971-02-03"), "ADT^A08", ("PID", 7), "19710203"),
    ],
)
def test_each_change_has_its_trigger(
    one: Any, kind: str, place: tuple[str, int], value: str
) -> None:
    found = told(one)
    assert found.message_type == kind
    assert found.value(*place) == value


def test_undoing_names_what_it_calls_off_by_the_number_it_was_made_by() -> None:
    for made in (appointment(), order(), note(), observation()):
        at = {"Appointment": ("SCH", 1), "ServiceRequest": ("ORC", 2)}.get(
            made["resourceType"], ("TXA", 12)
        )
        at = ("OBR", 3) if made["resourceType"] == "Observation" else at
        assert told(create(made)).value(*at) == told(undo(made)).value(*at) == MARKER


def test_value_that_is_gone_is_removed_and_others_stay() -> None:
    found = told(change(PATIENT, address=None, gender=None))
    assert [found.value("PID", n) for n in (8, 11)] == [NULL, NULL]
    assert found.value("PID", 7) == "19700203"


@pytest.mark.parametrize(
    ("concept", "parts"),
    [
        ({"text": "fever"}, [None, "fever"]),
        ({"coding": [{"code": "a", "display": "A"}], "text": "A"}, ["a", "A"]),
        ({"coding": [{"code": "a"}], "text": "A"}, ["a", "A"]),
        (
            {
                "coding": [{"code": "a", "display": "A", "system": "urn:oid:1.2"}],
                "text": "own words",
            },
            ["a", "A", "1.2", None, None, None, None, None, "own words"],
        ),
        (
            {"coding": [{"code": "a"}, {"code": "b", "system": "http://snomed.info/sct"}]},
            ["a", None, None, "b", None, "SCT"],
        ),
    ],
)
def test_code_keeps_its_name_its_system_and_the_words_of_its_author(
    concept: dict[str, Any], parts: list[str | None]
) -> None:
    found = told(create(order(code=concept)))
    assert [found.value("OBR", 4, n) for n in range(1, 10)] == [*parts, *[None] * (9 - len(parts))]


def test_settings_choose_the_message_of_orders_and_patients() -> None:
    assert told(create(order()), order_message="ORM^O01").message_type == "ORM^O01"
    found = told(change(PATIENT, gender="male"), patient_message="ADT^A31")
    assert found.message_type == "ADT^A31"
    assert found.value("MSH", 9, 3) == "ADT_A05"


def test_report_and_its_results_are_one_message() -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "24323-8"}]},
        "subject": {"reference": "Patient/7"},
        "conclusion": "Nothing new.\nSee in a year.",
    }
    found = told(create(observation()), create(report, marker="m2"), create(observation()))
    assert found.value("OBR", 4) == "24323-8"
    assert found.value("OBR", 3) == "m2"
    assert [s.value(2) for s in found.segments("OBX")] == ["TX", "NM", "NM"]
    assert [s.value(1) for s in found.segments("OBX")] == ["1", "2", "3"]


def test_our_own_feed_reads_a_booking_as_it_was_meant() -> None:
    record = read_back(wire(create(appointment())).raw)
    found = record["Appointment"]
    assert (found["status"], found["minutesDuration"]) == ("booked", 30)
    assert found["start"] == "2026-03-03T08:00:00+00:00"
    assert found["serviceType"][0]["coding"][0]["code"] == "CHK"
    assert any(i["value"] == MARKER for i in found["identifier"])
    patient = record["Patient"]
    assert patient["name"][0]["family"] == "O'Hara|Q"
    assert {t["value"] for t in patient["telecom"]} >= {"+1 555 0100", "+1 555 0199"}
    called_off = read_back(wire(create(appointment())).raw, wire(undo(appointment())).raw)
    assert called_off["Appointment"]["status"] == "cancelled"


def test_our_own_feed_reads_a_note_and_its_withdrawal() -> None:
    found = read_back(wire(create(note())).raw)["DocumentReference"]
    assert (found["status"], found["docStatus"]) == ("current", "preliminary")
    gone = read_back(wire(create(note())).raw, wire(undo(note())).raw)["DocumentReference"]
    assert gone["status"] == "entered-in-error"


def test_our_own_feed_reads_orders_and_results() -> None:
    ordered = read_back(wire(create(order())).raw)["ServiceRequest"]
    assert (ordered["status"], ordered["priority"]) == ("active", "stat")
    called_off = read_back(wire(create(order())).raw, wire(undo(order())).raw)["ServiceRequest"]
    assert called_off["status"] == "revoked"
    result = read_back(wire(create(observation())).raw)["Observation"]
    assert (result["status"], result["valueQuantity"]["value"]) == ("final", 92.5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ([create(appointment(description="x"))], "no place for Appointment.description"),
        ([create(appointment(status="proposed"))], "no message of HL7 v2 tells this create"),
        ([change(BOOKED, participant=[])], "cannot change Appointment.participant"),
        ([change(BOOKED, identifier=None, start="2026-03-03T09:00:00Z")], "no number"),
        ([change(note(identifier=FILLER), date="2026-03-02T08:51:00Z")], "tells this change"),
        ([change(PATIENT, generalPractitioner=[{"reference": "Practitioner/d1"}])], "no place for"),
        ([change(PATIENT, identifier=[])], "cannot change Patient.identifier"),
        ([change(PATIENT, name=[{"family": "X", "period": {"start": "2026"}}])], "for period"),
        ([create(appointment()), create(order())], "cannot be told by one message"),
        ([create(observation()), create(observation(subject={"reference": "Patient/8"}))], "several patients"),
        ([create(observation(valueRatio={"numerator": {"value": 1}}))], "valueRatio"),
        ([create(observation(status="unknown"))], "OBR-25 is required"),
        ([create(observation(component=[{"valueString": "x"}]))], "component"),
        ([create(note(description="x"))], "description"),
        ([create(note(content=[{"attachment": {"contentType": "application/pdf", "data": ""}}]))], "plain text"),
        ([create(note(content=[{"attachment": {"contentType": "text/plain", "url": "https://evil"}}]))], "url"),
        ([create({**note(), "meta": {"security": [{"code": "R"}]}})], "labels"),
        ([create(order(subject={"reference": "Patient/8"}))], "PID"),
        ([change(PATIENT, name=[{"family": "X", "use": "old"}])], "name of that use"),
        ([change(PATIENT, address=[{"city": "X", "use": "billing"}])], "address of that use"),
        ([change(PATIENT, telecom=[{"system": "phone", "value": "1", "use": "old"}])], "contact of"),
        ([change(PATIENT, telecom=[{"system": "url", "value": "x"}])], "neither phone"),
        ([create(note(content=[{"attachment": {"contentType": "text/plain", "data": "eA==", "title": "t"}}]))], "title"),
        ([create(order(code={"coding": [{"code": "a"}, {"code": "b"}, {"code": "c"}]}))], "two codings"),
        ([], "nothing to tell"),
    ],
)  # fmt: skip
def test_what_has_no_place_is_refused_and_never_left_out(changes: Any, sentence: str) -> None:
    with pytest.raises(Unsayable, match=sentence) as refused:
        wire(*changes)
    for secret in ("4711", "O'Hara", "1970", "Patient/8", "Seen today", "https"):
        assert secret not in str(refused.value)


@pytest.mark.parametrize(
    "participant",
    [
        {"actor": {"reference": "Device/1"}, "status": "accepted"},
        {"actor": {"reference": "Practitioner/d1"}, "status": "accepted", "period": {"start": "2026"}},
        {"actor": {"reference": "Practitioner/unknown"}, "status": "accepted"},
        {"actor": {"reference": "Practitioner/d1"}, "status": "declined"},
        {"actor": {"reference": "Practitioner/d1"}, "status": "accepted", "required": "optional"},
    ],
)  # fmt: skip
def test_participant_that_no_segment_can_name_is_refused(participant: dict[str, Any]) -> None:
    made = appointment()
    with pytest.raises(Unsayable):
        wire(create({**made, "participant": [*made["participant"][:1], participant]}))


def test_message_that_the_connection_does_not_name_is_refused() -> None:
    with pytest.raises(Unsayable, match="not among the writes"):
        wire(create(appointment()), writes=("SIU^S15", "MDM"))
    assert told(create(appointment()), writes=("SIU^S12",)).message_type == "SIU^S12"


def test_what_the_character_set_has_not_is_refused() -> None:
    with pytest.raises(Unwritable):
        wire(create(note("数")), charset="8859/1")


def test_names_asks_for_whom_and_where_and_for_nothing_else() -> None:
    assert set(names([create(appointment())])) == {"Patient/7", "Practitioner/d1", "Location/r1"}
    assert names([change(PATIENT, gender="male")]) == ()


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), min_size=1)


@given(text=TEXTS)
def test_text_of_a_proposal_stays_one_value(text: str) -> None:
    """Whatever delimiters, frame bytes or headers it holds."""
    found = told(create(note(text)))
    plain = told(create(note("x")))
    assert [s.name for s in found.segments()] == [s.name for s in plain.segments()]
    assert found.segment("OBX").value(5) == text  # type: ignore[union-attr]
    raw = wire(create(note(text))).raw
    assert not set(b"\x0b\x1c\x00") & set(raw)


@given(text=TEXTS)
def test_texts_in_every_field_make_no_new_segment(text: str) -> None:
    made = appointment(comment=text, reasonCode=[{"text": text}], appointmentType={"text": text})
    found = told(create(made))
    assert [s.name for s in found.segments()].count("MSH") == 1
    assert found.value("SCH", 7, 2) == text
    assert found.value("NTE", 3) == text


@pytest.mark.parametrize("made", [appointment(), order(), note(), observation()])
def test_other_readers_of_hl7_see_the_same_fields(made: dict[str, Any]) -> None:
    raw = wire(create(made)).raw
    ours, theirs = parse(raw), hl7.parse(raw.decode())
    assert [str(segment[0]) for segment in theirs] == [s.name for s in ours.segments()]
    for segment, ours_too in zip(theirs[1:], ours.segments()[1:], strict=True):
        for number in range(1, len(segment)):
            assert str(segment[number]) == ours_too.raw(number)


def test_lines_of_a_note_are_repetitions() -> None:
    found = told(create(note()))
    segment = found.segment("OBX")
    assert segment is not None
    lines = [one.value() or "" for one in segment.repetitions(5)]
    assert "\n".join(line.strip() for line in lines) == NOTE
