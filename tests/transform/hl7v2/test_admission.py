"""The check at the door: which answer, which class, and when there is none."""

from datetime import UTC, datetime

import pytest

from chartgate.formats.hl7v2 import parse
from chartgate.model.message import Arrival, Received, SequenceMark
from chartgate.testing.messages import adt, header, message, patient
from chartgate.transform.hl7v2.admission import (
    Refused,
    admit,
    collided,
    out_of_sequence,
    storage_unavailable,
)
from chartgate.transform.hl7v2.settings import FeedSettings

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SETTINGS = FeedSettings(connection="north", site="n")
NUMBERED = FeedSettings(connection="north", site="n", sequence=True)
CONDITIONS = ["", "AL", "NE", "ER", "SU"]


def altered(raw: bytes = b"", **changes: str) -> bytes:
    """An ADT whose header has these fields, e.g. m9=""; MSH-n is m{n}."""
    lines = (raw or adt()).decode().split("\r")
    fields = lines[0].split("|")
    fields += [""] * (18 - len(fields))
    for name, value in changes.items():
        fields[int(name[1:]) - 1] = value
    return "\r".join(["|".join(fields).rstrip("|"), *lines[1:]]).encode()


def received(raw: bytes, **more: object) -> Received:
    return Received(connection="north", raw=raw, **more)  # type: ignore[arg-type]


def said(answer: bytes | None) -> str:
    """MSA-1; "" where nothing is sent, "close" where the connection ends without an answer."""
    if answer is None:
        return ""
    return (parse(answer).value("MSA", 1) or "?") if answer else "close"


def outcome(raw: bytes, settings: FeedSettings = SETTINGS) -> tuple[str, str]:
    """What is answered, and the class in the quarantine, "" for what is admitted."""
    found = admit(received(raw), settings, AT)
    if isinstance(found, Refused):
        return said(found.answer), found.rejected.reason_class
    assert isinstance(found, Arrival)
    return said(found.ack or None), ""


@pytest.mark.parametrize("accept", CONDITIONS)
@pytest.mark.parametrize("application", CONDITIONS)
def test_answer_follows_from_msh_15_and_16(accept: str, application: str) -> None:
    """The whole matrix, for a good message, a wrong one, and one while the storage is down."""
    good, wrong = (altered(m15=accept, m16=application, m10=m) for m in ("7", "x" * 200))
    original = not accept and not application
    on = {"AL": (True, True), "ER": (False, True), "SU": (True, False)}
    taken, failed = (True, True) if original else on.get(accept, (False, False))
    found = admit(received(good), SETTINGS, AT)
    assert isinstance(found, Arrival)
    assert said(found.ack or None) == (("AA" if original else "CA") if taken else "")
    assert found.application_ack == ("" if original else application or "NE")
    assert outcome(wrong) == (("AE" if original else "CE") if failed else "", "header")
    down = said(storage_unavailable(received(good), AT))
    assert down == (("AR" if original else "CE") if failed else "close")
    other = said(collided(received(good), AT).answer)
    assert other == (("AE" if original else "CE") if failed else "")


@pytest.mark.parametrize("kind", ["ACK^A01^ACK", "ACK", "MCF^A01", "RSP^K22"])
@pytest.mark.parametrize(
    ("accept", "application", "answer"), [("", "", ""), ("AL", "AL", "CA"), ("NE", "AL", "")]
)
def test_reply_is_never_answered_by_an_application(
    kind: str, accept: str, application: str, answer: str
) -> None:
    raw = altered(message(header(kind), "MSA|AA|77"), m15=accept, m16=application)
    found = admit(received(raw), SETTINGS, AT)
    assert isinstance(found, Arrival)
    assert (said(found.ack or None), found.application_ack) == (answer, "")


@pytest.mark.parametrize(
    ("raw", "original", "enhanced"),
    [
        (altered(m10=""), "AR", "CR"),
        (altered(m9=""), "AR", "CR"),
        (altered(m9="ADT^A 1"), "AR", "CR"),
        (altered(m9="{{message}}"), "AR", "CR"),
        (altered(m11="T"), "AR", "CR"),
        (altered(m12="3.0"), "AR", "CR"),
        (altered(m10="x" * 200), "AE", "CE"),
        (adt() + adt(control_id="9"), "AE", "CE"),
        (adt().replace(b"Ada", b"\xc3("), "AE", "CE"),
    ],
    ids=range(9),
)
def test_verdict_is_the_same_in_both_modes(raw: bytes, original: str, enhanced: str) -> None:
    """Refused for what the header asks for; wrong for what is to be mended."""
    assert outcome(raw)[0] == original
    first, rest = raw.split(b"\r", 1)
    assert outcome(first + b"|||AL|NE\r" + rest)[0] == enhanced


@pytest.mark.parametrize("control_id", ["x" * 199, "ä" * 199, r"a\F\b\X0D\c", " 7 ", "7^8&9~1"])
def test_control_id_when_it_can_be_kept_is_echoed(control_id: str) -> None:
    found = admit(received(altered(m10=control_id)), SETTINGS, AT)
    assert isinstance(found, Arrival)
    assert found.ack.split(b"\r")[1] == b"MSA|AA|" + control_id.encode()


def test_triggers_when_named_are_the_only_ones_taken() -> None:
    settings = FeedSettings(connection="north", site="n", triggers=("ADT^A01", "SIU"))
    taken = ["ADT^A01", "ADT^A01^ADT_A01", "SIU^S12"]
    assert [outcome(altered(m9=kind), settings)[0] for kind in taken] == ["AA"] * 3
    assert outcome(altered(m9="ADT^A99"), settings) == ("AR", "header")


@pytest.mark.parametrize(
    ("allowed", "answer"),
    [
        ({("ADT1", "NORTH")}, "AA"),
        ({("ADT1", "NORTH", "P")}, "AA"),
        ({("ADT1", "NORTH", "T")}, "AR"),
        ({("ADT1", "SOUTH"), ("ADT2", "NORTH")}, "AR"),
        (set(), "AR"),
    ],
)
def test_sender_when_the_certificate_does_not_stand_for_it_is_refused(
    allowed: set[tuple[str, ...]], answer: str
) -> None:
    found = admit(received(adt(), senders=frozenset(allowed)), SETTINGS, AT)
    assert isinstance(found, Refused) == (answer == "AR")
    if isinstance(found, Refused):
        assert (said(found.answer), found.rejected.reason_class) == ("AR", "sender")


@pytest.mark.parametrize("number", ["1", "2000000000"])
def test_number_of_a_message_is_echoed(number: str) -> None:
    found = admit(received(altered(m13=number)), NUMBERED, AT)
    assert isinstance(found, Arrival)
    assert found.sequence == int(number)
    assert parse(found.ack).value("MSA", 4) == number


@pytest.mark.parametrize("number", ["", "one", "-2", "2000000001", "9" * 5000])
def test_number_when_it_is_none_is_wrong(number: str) -> None:
    assert outcome(altered(m13=number), NUMBERED) == ("AE", "sequence")


@pytest.mark.parametrize("number", [0, -1])
def test_link_is_opened_by_a_message_without_content(number: int) -> None:
    opening = altered(message(header("^")), m13=str(number), m9="^")
    mark = SequenceMark(connection="north", sender="ADT1|NORTH", number=number)
    assert admit(received(opening), NUMBERED, AT) == mark
    assert outcome(altered(message(header(), patient()), m13=str(number)), NUMBERED) == (
        "AE",
        "sequence",
    )


def test_gap_is_answered_with_the_number_that_is_awaited() -> None:
    refused = out_of_sequence(received(altered(m13="9")), AT, expected=7)
    read = parse(refused.answer or b"")
    assert (read.value("MSA", 1), read.value("MSA", 4)) == ("AE", "7")
    assert refused.rejected.position == "MSH-13"


def test_answer_is_the_same_each_time() -> None:
    first, second = (admit(received(adt()), SETTINGS, AT) for _ in range(2))
    assert first == second
