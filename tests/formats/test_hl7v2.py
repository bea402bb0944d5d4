"""The codec: what is read, what is refused, and the laws of escapes and round trips."""

import json
import string
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import hl7
import hl7kit
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.formats.hl7v2 import (
    NULL,
    MalformedMessage,
    Message,
    Separators,
    escape,
    parse,
    read_header,
    separators_of,
    unescape,
    write_segment,
)
from chartgate.formats.hl7v2_batch import split_messages
from chartgate.formats.mllp import Deframer, frame
from chartgate.testing.messages import adt, header, message, patient

CORPUS = Path(__file__).parents[3] / "shared" / "corpora" / "hl7v2"
needs_corpus = pytest.mark.skipif(
    not CORPUS.exists(), reason="the corpora are not beside this checkout"
)
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


def test_segments_know_their_position_in_the_message() -> None:
    read = parse(message(header(), "OBR|1", "OBX|1", "more of it", "OBR|2"))
    assert [(s.name, s.position) for s in read.segments()] == [
        ("MSH", 1), ("OBR", 2), ("OBX", 3), ("OBR", 4),
    ]  # fmt: skip
    assert [s.position for s in read.segments("OBR")] == [2, 4]
    assert read.header.position == 1


@pytest.mark.parametrize("version", ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6",
                                     "2.7", "2.7.1", "2.8", "2.8.2", "2.9"])  # fmt: skip
def test_every_version_is_read(version: str) -> None:
    marks = "^~\\&#" if version >= "2.7" else "^~\\&"
    raw = f"MSH|{marks}|A|B|C|D|20240101||ADT^A01|7|P|{version}\rZPI|a\\F\\b^c&d~e\r".encode()
    read = parse(raw)
    assert read.value("MSH", 12) == version
    assert (read.value("ZPI", 1), read.value("ZPI", 1, 2, 2)) == ("a|b", "d")


# Poison: nothing but MalformedMessage comes out, and nothing takes longer than its size explains.


def touched(read: Message) -> int:
    """Every value of a message."""
    count = 0
    for segment in read.segments():
        for field in range(len(segment.fields) + 1):
            for repetition in segment.repetitions(field):
                count += repetition.value(2, 2) is None
            segment.value(field)
    return count


NOISE = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [b"\\", b"|", b"^", b"~", b"&", b"\r", b"\n", b"\x0b", b"\x1c", b"\x1b$B", b"\x1b(B",
             b"MSH", b"MSH|^~\\&|", b"PID", b"\\X", b"0D", b"\\C2D41\\", b"\\M2442\\", b"\\C2842\\",
             b"\\.sp9\\", b"\x00", b"\xc3\xa4", b"\xe4", b"\xff", b'""', b"8859/1", b"ISO IR87",
             b"UNICODE UTF-8", b" "]
        ),
        max_size=60,
    ).map(b"".join),
)  # fmt: skip


@given(NOISE, NOISE, st.sampled_from(["", "8859/1", "ISO IR87", "UTF-8", "GB 18030-2000", "~"]))
def test_poison_is_read_or_refused_and_nothing_else(head: bytes, body: bytes, charset: str) -> None:
    contents = [
        head + body,
        b"MSH|" + head + b"\r" + body,
        b"MSH|^~\\&|" + head + b"\rPID|" + body,
        header(charset=charset).encode() + b"\rPID|" + body,
    ]
    for raw in contents:
        try:
            read = parse(raw)
        except MalformedMessage:
            continue
        assert read.raw == raw
        touched(read)
        read.glimpse("PID")


@pytest.mark.parametrize("cut", range(len(adt()) + 1))
def test_message_when_cut_anywhere_is_read_or_refused(cut: int) -> None:
    raw = adt()[:cut]
    whole = parse(adt())
    try:
        read = parse(raw)
    except MalformedMessage:
        assert cut < len(b"MSH|^~\\&|") + 1
        return
    found = [segment.line for segment in read.segments()]
    complete = [segment.line for segment in whole.segments()][: len(found) - 1]
    assert found[:-1] == complete or len(found[-1]) < 3 or "\n" in found[-1]


@pytest.mark.parametrize("between", ["\n", "\r\n", "\x0b", "\x1c\r", "\x1c\r\x0b", "\r\n\r\n"])
def test_second_message_behind_the_first_is_refused(between: str) -> None:
    with pytest.raises(MalformedMessage, match="second header") as refused:
        parse((header() + "\nPID|1" + between + header(control_id="2") + "\n").encode())
    assert refused.value.kind == "structure"


@pytest.mark.parametrize(
    ("line", "count"),
    [
        (b"OBX|1|TX|N||text\r", 100_000),
        (b"spilled over\r", 200_000),
        (b"x\n", 2_000_000),
        (b"\r\n", 2_000_000),
        (b"PID\r", 300_000),
        (b"\\", 2_000_000),
        (b"\\F", 2_000_000),
        (b"&^~", 1_000_000),
        (b"\\X41\\", 300_000),
    ],
)
def test_many_small_things_take_time_in_proportion(line: bytes, count: int) -> None:
    """Ten times as many take far less than a hundred times as long."""

    def seconds(times: int) -> float:
        raw = header().encode() + b"\rNTE|1||" + line * times
        best = 9.9
        for _ in range(5):  # the machine may be busy with something else during some of them
            started = time.process_time()
            read = parse(raw)
            last = read.segments()[-1]
            last.value(3)
            last.value(3, 2, 2)
            best = min(best, time.process_time() - started)
        return best

    assert seconds(count) < 40 * max(seconds(count // 10), 0.002)


def test_field_of_sixteen_mebibytes_is_read() -> None:
    size = 16 * 1024 * 1024
    read = parse(header().encode() + b"\rOBX|1|ED|||" + b"x" * size + b"|F\r")
    found = read.segment("OBX")
    assert found is not None
    assert (len(found.raw(5)), found.value(6)) == (size, "F")
    assert len(found.value(5) or "") == size


@pytest.mark.parametrize("length", [0, 1, 6, 100_000])
def test_second_header_field_of_any_length_is_refused_and_not_kept(length: int) -> None:
    with pytest.raises(MalformedMessage) as refused:
        parse(b"MSH|" + b"^" * length + b"|A\r")
    assert refused.value.position == "MSH-2"


# Oracles: two other parsers, on made-up messages and on public ones.


@lru_cache(maxsize=1)
def corpus() -> tuple[bytes, ...]:
    """Public messages that can be read, each of them once."""

    def found() -> Iterator[bytes]:
        for path in sorted(CORPUS.rglob("*.hl7")):
            with suppress(MalformedMessage):  # some are broken on purpose
                yield from split_messages(path.read_bytes())
        for line in (CORPUS / "linuxforhealth" / "messages.jsonl").read_text().splitlines():
            yield json.loads(line)["message"].encode()

    return tuple(dict.fromkeys(raw for raw in found() if readable(raw)))


def readable(raw: bytes) -> bool:
    try:
        parse(raw)
    except MalformedMessage:
        return False
    return True


def agrees_with_hl7kit(raw: bytes) -> int:
    """Names of segments, and each value of each component. Returns how many were compared."""
    ours, theirs = parse(raw), hl7kit.parse(raw.removeprefix(b"\xef\xbb\xbf"))
    assert [s.name for s in ours.segments()] == theirs.segments()
    compared = 0
    for name in dict.fromkeys(theirs.segments()):
        for occurrence, segment in enumerate(ours.segments(name), start=1):
            for field in range(1 if name != "MSH" else 3, len(segment.fields)):
                for number, text in enumerate(segment.raw(field).split("~"), start=1):
                    for component, part in enumerate(text.split("^"), start=1):
                        for subcomponent, value in enumerate(part.split("&"), start=1):
                            place = f"{name}[{occurrence}]-{field}[{number}].{component}"
                            theirs_value = theirs.get(f"{place}.{subcomponent}") or ""
                            if "\\." not in value and "\\H" not in value:  # it leaves these
                                text_read = unescape(value, ours.separators).rstrip()
                                assert text_read == theirs_value.rstrip(), place
                                compared += 1
    return compared


@given(
    st.lists(
        st.lists(st.lists(PLAIN, min_size=1, max_size=3), min_size=1, max_size=3),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["\r", "\n", "\r\n"]),
)
def test_values_agree_with_a_second_parser(fields: list[list[list[str]]], end: str) -> None:
    line = "ZAB|" + "|".join("~".join("^".join(parts) for parts in field) for field in fields)
    assert agrees_with_hl7kit(message(header(), line, line).replace(b"\r", end.encode()))


@needs_corpus
def test_public_messages_agree_with_hl7kit() -> None:
    """Where text spills over its line the oracle sees other segments, so those are left out."""
    plain = [raw for raw in corpus() if spills_nowhere(raw)]
    assert len(plain) > 200
    assert sum(agrees_with_hl7kit(raw) for raw in plain) > 20_000


@needs_corpus
def test_public_messages_agree_with_python_hl7() -> None:
    compared = 0
    for raw in filter(spills_nowhere, corpus()):
        ours = parse(raw)
        theirs = hl7.parse("\r".join(s.line for s in ours.segments()))
        assert [s.name for s in ours.segments()] == [str(s[0]) for s in theirs]
        for segment, other in zip(ours.segments(), theirs, strict=True):
            for field in range(1, len(segment.fields)):
                assert segment.raw(field).rstrip() == str(other[field]).rstrip()
                compared += 1
    assert compared > 10_000


def spills_nowhere(raw: bytes) -> bool:
    lines = raw.replace(b"\n", b"\r").split(b"\r")
    return len([line for line in lines if line]) == len(parse(raw).segments())


@needs_corpus
def test_public_messages_when_split_at_any_byte_are_whole_again() -> None:
    for raw in corpus():
        framed = frame(raw)
        for cut in range(0, len(framed), max(1, len(framed) // 50)):
            frames = Deframer(size_bytes_max=1 << 24)
            parts = [*frames.feed(framed[:cut]), *frames.feed(framed[cut:])]
            assert [part.content for part in parts] == [raw]
            assert parse(parts[0].content).raw == raw
            if cut and readable(framed[1:cut]):
                assert parse(framed[1:cut]).raw == framed[1:cut]
