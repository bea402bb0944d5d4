"""The codec: what is read, what is refused, and the laws of escapes and round trips."""

import string

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.formats.hl7v2 import (
    CHARSETS,
    NULL,
    MalformedMessage,
    Separators,
    escape,
    parse,
    read_header,
    separators_of,
    unescape,
    write_segment,
)
from chartgate.testing.messages import adt, header, message, patient

MARKS = "!#$%&*+,-./:;<=>?@[\\]^_`{|}~"
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=60)
PLAIN = st.text(string.ascii_letters + string.digits + ".-", min_size=1, max_size=12)


def separators() -> st.SearchStrategy[Separators]:
    chosen = st.permutations(MARKS).map(lambda marks: Separators(*marks[:6]))
    return st.one_of(st.just(Separators()), chosen)


@given(TEXTS, separators())
def test_escape_when_undone_gives_the_text_back(text: str, marks: Separators) -> None:
    assert unescape(escape(text, marks), marks) == text


@given(TEXTS, separators())
def test_escaped_text_never_holds_a_delimiter_or_a_line_end(text: str, marks: Separators) -> None:
    written = escape(text, marks)
    delimiters = {marks.field, marks.component, marks.repetition, marks.subcomponent}
    assert not set(written) & (delimiters | set("\r\n\x0b\x1c\x00"))


@given(st.lists(TEXTS, min_size=1, max_size=8), separators())
def test_written_segment_is_read_back_value_by_value(values: list[str], marks: Separators) -> None:
    head = f"MSH{marks.field}{marks.encoding}" + marks.field * 16 + "UTF8\r"
    raw = (head + write_segment("ZZZ", values, marks)).encode()
    read = parse(raw)
    assert read.raw == raw
    segment = read.segment("ZZZ")
    assert segment is not None
    assert [segment.value(n) or "" for n in range(1, len(values) + 1)] == values


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_nothing_else(raw: bytes) -> None:
    for content in (raw, b"MSH|^~\\&|" + raw, b"MSH" + raw):
        try:
            read = parse(content)
        except MalformedMessage:
            continue
        assert read.raw == content
        for segment in read.segments():
            for field in range(len(segment.fields) + 1):
                segment.value(field, 2, 2)


@given(
    st.lists(
        st.lists(st.lists(PLAIN, min_size=1, max_size=3), min_size=1, max_size=3),
        min_size=1,
        max_size=6,
    )
)
def test_values_agree_with_another_parser(fields: list[list[list[str]]]) -> None:
    """python-hl7 is the oracle: fields of repetitions of components."""
    line = "ZAB|" + "|".join("~".join("^".join(parts) for parts in field) for field in fields)
    raw = message(header(), line)
    theirs = hl7.parse(raw.decode()).segment("ZAB")
    ours = parse(raw).segment("ZAB")
    assert ours is not None
    for number, field in enumerate(fields, start=1):
        assert str(theirs[number]) == ours.raw(number)
        for repetition, parts in zip(ours.repetitions(number), field, strict=True):
            assert [repetition.value(n + 1) for n in range(len(parts))] == parts


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r\n", "\n\n"])
@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b"\r\n"])
def test_line_ends_blank_lines_and_mark_when_mixed_are_read(end: str, prefix: bytes) -> None:
    raw = prefix + adt().replace(b"\r", end.encode())
    read = parse(raw)
    assert read.raw == raw
    assert [s.name for s in read.segments()] == ["MSH", "EVN", "PID", "PV1"]
    assert read.value("PID", 5) == "Example"


def test_text_that_spills_over_a_line_belongs_to_the_field_before() -> None:
    read = parse(message(header(), "OBX|1|TX|N||first", "second line|of it", patient()))
    assert read.value("OBX", 5) == "first\nsecond line"
    assert read.value("PID", 3) == "1001"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (r"ZZZ|a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f"),
        (r"ZZZ|\X0D0A\x", "\r\nx"),
        (r"ZZZ|\XC3A4\\.br\x", "ä\nx"),
        (r"ZZZ|\Zlocal\ \X0G\ C:\temp", r"\Zlocal\ \X0G\ C:\temp"),
        (r"ZZZ|\H\loud\N\ unterminated \F", r"loud unterminated \F"),
    ],
)
def test_escapes_when_known_are_undone_and_kept_otherwise(line: str, value: str) -> None:
    assert parse(message(header(charset="UNICODE UTF-8"), line)).value("ZZZ", 1) == value


def test_components_and_nulls_are_told_from_what_is_not_there() -> None:
    read = parse(message(header(), f"ZZZ|a^b&c^|{NULL}||x~y"))
    assert (read.value("ZZZ", 1, 2, 2), read.value("ZZZ", 1, 2)) == ("c", "b")
    assert (read.value("ZZZ", 1, 3), read.value("ZZZ", 1, 4), read.value("ZZZ", 9)) == (None,) * 3
    assert (read.value("ZZZ", 2), read.value("ZZZ", 3)) == (NULL, None)
    assert (read.value("MSH", 1), read.value("MSH", 2)) == ("|", "^~\\&")
    assert read.message_type == "ADT^A01"


@pytest.mark.parametrize("encoding", ["", "^", "ABCD", "^~\\^", "^~ &", "^~\\&#!", "^~\\1"])
def test_encoding_characters_when_ambiguous_are_refused(encoding: str) -> None:
    with pytest.raises(MalformedMessage) as refused:
        parse(f"MSH|{encoding}|A|B|C|D|20240101||ADT^A01|7|P|2.5\r".encode())
    assert (refused.value.kind, refused.value.position) == ("delimiters", "MSH-2")


@pytest.mark.parametrize("raw", [b"", b"MSH", b"MSHA^~\\&A", b"PID|1", b"\x00\x01", b"MSH|"])
def test_header_when_it_cannot_be_told_apart_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse(raw)


def test_unusual_delimiters_are_taken_from_the_header() -> None:
    read = parse(b"MSH#*+/%#A#B#C#D#20240101##ADT*A01#7#P#2.5\rPID#1##9*x%y*z+8\r")
    assert (read.value("PID", 3), read.value("PID", 3, 2, 2)) == ("9", "y")
    assert separators_of("#", "*+/%") == read.separators


@pytest.mark.parametrize("mark", ["\r", "\x0b"])
def test_second_header_when_it_is_smuggled_in_is_refused(mark: str) -> None:
    with pytest.raises(MalformedMessage, match="second header"):
        parse((header() + "\rNTE|1||x" + mark + header(control_id="2") + "\r").encode())


def test_header_text_inside_a_field_is_no_second_header() -> None:
    assert parse(message(header(), "NTE|1||see MSH|now")).value("NTE", 3) == "see MSH"


def test_nul_when_it_stands_in_a_message_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="NUL"):
        parse(message(header(), "NTE|1||\x00"))


@pytest.mark.parametrize(
    ("declared", "codec", "text"),
    [
        ("UNICODE UTF-8", "utf-8", "Zoë Müller 山田"),
        ("8859/1", "latin-1", "Zoë Müller"),
        ("8859/2", "iso8859-2", "Łódź"),
        ("8859/15", "iso8859-15", "Zoë €"),
        ("~ISO IR87", "iso2022_jp", "山田太郎"),
        ("GB 18030-2000", "gb18030", "王小明"),
        ("BIG-5", "big5", "許功蓋"),
        ("KS X 1001", "euc_kr", "김철수"),
    ],
)
def test_names_are_read_in_the_character_set_that_is_declared(
    declared: str, codec: str, text: str
) -> None:
    """Decoded before it is split: a second byte may look like a delimiter."""
    raw = (header(charset=declared) + "\rZZZ|1|").encode() + text.encode(codec) + b"|end\r"
    read = parse(raw)
    assert (read.value("ZZZ", 2), read.value("ZZZ", 3)) == (text, "end")


@pytest.mark.parametrize(
    ("declared", "content"),
    [("UNICODE UTF-8", b"\xff\xfe"), ("", b"M\xfcller"), ("UNICODE UTF-16", b"x"), ("?", b"x")],
)
def test_character_set_when_wrong_or_unknown_is_refused(declared: str, content: bytes) -> None:
    with pytest.raises(MalformedMessage) as refused:
        parse((header(charset=declared) + "\rZZZ|").encode() + content)
    assert (refused.value.kind, refused.value.position) == ("charset", "MSH-18")


def test_undeclared_characters_are_utf8_or_what_the_feed_says() -> None:
    raw = header().encode() + b"\rZZZ|" + "Müller".encode("latin-1")
    assert parse(raw, charset_default="8859/1").value("ZZZ", 1) == "Müller"
    assert parse(header().encode() + "\rZZZ|Müller".encode()).value("ZZZ", 1) == "Müller"


def test_every_known_character_set_has_a_codec() -> None:
    for codec in CHARSETS.values():
        assert "A|^~\\&".encode(codec)


def test_glimpse_sees_the_same_segment() -> None:
    read = parse(adt())
    found = read.glimpse("PID")
    assert found is not None
    assert found.raw(3) == read.segments("PID")[0].raw(3)
    assert read.glimpse("MRG") is None


def test_header_of_a_broken_message_can_still_be_told() -> None:
    found = read_header(b"MSH|ABCD|A|B|C|D|20240101||ADT^A01|a\\F\\b|P|2.5\r")
    assert found is not None
    assert found.fault
    assert found.field(10) == b"a\\F\\b"
