"""Shapes: what they keep of a field, and what they are called."""

import pytest

from chartgate.formats.hl7v2 import Separators
from chartgate.transform.hl7v2.drift_shapes import (
    format_of,
    is_within,
    length_class,
    lengths_of,
    parts_of,
    shape_of,
    table_of,
)

USUAL = table_of(Separators())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("19800102", "date8"),
        ("12345678", "digits"),
        ("198001021530", "datetime12"),
        ("19800102153000", "datetime14"),
        ("19800102153000+0100", "datetime with zone"),
        ("19800102153000.1234", "datetime with fraction"),
        ("7", "digits"),
        ("-7.25", "decimal"),
        ("555-0100", "digits with marks"),
        ('""', "null"),
        ("Straße", "text"),
        ("A1", "alphanumeric"),
        ("a&b", "subcomponents"),
    ],
)
def test_format_of_a_value(text: str, name: str) -> None:
    assert format_of(shape_of(text, USUAL), text) == name


def test_shape_keeps_a_byte_for_each_character_and_nothing_of_what_it_says() -> None:
    assert shape_of("Häußler^名前~2024", USUAL) == b"aaaaaaa^aa~0000"


def test_shape_has_the_usual_delimiters_whatever_the_sender_uses() -> None:
    table = table_of(Separators("#", "@", "*", "%", "!"))
    assert shape_of("PID#1@2*3!4^|", table) == b"aaa|0^0~0&0aa"


def test_parts_come_with_their_component_and_text_over_all_repetitions() -> None:
    text = "77^Doe~^Bo^^x"
    found = [(number, raw) for number, _, raw in parts_of(shape_of(text, USUAL), text)]
    assert found == [(1, "77"), (2, "Doe"), (2, "Bo"), (4, "x")]


def test_wider_formats_take_in_narrower_ones() -> None:
    assert is_within("date8", {"digits"})
    assert is_within("digits", {"decimal"})
    assert is_within("decimal", {"text", "alphanumeric"})
    assert not is_within("digits", {"date8"})
    assert not is_within("datetime14", {"date8"})


def test_lengths_are_told_in_powers_of_two() -> None:
    assert [length_class(n) for n in (1, 2, 3, 4, 7, 8)] == [1, 2, 2, 3, 3, 4]
    assert lengths_of(3, 4) == "4-15 characters"
    assert lengths_of(0, 0) == "none"
