"""Places in a message: found where people expect them, and set without touching what is beside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.errors import Invalid
from chartgate.formats.hl7v2 import parse
from chartgate.formats.hl7v2_delimiters import Separators
from chartgate.formats.hl7v2_place import Place, find_place, parse_place, with_value

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


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        ("PID-3.4.1", "B", "PID|1||77^^^B&1.2&ISO^MR~88||Doe^Ann"),
        ("PID-7", "19800102", "PID|1||77^^^A&1.2&ISO^MR~88||Doe^Ann||19800102"),
        ("PID-5.2", "", "PID|1||77^^^A&1.2&ISO^MR~88||Doe^"),
        ("PID-9", "", "PID|1||77^^^A&1.2&ISO^MR~88||Doe^Ann"),
        ("PID-5", '""', 'PID|1||77^^^A&1.2&ISO^MR~88||""'),
        ("PID-5.1", "O|Neil\r", "PID|1||77^^^A&1.2&ISO^MR~88||O\\F\\Neil\\X0D\\^Ann"),
    ],
)
def test_value_is_set_and_all_else_stays(place: str, value: str, line: str) -> None:
    before = TEXT.encode()
    old = TEXT.splitlines()[1]
    assert with_value(before, parse_place(place), value) == TEXT.replace(old, line).encode()


@pytest.mark.parametrize("place", ["MSH-1", "MSH-2", "PID", "ZZZ-1", "OBX[3]-5"])
def test_place_that_cannot_be_set_is_refused(place: str) -> None:
    with pytest.raises(Invalid):
        with_value(TEXT.encode(), parse_place(place), "x")


def test_value_that_the_character_set_lacks_is_refused_without_showing_it() -> None:
    raw = (HEAD + "||||||8859/1\rPID|1\r").encode()
    assert b"M\xfcller" in with_value(raw, parse_place("PID-5"), "Müller")
    with pytest.raises(Invalid, match="does not have all that is to stand in PID-5") as caught:
        with_value(raw, parse_place("PID-5"), "日本")
    assert "日本" not in str(caught.value)


@given(
    value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1),
    field=st.integers(1, 12),
    component=st.integers(0, 4),
)
def test_whatever_is_set_is_read_back_and_changes_no_other_place(
    value: str, field: int, component: int
) -> None:
    place = Place(segment="PID", field=field, component=component)
    changed = with_value(TEXT.encode(), place, value)
    message = parse(changed)
    assert [s.name for s in message.segments()] == ["MSH", "PID", "OBX", "OBX"]
    if value != '""':
        assert message.value("PID", field, component or 1) == value
    for other in (3, 5, 7):
        if other != field:
            assert message.segments("PID")[0].raw(other) == parse(TEXT.encode()).segments("PID")[
                0
            ].raw(other)
