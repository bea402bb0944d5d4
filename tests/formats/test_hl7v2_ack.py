"""Acknowledgements: echoed byte for byte, escaped where they are ours, under each condition."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.formats.hl7v2 import parse, read_header
from chartgate.formats.hl7v2_ack import (
    REQUIRED_MISSING,
    AckCode,
    Complaint,
    Conditions,
    Verdict,
    acknowledge,
    application_ack,
    code_of,
    conditions_of,
    control_id_of,
    is_wanted,
)
from chartgate.formats.mllp import Deframer, Frame, frame

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CONTROL_IDS = st.binary(min_size=1, max_size=199).filter(lambda b: not set(b) & set(b"|\r\n"))


def answer(raw: bytes, code: AckCode = "AA", complaint: Complaint | None = None) -> bytes:
    header = read_header(raw)
    assert header is not None
    return acknowledge(header, code, control_id="OURS", at=AT, complaint=complaint)


@given(CONTROL_IDS)
def test_control_id_is_echoed_byte_for_byte(control_id: bytes) -> None:
    raw = b"MSH|^~\\&|A|B|C|D|20240101||ADT^A01|" + control_id + b"|P|2.5\r"
    assert answer(raw).split(b"\r")[1].split(b"|")[:3] == [b"MSA", b"AA", control_id]


def test_ack_goes_back_to_the_sender_in_its_own_delimiters() -> None:
    ack = answer(b"MSH#*+/%#APP#FAC#US#HERE#20240101##ADT*A01*ADT_A01#7#T#2.3\r")
    msh = b"MSH#*+/%#US#HERE#APP#FAC#20260302090000+0000##ACK*A01*ACK#OURS#T#2.3"
    assert ack == msh + b"\rMSA#AA#7\r"


def test_complaint_names_the_field_and_the_code_of_table_0357() -> None:
    wrong = Complaint(code=REQUIRED_MISSING, sentence="there is no type", position="MSH-9")
    ack = answer(b"MSH|^~\\&|A|B|C|D|20240101|||7|P|2.5\r", "AR", wrong)
    read = parse(ack)
    assert (read.value("MSA", 1), read.value("MSA", 2)) == ("AR", "7")
    assert (read.value("ERR", 2), read.value("ERR", 2, 3)) == ("MSH", "9")
    assert (read.value("ERR", 3), read.value("ERR", 3, 3)) == ("101", "HL70357")
    assert read.value("ERR", 8) == "there is no type"


@pytest.mark.parametrize("marks", [b"MSH|^~\\&", b"MSH|^~", b"MSH.-,;:"])
def test_our_own_words_when_delimiters_are_unusual_stay_in_their_field(marks: bytes) -> None:
    mark = marks[3:4]
    raw = mark.join([marks, b"A", b"B", b"C", b"D", b"1", b"", b"ADT", b"7", b"P", b"2.5"]) + b"\r"
    wrong = Complaint(code="102", sentence="no. 1, of 2; it's a|b^c", position="MSH-3")
    assert answer(raw, "AE", wrong).count(b"\r") == 3
    assert parse(answer(raw, "AE", wrong)).value("MSA", 2) == "7"


def test_character_set_of_the_message_is_that_of_its_ack() -> None:
    raw = "MSH|^~\\&|Müller|B|C|D|1||ADT^A01|7|P|2.5||||||UNICODE UTF-8\r".encode()
    assert parse(answer(raw)).value("MSH", 5) == "Müller"


@pytest.mark.parametrize(
    ("accept", "application", "found"),
    [
        ("", "", None),
        ('""', '""', None),
        ("AL", "", ("AL", "NE")),
        ("", "AL", ("NE", "AL")),
        ("er", " SU ", ("ER", "SU")),
        ("NE", "NE", ("NE", "NE")),
        ("YES", "NE", ("AL", "NE")),
    ],
)
def test_mode_is_original_only_when_nothing_is_asked_for(
    accept: str, application: str, found: tuple[str, str] | None
) -> None:
    """What is empty beside a valued one is never; what is in no table is better answered."""
    header = read_header(f"MSH|^~\\&|A|B|C|D|1||ADT|7|P|2.5|||{accept}|{application}\r".encode())
    assert header is not None
    assert conditions_of(header) == (Conditions(*found) if found else None)


@pytest.mark.parametrize("condition", ["AL", "NE", "ER", "SU", ""])
@pytest.mark.parametrize("success", [True, False])
def test_condition_decides_whether_there_is_an_answer(condition: str, success: bool) -> None:
    wanted = {"AL": (True, True), "ER": (False, True), "SU": (True, False)}
    yes, no = wanted.get(condition, (False, False))
    assert is_wanted(condition, success=success) is (yes if success else no)


def test_commit_codes_stand_for_the_same_verdicts() -> None:
    always = Conditions("AL", "AL")
    assert [code_of(always, verdict) for verdict in Verdict] == ["CA", "CE", "CR", "CE"]
    assert [code_of(None, verdict) for verdict in Verdict] == ["AA", "AE", "AR", "AR"]


def test_application_ack_is_a_message_of_its_own_and_the_same_each_time() -> None:
    header = read_header(b"MSH|^~\\&|A|B|C|D|1||ADT^A01|7|P|2.5|||AL|AL||UNICODE UTF-8\r")
    assert header is not None
    wrong = Complaint(code="102", sentence="no such date", position="PID-7")
    made = [
        application_ack(header, "AE", digest=b"d" * 32, at=AT, complaint=wrong) for _ in range(2)
    ]
    read = parse(made[0])
    assert made[0] == made[1]
    assert (read.value("MSA", 1), read.value("MSA", 2)) == ("AE", "7")
    assert (read.value("MSH", 15), read.value("MSH", 16)) == ("AL", "NE")
    assert read.value("MSH", 18) == "UNICODE UTF-8"
    assert read.value("MSH", 10) not in (None, control_id_of(b"d" * 32))
    assert (read.value("ERR", 2), read.value("ERR", 2, 3)) == ("PID", "7")


def test_number_that_is_awaited_stands_in_msa_4() -> None:
    header = read_header(b"MSH|^~\\&|A|B|C|D|1||ADT^A01|7|P|2.5|4\r")
    assert header is not None
    ack = acknowledge(header, "AA", control_id="O", at=AT, complaint=None, expected=4)
    assert ack.split(b"\r")[1] == b"MSA|AA|7||4"


def test_echo_that_ends_like_a_frame_does_not_end_ours() -> None:
    raw = b"MSH|^~\\&|A|B|C|D|1||ADT^A01|7\x1c|P|2.5\x1c\r"
    ack = answer(raw)
    assert b"\x1c\r" not in ack
    assert Deframer(size_bytes_max=1000).feed(frame(ack)) == [Frame(ack)]
