"""Switches of the character set: by ISO 2022, by HL7's escapes, and what only looks like one."""

import time
from contextlib import suppress

import pytest

from chartgate.formats.hl7v2 import MalformedMessage, Message, parse
from chartgate.testing.messages import header, message

KANJI = "山田".encode("iso2022_jp")[3:-3]


def read(content: bytes, charset: str = "") -> Message:
    return parse((header(charset=charset) + "\rZZZ|").encode() + content + b"|end\r")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (rb"\M2442\%s\C2842\ x" % KANJI, "山田 x"),
        (rb"\M2442\%s\C284A\x\M2442\%s\C2842\ " % (KANJI, KANJI), "山田x山田 "),
        (rb"\C2D41\M" + b"\xfcller", "Müller"),
        (rb"\C2D4C\ " + "Иванов".encode("iso8859-5"), " Иванов"),
        (rb"\C2949\ " + "ﾔﾏﾀﾞ".encode("shift_jis"), " ﾔﾏﾀﾞ"),
        (rb"\M242943\ " + "김철수".encode("euc_kr"), " 김철수"),
        (rb"\M242941\ " + "王小明".encode("gb2312"), " 王小明"),
        (rb"a\F\b\C2842\c", "a|bc"),
    ],
)
def test_escape_to_another_set_is_undone(content: bytes, text: str) -> None:
    found = read(content)
    assert (found.value("ZZZ", 1), found.value("ZZZ", 2)) == (text, "end")
    assert found.charset_flag == ""


def test_second_byte_that_looks_like_a_delimiter_does_not_split() -> None:
    text = "淫緯蔭移愛"
    pairs = text.encode("iso2022_jp")[3:-3]
    assert set(pairs[1::2]) == set(b"|^~\\&")
    assert read(rb"\M2442\%s\C2842\ " % pairs).value("ZZZ", 1) == text + " "
    assert read(text.encode("iso2022_jp"), "~ISO IR87").value("ZZZ", 1) == text


def test_switch_to_an_eight_bit_set_ends_with_the_component() -> None:
    found = read(b"\\C2D42\\\xb3^\xb3", "8859/1")
    assert (found.value("ZZZ", 1), found.value("ZZZ", 1, 2)) == ("ł", "³")


@pytest.mark.parametrize("content", [rb"\M2442\no end", rb"\C2D99\x", rb"\M242842\x\C2842\ "])
def test_switch_when_it_cannot_be_undone_is_left_and_flagged(content: bytes) -> None:
    found = read(content)
    assert found.segments("ZZZ")[0].raw(1).startswith(content[:7].decode())
    assert "left as it was sent" in found.charset_flag


def test_text_that_spells_a_switch_is_text() -> None:
    found = read(rb"\E\C2842\E\ and \E\M2442\E\%s\E\C2842\E\ " % KANJI)
    assert found.value("ZZZ", 1) == rf"\C2842\ and \M2442\{KANJI.decode()}\C2842\ "
    assert found.charset_flag == ""


def test_path_of_a_file_is_no_switch() -> None:
    assert read(rb"C:\C2\x").value("ZZZ", 1) == r"C:\C2\x"


def test_second_byte_of_a_character_is_no_escape() -> None:
    """ソ ends with the byte of the backslash in Shift JIS."""
    content = "ソC2842ソ".encode("shift_jis")
    assert read(content, "ISO IR14").value("ZZZ", 1) == "ソC2842ソ"


def test_japanese_roman_set_keeps_the_delimiters() -> None:
    found = parse(message(header(charset="~ISO IR87"), "ZZZ|\x1b(Ja\\F\\b~c\x1b(B|end"))
    assert (found.value("ZZZ", 1), found.value("ZZZ", 2)) == ("a|b", "end")
    assert len(found.segments("ZZZ")[0].repetitions(1)) == 2


@pytest.mark.parametrize(
    "part",
    [rb"\M2442\ ", rb"\M2442\x", rb"\M2442\\", rb"\C2D41\ ", b"\x1b$B", rb"\C2842", rb"\ ", b"\\"],
)
def test_switches_without_end_take_time_in_proportion(part: bytes) -> None:
    """Twenty times the bytes take no four hundred times as long."""

    def seconds(count: int) -> float:
        started = time.perf_counter()
        with suppress(MalformedMessage):
            read(part * count + rb"\M2442\ ")
        return time.perf_counter() - started

    small = max(seconds(2_000), 0.001)
    assert seconds(40_000) < 100 * small
