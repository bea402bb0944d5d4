"""Escapes: each that the standard names, and what is left alone."""

import pytest

from chartgate.formats.hl7v2_delimiters import Separators
from chartgate.formats.hl7v2_escape import escape, unescape

MARKS = Separators()


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (r"\F\\S\\T\\R\\E\\P\ ", "|^&~\\# "),
        (r"a\.br\b\.sp\c\.sp3\d", "a\nb\nc\n\n\nd"),
        (r"\.in4\a\.ti-2\b\.fi\c\.nf\d\.ce\e", "abcd\ne"),
        (r"\.sk 4\x\.in+10\y", "    xy"),
        (r"\H\a\N\b", "ab"),
        (r"\X41\\X4243\\X0d0A\ ", "ABC\r\n "),
        (r"\XC3A4\ ", "ä "),
        (r"\.sp999\ \.zz\ \.sp-1\ ", r"\.sp999\ \.zz\ \.sp-1\ "),
        (r"\Zlocal\ \X4\ \X\ \XFF\ \X 1\ \x41\ ", r"\Zlocal\ \X4\ \X\ \XFF\ \X 1\ \x41\ "),
        (r"\C2842\ \M2442\ \Q\ \\ end\F", r"\C2842\ \M2442\ \Q\ \\ end\F"),
    ],
)
def test_escapes_are_undone_or_left_as_they_were_sent(sent: str, text: str) -> None:
    assert unescape(sent, MARKS) == text


@pytest.mark.parametrize(
    ("charset", "sent", "text"),
    [
        ("iso8859-1", r"\XE4\ ", "ä "),
        ("gb18030", r"\XCDF5\ ", "王 "),
        ("ascii", r"\XC3A4\ \XE4\ ", r"ä \XE4\ "),
        ("iso2022_jp_ext", r"\X1B\ \X1B244230211B2842\ ", "\x1b 亜 "),
    ],
)
def test_hexadecimal_is_of_the_character_set_of_the_message(
    charset: str, sent: str, text: str
) -> None:
    assert unescape(sent, MARKS, charset=charset) == text


def test_delimiters_of_the_header_are_those_that_are_escaped() -> None:
    marks = Separators("#", "*", "+", "/", "%", "!")
    assert escape("a#b*c+d/e%f!|^", marks) == "a/F/b/S/c/R/d/E/e/T/f/P/|^"
    assert unescape("a/F/b/S/c/R/d/E/e/T/f/P/|^", marks) == "a#b*c+d/e%f!|^"


def test_bytes_that_frame_or_switch_are_never_written_openly() -> None:
    written = escape("\x00\n\x0b\r\x0e\x0f\x1b\x1c", MARKS)
    assert written == r"\X00\\X0A\\X0B\\X0D\\X0E\\X0F\\X1B\\X1C" + "\\"


def test_many_lines_are_not_made_of_a_few_bytes() -> None:
    assert len(unescape(r"\.sp100\ " * 10, MARKS)) == 1010
    assert unescape(r"\.sp9999\ ", MARKS) == r"\.sp9999\ "
