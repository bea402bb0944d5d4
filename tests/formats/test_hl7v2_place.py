"""Places in a message: found where people expect them, and set without touching what is beside."""

import pytest

from chartgate.errors import Invalid
from chartgate.formats.hl7v2_delimiters import Separators
from chartgate.formats.hl7v2_place import find_place, parse_place

HEAD = "MSH|^~\\&|ADT1|NORTH|||20240102||ADT^A01|1|P|2.5"
TEXT = f"{HEAD}\rPID|1||77^^^A&1.2&ISO^MR~88||Doe^Ann\r\nOBX|1|ST|a||one\rOBX|2|ST|b||two~three\nmore\r"


def at(place: str, text: str = TEXT) -> str | None:
    span = find_place(text, Separators(), parse_place(place))
    return None if span is None else span.missing + text[span.start : span.end]


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("PID-3", "77^^^A&1.2&ISO^MR~88"),
        ("PID-3.1", "77"),
        ("PID-3(2)", "88"),
        ("PID-3(2).1", "88"),
        ("PID-3.4.2", "1.2"),
        ("PID-5.2", "Ann"),
        ("PID-7", "||"),
        ("PID-5.4.2", "^^&"),
        ("PID-3(4).2", "~~^"),
        ("OBX[2]-5(2)", "three\nmore"),
        ("OBX(2)-5.1", "two"),
        ("OBX", "OBX|1|ST|a||one"),
        ("MSH-1", "|"),
        ("MSH-2", "^~\\&"),
        ("MSH-3", "ADT1"),
        ("MSH-9.2", "A01"),
        ("OBX[3]-5", None),
        ("ZZZ-1", None),
    ],
)
def test_place_is_found_or_what_it_lacks(place: str, found: str | None) -> None:
    assert at(place) == found


@pytest.mark.parametrize(
    "text",
    ["", "PID-", "pid-3", "PID-0", "PID-3.0", "PID[0]-3", "PID-3.1.1.1", "PID-3\n", "x" * 99],
)
def test_place_that_is_none_says_how_one_looks(text: str) -> None:
    with pytest.raises(Invalid, match=r"e\.g\. PID-3\.4"):
        parse_place(text)


@pytest.mark.parametrize("text", ["PID", "PID-3", "OBX[2]-5(3).1.2", "ZP1-12.3"])
def test_place_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_place(text)) == text
