"""Edited copies: one value is another, and no other byte is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.errors import Invalid
from chartgate.formats import hl7v2_edit
from chartgate.formats.hl7v2 import MalformedMessage, parse
from chartgate.formats.hl7v2_escape import unescape
from chartgate.formats.hl7v2_place import parse_place
from chartgate.formats.hl7v2_write import NULL_VALUE, Field, Unwritable
from chartgate.testing.messages import adt, header, message

HEAD = header()
BODY = "PID|1||7^^^N&1&ISO~8||Ex^Ada\r\n\r\nOBX|1|TX|N||a\nb\rOBX|2||\n"
RAW = (HEAD + "\r" + BODY).encode()


def with_value(raw: bytes, position: str, value: Field) -> bytes:
    return hl7v2_edit.with_value(raw, parse_place(position), value)


@pytest.mark.parametrize(
    ("position", "value", "before", "after"),
    [
        ("PID-3.1", "9", "7^^^N", "9^^^N"),
        ("PID-3.4", "M", "^^^N&1&ISO", "^^^M"),
        ("PID-3.4.2", "2", "N&1&ISO", "N&2&ISO"),
        ("PID-3[2]", "9", "~8|", "~9|"),
        ("PID-3(2).2", "x", "~8|", "~8^x|"),
        ("PID-3[4]", "x", "~8|", "~8~~x|"),
        ("PID-3", "x|y", "7^^^N&1&ISO~8", "x\\F\\y"),
        ("PID-3", (("a", ("b", "c")), "d"), "7^^^N&1&ISO~8", "a^b&c~d"),
        ("PID-5.2", None, "Ex^Ada", "Ex^"),
        ("PID-5", NULL_VALUE, "Ex^Ada", '""'),
        ("PID-5", '""', "Ex^Ada", '\\X22\\"'),
        ("PID-8", "F", "Ex^Ada", "Ex^Ada|||F"),
        ("PID-8.2", "F", "Ex^Ada", "Ex^Ada|||^F"),
        ("OBX[1]-5", "c", "a\nb", "c"),
        ("OBX[2]-3", "N\r", "OBX|2||", "OBX|2||N\\X0D\\"),
        ("MSH-9.2", "A08", "ADT^A01", "ADT^A08"),
        ("MSH-18", "8859/1", "|P|2.5", "|P|2.5||||||8859/1"),
    ],
)
def test_value_takes_the_place_of_one_other(
    position: str, value: str, before: str, after: str
) -> None:
    assert RAW.decode().count(before) == 1
    expected = RAW.decode().replace(before, after).encode()
    assert with_value(RAW, position, value) == expected


@pytest.mark.parametrize("position", ["MSH-1", "MSH-2", "PID", "NTE-1", "OBX[3]-1"])
def test_place_that_is_not_there_or_must_not_change_is_refused(position: str) -> None:
    with pytest.raises(Invalid):
        with_value(RAW, position, "x")


def test_wrong_declaration_can_be_mended() -> None:
    raw = RAW.replace(b"Ada", b"Zo\xeb")
    with pytest.raises(MalformedMessage):
        parse(raw)
    mended = with_value(raw, "MSH-18", "8859/1")
    assert parse(mended).value("PID", 5, 2) == "Zoë"


def test_bytes_of_no_character_set_can_be_mended() -> None:
    raw = with_value(RAW.replace(b"Ada", b"Zo\xeb"), "MSH-18", "UNICODE UTF-8")
    mended = with_value(raw, "PID-5.2", "Zoë")
    assert parse(mended).value("PID", 5, 2) == "Zoë"


def test_faulty_delimiters_can_be_mended_and_sound_ones_not_changed() -> None:
    raw = RAW.replace(b"|^~\\&|", b"|ABCD|")
    assert with_value(raw, "MSH-2", "^~\\&") == RAW
    for value in ("^^", "AB", None):
        with pytest.raises(Unwritable):
            with_value(raw, "MSH-2", value)
    with pytest.raises(MalformedMessage):
        with_value(raw, "PID-3", "x")


def test_value_that_the_character_set_lacks_is_refused() -> None:
    with pytest.raises(Unwritable, match="PID-5: the character set ascii"):
        with_value(RAW, "PID-5", "Zoë")
    latin = with_value(RAW, "MSH-18", "8859/1")
    assert parse(with_value(latin, "PID-5", "Zoë")).value("PID", 5) == "Zoë"
    with pytest.raises(Unwritable, match="read in another way"):
        with_value(latin, "PID-5", "Ã¼")


def test_last_character_above_ascii_can_be_taken_away() -> None:
    undeclared = RAW.replace(b"Ada", "Zoë".encode())
    assert with_value(undeclared, "PID-5.2", "Ada") == RAW
    assert parse(with_value(undeclared, "PID-5.1", "Él")).value("PID", 5) == "Él"


@pytest.mark.parametrize(
    ("charset", "codec"),
    [("~ISO IR87", "iso2022_jp"), ("ISO IR14", "shift_jis"), ("BIG-5", "big5"),
     ("GB 18030-2000", "gb18030")],
)  # fmt: skip
def test_second_bytes_that_look_like_delimiters_are_kept(charset: str, codec: str) -> None:
    name = {"big5": "功許蓋"}.get(codec, "移緯")
    raw = (header(charset=charset) + "\rPID|1||7||").encode() + f"{name}^{name}|x\r".encode(codec)
    changed = with_value(raw, "PID-5.2", name[::-1])
    assert parse(changed).value("PID", 5, 1) == name
    assert parse(changed).value("PID", 5, 2) == name[::-1]
    assert with_value(changed, "PID-5.2", name) == raw


def test_segment_whose_bytes_cannot_be_kept_is_left_alone() -> None:
    twice = b"\x1b$B\x1b(B\x1b$B;3\x1b(B"
    raw = (header(charset="~ISO IR87") + "\rPID|1||7||").encode() + twice + b"^y|x\r"
    with pytest.raises(Unwritable, match="kept exactly"):
        with_value(raw, "PID-5.2", "x")
    switches = message(HEAD, "PID|1||7||\\M2442\\;3\\C2842\\^y|x")
    with pytest.raises(Unwritable, match="switches"):
        with_value(switches, "PID-5.2", "x")


@given(
    st.sampled_from(
        ["PID-3", "PID-3.1", "PID-5.2", "PID-11[2].3.2", "PV1-44", "EVN-9", "PV1-19.2"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.sampled_from([b"\r", b"\n", b"\r\n"]),
)
def test_any_text_is_read_back_and_all_other_fields_are_as_before(
    position: str, text: str, end: bytes
) -> None:
    raw = with_value(adt(), "MSH-18", "UNICODE UTF-8").replace(b"\r", end)
    changed = with_value(raw, position, text)
    place = parse_place(position)
    before, after = parse(raw), parse(changed)
    found = after.segments(place.segment)[0]
    sent = found.raw(place.field)
    for number, mark in (
        (place.repetition, "~"),
        (place.component, "^"),
        (place.subcomponent, "&"),
    ):
        sent = sent.split(mark)[number - 1] if number else sent
    assert unescape(sent, after.separators) == text
    for segment, other in zip(before.segments(), after.segments(), strict=True):
        for number in range(max(len(segment.fields), len(other.fields))):
            if (segment.name, number) != (place.segment, place.field):
                assert segment.raw(number) == other.raw(number)
