"""The writer: no value becomes a delimiter, a segment or another character."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.formats.hl7v2 import MalformedMessage, Message, Segment, Separators, parse
from chartgate.formats.hl7v2_charsets import CHARSETS, encode_text
from chartgate.formats.hl7v2_delimiters import ABSENT
from chartgate.formats.hl7v2_escape import unescape
from chartgate.formats.hl7v2_write import NULL_VALUE, SegmentSpec, Unwritable, write_message

MARKS = "!#$%&*+,.:;<=>?@[\\]^_`{|}~"  # not those that stand in names of character sets
TEXTS = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("|^~\\&#\r\n\x0b\x1c\x1b\x00\x0e\"'MSHFEX.C2842"),
    ),
    max_size=12,
)
HEAD = SegmentSpec("MSH", [None, None, "A", "B", "C", "D", "20240101", None,
                           (("ADT", "A01", "ADT_A01"),), "7", "P", "2.5"])  # fmt: skip


def deep(values: st.SearchStrategy[Any], levels: int = 3) -> st.SearchStrategy[Any]:
    if levels == 0:
        return values
    return st.lists(deep(values, levels - 1), min_size=1, max_size=3).map(tuple)


def separators() -> st.SearchStrategy[Separators]:
    chosen = st.permutations(MARKS).map(lambda marks: Separators(*marks[:6]))
    return st.one_of(st.just(Separators()), chosen)


def bare(value: Any) -> Any:
    """Without empty ends, and without tuples around one thing."""
    if not isinstance(value, tuple):
        return value or None
    parts = [bare(part) for part in value]
    while parts and parts[-1] is None:
        parts.pop()
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else tuple(parts)


def read_field(segment: Segment, message: Message, number: int) -> Any:
    """What stands in a field, by splitting at the delimiters alone."""
    marks = message.separators

    def parts(text: str, delimiters: list[str]) -> Any:
        if not delimiters:
            if text == '""':
                return NULL_VALUE
            return unescape(text, marks, charset=message.charset)
        return tuple(parts(part, delimiters[1:]) for part in text.split(delimiters[0]))

    levels = [marks.repetition, marks.component, marks.subcomponent]
    return bare(parts(segment.raw(number), levels))


ATOMS = st.one_of(st.none(), st.just(NULL_VALUE), st.just('""'), TEXTS)
FIELDS = st.lists(st.one_of(ATOMS, deep(ATOMS)), max_size=4)


def check(fields: list[list[Any]], marks: Separators, charset: str) -> None:
    specs = [HEAD, *(SegmentSpec("ZZZ", found) for found in fields)]
    message = parse(write_message(specs, separators=marks, charset=charset))
    segments = message.segments()
    assert [s.name for s in segments] == ["MSH"] + ["ZZZ"] * len(fields)
    assert message.charset_flag == ""
    assert message.header.raw(18) == charset
    for segment, found in zip(segments[1:], fields, strict=True):
        read = [read_field(segment, message, n + 1) for n in range(len(found))]
        assert read == [bare(value) for value in found]
        assert not any(segment.raw(n) for n in range(len(found) + 1, len(segment.fields)))


@given(st.lists(FIELDS, max_size=3), separators())
def test_values_of_any_depth_and_text_are_read_back(
    fields: list[list[Any]], marks: Separators
) -> None:
    check(fields, marks, "UNICODE UTF-8")


@pytest.mark.parametrize("charset", sorted({name: c for c, name in CHARSETS.items()}.values()))
@given(text=TEXTS)
def test_text_is_read_back_in_every_character_set_or_refused(charset: str, text: str) -> None:
    """What a set has is written and read back; a refusal says that it has not."""
    refusal = ""
    try:
        check([[text, "end"]], Separators(), charset)
    except Unwritable as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith("ZZZ-1: the character set")
        assert encode_text(text, CHARSETS[charset]) is None


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("8859/1", "MÃ¼ller"),
        ("8859/1", "\x85 \x80"),
        ("8859/5", "аЏ"),
        ("8859/15", "\x93 €"),
        ("GB 18030-2000", "中文中文".encode().decode("gb18030")),
        ("8859/1", "É»"),
    ],
)
def test_text_that_looks_like_another_set_is_still_read_back(charset: str, text: str) -> None:
    check([[text, "Zoe"], [f"~{text}^"]], Separators(), charset)


def test_written_bytes_are_plain_hl7() -> None:
    specs = [
        HEAD,
        SegmentSpec("PID", ["1", None, (("1001", None, None, ("NORTH", "1.2", "ISO"), "MR"), "9"),
                            None, (("O|Brien", "Zoë"),), NULL_VALUE, '""', None, (None,)]),
    ]  # fmt: skip
    assert write_message(specs).decode() == (
        "MSH|^~\\&|A|B|C|D|20240101||ADT^A01^ADT_A01|7|P|2.5||||||UNICODE UTF-8\r"
        'PID|1||1001^^^NORTH&1.2&ISO^MR~9||O\\F\\Brien^Zoë|""|\\X22\\"\r'
    )


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("a|b", "no escape"),
        ('""', "no escape"),
        ("a\rb", "no escape"),
        ((("a", ("b", "c")),), "no delimiter"),
    ],
)
def test_value_when_the_header_has_no_escape_is_refused(value: Any, sentence: str) -> None:
    marks = Separators("|", "^", "~", ABSENT, ABSENT)
    with pytest.raises(Unwritable, match=f"ZZZ-1: .*{sentence}"):
        write_message([HEAD, SegmentSpec("ZZZ", [value])], separators=marks)
    check([["plain", (("a", "b"), "c")]], marks, "")


@pytest.mark.parametrize(
    "specs",
    [
        [],
        [SegmentSpec("PID", ["1"])],
        [HEAD, HEAD],
        [HEAD, SegmentSpec("P|D", ["1"])],
        [HEAD, SegmentSpec("pid", ["1"])],
        [HEAD, SegmentSpec("ZZZ\r", ["1"])],
        [HEAD, SegmentSpec("ZZZ", [((("a", ("b",)),),)])],  # type: ignore[list-item]
        [SegmentSpec("MSH", ["#"])],
        [SegmentSpec("MSH", [None, "^~"])],
        [SegmentSpec("MSH", [None] * 17 + ["8859/1"])],
    ],
)
def test_segments_that_make_no_message_are_refused(specs: list[SegmentSpec]) -> None:
    with pytest.raises(Unwritable):
        write_message(specs)


def test_delimiters_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(Unwritable, match="told apart"):
        write_message([HEAD], separators=Separators("|", "|"))
    with pytest.raises(Unwritable, match="holds a delimiter"):
        write_message([HEAD], separators=Separators("|", "/"), charset="8859/1")
    with pytest.raises(MalformedMessage, match="not known"):
        write_message([HEAD], charset="Klingon")


def test_letters_and_digits_are_never_escaped() -> None:
    text = string.ascii_letters + string.digits
    assert text.encode() in write_message([HEAD, SegmentSpec("ZZZ", [text])])
