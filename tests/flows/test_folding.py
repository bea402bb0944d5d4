"""Reading and folding: what a message comes to, and what a late one may still say."""

from datetime import UTC, datetime
from typing import Any

import pytest

from chartgate.flows import folding
from chartgate.flows.folding import Filtered, Folded, Held, Reading, Refusal, fold, read
from chartgate.formats.hl7v2 import Message
from chartgate.model.message import Queued
from chartgate.testing.messages import adt, header, message, patient, siu, visit
from chartgate.transform.hl7v2 import messages as transforms
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.overrides import parse_overrides
from chartgate.transform.hl7v2.settings import FeedSettings

SETTINGS = FeedSettings(connection="adt", site="north", ids_are_identifiers=True)
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TEN, HALF_PAST_TEN, ELEVEN = "20260302100000", "20260302103000", "20260302110000"
PHONE = "||555-0100"


def queued(raw: bytes, *, kind: str = "ADT^A08") -> Queued:
    return Queued(id=7, connection="adt", message_type=kind, raw=raw, received_at=AT)


def update(
    given: str = "Ada", *, sent: str = TEN, sender: str = "ADT1", phone: bool = True, mrn: str = "p"
) -> bytes:
    """ADT^A08 of one patient, with or without a telephone, as of MSH-7 `sent`."""
    head = header("ADT^A08", given).replace("20240102030405", sent).replace("ADT1", sender)
    who = patient(mrn, given=given)
    return message(head, "EVN|A08", who if phone else who.replace(PHONE, ""))


def reading_of(raw: bytes, *, kind: str = "ADT^A08", settings: FeedSettings = SETTINGS) -> Reading:
    found = read(queued(raw, kind=kind), settings)
    assert isinstance(found, Reading), found
    return found


def folded(held: Held, raw: bytes) -> Folded:
    found = fold(queued(raw), reading_of(raw), held)
    assert isinstance(found, Folded), found
    return found


def person(held: Held) -> dict[str, Any]:
    found: dict[str, Any] = held.resources["Patient/p"]
    return found


def given(held: Held) -> str:
    name: str = person(held)["name"][0]["given"][0]
    return name


def test_newer_message_lies_over_older_ones() -> None:
    held = Held()
    assert folded(held, update("One")).flags == ()
    assert folded(held, update("Two", sent=ELEVEN)).flags == ()
    assert given(held) == "Two"


def test_late_message_fills_gaps_changes_nothing_else_and_is_flagged() -> None:
    held = Held()
    folded(held, update("One", sent=ELEVEN, phone=False))
    assert "telecom" not in person(held)
    found = folded(held, update("Two", sent=TEN))
    assert found.flags == ("late",)
    assert given(held) == "One"
    assert person(held)["telecom"][0]["value"] == "555-0100"


def test_late_message_does_not_move_the_time_back() -> None:
    """What comes after it is late by the newest that was said, not by the last."""
    held = Held()
    folded(held, update("One", sent=ELEVEN))
    folded(held, update("Two", sent=TEN))
    assert folded(held, update("Three", sent=HALF_PAST_TEN)).flags == ("late",)
    assert given(held) == "One"


def test_clock_of_another_sender_makes_nobody_late() -> None:
    held = Held()
    folded(held, update("One", sent=ELEVEN, sender="ADT1"))
    assert folded(held, update("Two", sent=TEN, sender="LAB")).flags == ()
    assert given(held) == "Two"
    assert folded(held, update("Three", sent=HALF_PAST_TEN, sender="ADT1")).flags == ("late",)


def test_time_to_the_minute_is_not_late_within_its_minute() -> None:
    held = Held()
    folded(held, update("One", sent="20260302100030"))
    assert folded(held, update("Two", sent="202603021000")).flags == ()
    assert given(held) == "Two"
    assert folded(held, update("Three", sent="202603020959")).flags == ("late",)


def test_equal_times_count_by_arrival() -> None:
    held = Held()
    folded(held, update("One", sent=TEN))
    assert folded(held, update("Two", sent=TEN)).flags == ()
    assert given(held) == "Two"


@pytest.mark.parametrize("sent", ["", "20269999", "soon"])
def test_message_without_a_time_is_never_late_and_dates_nothing(sent: str) -> None:
    held = Held()
    folded(held, update("One", sent=ELEVEN))
    assert folded(held, update("Two", sent=sent)).flags == ()
    assert given(held) == "Two"
    assert folded(held, update("Three", sent=TEN)).flags == ("late",)  # One's time still stands


def test_message_about_another_patient_is_not_late() -> None:
    held = Held()
    folded(held, update("One", sent=ELEVEN))
    assert folded(held, update("Two", sent=TEN, mrn="q")).flags == ()


def test_stamps_go_through_the_record_and_back() -> None:
    """The next worker knows nothing but what the record keeps."""
    first = folded(Held(), update("One", sent=ELEVEN))
    [copy] = [copy for copy in first.copies if copy.reference == "Patient/p"]
    held = folding.held_of([copy])
    assert folded(held, update("Two", sent=TEN)).flags == ("late",)
    assert given(held) == "One"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("ACK", folding.SAY_ACKNOWLEDGEMENT),
        ("ACK^A01", folding.SAY_ACKNOWLEDGEMENT),
        ("MCF", folding.SAY_ACKNOWLEDGEMENT),
        ("ZZZ^Z01", folding.SAY_UNSUPPORTED),
        ("ADT^A99", folding.SAY_UNSUPPORTED),
    ],
)
def test_kind_that_tells_nothing_is_filtered_with_its_reason(kind: str, reason: str) -> None:
    assert read(queued(adt(), kind=kind), SETTINGS) == Filtered(reason=reason)


def test_filter_of_the_site_keeps_a_message_out_with_its_reason() -> None:
    text = """
    [[filter]]
    if = "PV1-2 is T"
    reason = "test patients"
    """
    settings = FeedSettings(
        connection="adt", site="north", overrides=parse_overrides(text, where="north.toml")
    )
    raw = message(header("ADT^A08"), "EVN|A08", patient(), visit(patient_class="T"))
    assert read(queued(raw), settings) == Filtered(reason="test patients")


def test_content_that_cannot_be_mapped_is_refused_with_its_place() -> None:
    wrong = update().replace(b"19800102", b"19801399")
    found = read(queued(wrong), SETTINGS)
    assert isinstance(found, Refusal)
    assert (found.reason_class, found.position) == ("content", "PID-7")
    assert "19801399" not in found.reason


def test_message_that_is_none_is_refused_by_its_structure() -> None:
    found = read(queued(b"PID|1\r"), SETTINGS)
    assert isinstance(found, Refusal)
    assert found.reason_class not in ("internal", "content")


def test_fault_of_ours_says_its_kind_and_nothing_of_the_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("Ada Example")

    monkeypatch.setitem(transforms.SUPPORTED, "ADT^A08", broken)
    assert read(queued(update()), SETTINGS) == Refusal(
        reason_class="internal", reason="our own fault (ZeroDivisionError)"
    )


def test_appointment_without_times_is_refused_and_nothing_of_it_is_held() -> None:
    raw = siu().replace(b"20240203100000^20240203103000", b"")
    held = Held()
    found = fold(queued(raw), reading_of(raw, kind="SIU^S12"), held)
    assert isinstance(found, Refusal)
    assert (found.reason_class, found.position) == ("content", "SCH-11")
    assert (held.resources, held.stamps) == ({}, {})


def test_resource_that_is_not_valid_is_refused_and_nothing_of_it_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The structural check stands between whatever the tables make and the record."""
    reading = reading_of(update())
    draft = next(d for d in reading.said.drafts if d.resource_type == "Patient")

    def spoiled(held: Any, one: Any, *, late: bool) -> Any:
        resource = merged(held, one, late=late)
        return resource | {"gender": ["female"]} if one is draft else resource

    monkeypatch.setattr(folding, "merged", spoiled)
    held = Held()
    found = fold(queued(update()), reading, held)
    assert isinstance(found, Refusal)
    assert found.reason_class == "fhir"
    assert "gender" in found.reason
    assert held.resources == {}


def test_bytes_of_another_character_set_than_was_said_are_flagged() -> None:
    head = header("ADT^A08", charset="ASCII")
    raw = message(head, "EVN|A08", patient("p", family="X")).replace(b"|X^", "|Ä^".encode())
    assert folded(Held(), raw).flags == ("charset",)


def test_parsed_messages_are_shown_whatever_becomes_of_them() -> None:
    """The watch over drift sees what could be taken apart, also where it was refused."""
    shown: list[tuple[Queued, Message]] = []
    wrong = update().replace(b"19800102", b"19801399")
    for raw in (update(), wrong):
        read(queued(raw), SETTINGS, parsed=shown)
    read(queued(b"no message"), SETTINGS, parsed=shown)
    assert [one.raw for one, _ in shown] == [update(), wrong]


def test_wanted_are_the_resources_that_a_message_lies_over() -> None:
    readings: list[Reading | Filtered | Refusal]
    readings = [reading_of(update()), Filtered(reason="x"), Refusal(reason_class="x", reason="y")]
    found = folding.wanted(readings)
    assert "Patient/p" in found
    assert not any(reference.startswith("Provenance/") for reference in found)
