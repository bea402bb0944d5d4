"""Writing HL7 v2: a value stays a value, whatever characters it holds.

A field is a nesting of tuples, repetitions of components of subcomponents; text in the place of a
tuple is the one thing in it. None and "" are empty. NULL_VALUE is HL7's `""`, which removes; a
text that happens to be `""` is written with an escape, so that on the wire the two differ (once
unescaped they do not: compare `Segment.raw`). What the character set does not have is refused:
HL7 gives `\\X..\\` no character set but the message's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from chartgate.errors import Invalid
from chartgate.formats.hl7v2 import MSH, NULL, SEGMENT_NAME
from chartgate.formats.hl7v2_charsets import declared_codecs, encode_text, read_text
from chartgate.formats.hl7v2_delimiters import (
    ABSENT,
    MalformedMessage,
    Separators,
    separators_of,
)
from chartgate.formats.hl7v2_escape import FORBIDDEN, escape

CHARSET_FIELD = 18
DEFAULT_SEPARATORS = Separators()


class Null(Enum):
    """The type of NULL_VALUE."""

    VALUE = NULL


NULL_VALUE = Null.VALUE
Atom = str | Null | None
Component = Atom | tuple[Atom, ...]
Repetition = Atom | tuple[Component, ...]
Field = Atom | tuple[Repetition, ...]
T = TypeVar("T")


class Unwritable(Invalid):
    """A value that cannot be said in this message. `position` is where, e.g. "PID-5"."""

    def __init__(self, sentence: str, position: str) -> None:
        super().__init__(f"{position}: {sentence}")
        self.position = position


@dataclass(frozen=True)
class SegmentSpec:
    """A segment to write: `fields[0]` is field 1. Of MSH, fields 1, 2 and 18 may be None: they
    are what the writer is told."""

    name: str
    fields: Sequence[Field] = ()


def write_message(
    segments: Sequence[SegmentSpec],
    *,
    separators: Separators = DEFAULT_SEPARATORS,
    charset: str = "UNICODE UTF-8",
) -> bytes:
    """The message; `charset` is a name of HL7 table 0211, "" for undeclared ASCII.

    Raises Unwritable; MalformedMessage for a character set that is not known. Reading gives each
    value back; empty ends of segments, fields and components are left out.
    """
    codec = declared_codecs(charset.encode(), "", ABSENT)[0]
    if separators_of(separators.field, separators.encoding) != separators:
        raise Unwritable("these delimiters cannot be told apart", "MSH-2")
    if [s.name for s in segments if s.name == MSH] != [MSH] or segments[0].name != MSH:
        raise Unwritable("a message begins with MSH, and has no other", MSH)
    content = _written(segments, Writer(separators, codec), charset)
    if content.isascii():
        return content
    if _is_read_as(content, codec, charset, separators):
        return content
    # The bytes would look like those of another set, so they are not shown.
    return _written(segments, Writer(separators, codec, in_hexadecimal=True), charset)


def _written(segments: Sequence[SegmentSpec], writer: "Writer", charset: str) -> bytes:
    written = [writer.header(segments[0], charset), *(writer.segment(s) for s in segments[1:])]
    return "".join(written).encode(writer.codec)


def _is_read_as(content: bytes, codec: str, charset: str, separators: Separators) -> bool:
    try:
        found = read_text(
            content, charset.encode(), default="", marked=False, separators=separators
        )
    except MalformedMessage:
        return False
    return (found.charset, found.flag) == (codec, "") and found.text.encode(codec) == content


class Writer:
    """Writes the parts of one message, in its delimiters and character set."""

    def __init__(self, separators: Separators, codec: str, *, in_hexadecimal: bool = False) -> None:
        self._separators = separators
        self.codec = codec
        self._in_hexadecimal = in_hexadecimal

    def header(self, spec: SegmentSpec, charset: str) -> str:
        """MSH, of which fields 1 and 2 are the delimiters and 18 the character set."""
        marks = self._separators
        fields = [*spec.fields, *[None] * (CHARSET_FIELD - len(spec.fields))]
        told = {1: marks.field, 2: marks.encoding, CHARSET_FIELD: charset}
        for number, value in told.items():
            if fields[number - 1] not in (None, "", value):
                raise Unwritable("it differs from what the writer is told", f"{MSH}-{number}")
        if self._delimits(charset):
            raise Unwritable("the character set's name holds a delimiter", "MSH-18")
        fields[CHARSET_FIELD - 1] = charset
        rest = [self.field(v, f"{MSH}-{n}") for n, v in enumerate(fields[2:], start=3)]
        return _trimmed([MSH, marks.encoding, *rest], marks.field) + "\r"

    def segment(self, spec: SegmentSpec) -> str:
        """With its CR."""
        if not SEGMENT_NAME.fullmatch(spec.name):
            raise Unwritable("a segment's name is three capitals or digits", spec.name[:3])
        fields = [
            self.field(value, f"{spec.name}-{number}")
            for number, value in enumerate(spec.fields, start=1)
        ]
        return _trimmed([spec.name, *fields], self._separators.field) + "\r"

    def field(self, value: Field, position: str) -> str:
        """All repetitions."""
        return self._parts(value, self._separators.repetition, self.repetition, position)

    def repetition(self, value: Repetition, position: str) -> str:
        """All components."""
        return self._parts(value, self._separators.component, self.component, position)

    def component(self, value: Component, position: str) -> str:
        """All subcomponents."""
        return self._parts(value, self._separators.subcomponent, self.atom, position)

    def atom(self, value: Atom, position: str) -> str:
        """One value, escaped."""
        if value is None or value == "":
            return ""
        if isinstance(value, Null):
            return NULL
        if not isinstance(value, str):
            raise Unwritable("its values are nested too deep", position)
        marks = self._separators
        if marks.escape == ABSENT and (value == NULL or self._delimits(value)):
            raise Unwritable("the header defines no escape character for this value", position)
        text = f'{marks.escape}X22{marks.escape}"' if value == NULL else escape(value, marks)
        if value.isascii():
            return text
        if encode_text(value, self.codec) is None:
            sentence = f"the character set {self.codec} has not all of it; set MSH-18 first"
            raise Unwritable(sentence, position)
        if self._in_hexadecimal or self._has_controls(value):
            return "".join(self._in_bytes(char, position) for char in text)
        return text

    def _parts(
        self, value: Atom | tuple[T, ...], mark: str, write: Callable[[T, str], str], position: str
    ) -> str:
        if not isinstance(value, tuple):
            return self.atom(value, position)
        written = [write(part, position) for part in value]
        if mark == ABSENT and len(written) > 1:
            raise Unwritable("the header defines no delimiter for its parts", position)
        return _trimmed(written, mark)

    def _delimits(self, value: str) -> bool:
        marks = self._separators
        delimiters = {marks.field, marks.component, marks.repetition, marks.subcomponent,
                      marks.escape, marks.truncation}  # fmt: skip
        return bool(set(value) & (delimiters | {chr(code) for code in FORBIDDEN}))

    def _has_controls(self, value: str) -> bool:
        """Whether it holds what a reader of ISO 8859 would take for letters of Windows."""
        return self.codec.startswith("iso8859") and any("\x80" <= c <= "\x9f" for c in value)

    def _in_bytes(self, char: str, position: str) -> str:
        """One character as `\\X..\\`, if it is not of ASCII."""
        if char.isascii():
            return char
        if self._separators.escape == ABSENT:
            raise Unwritable("the header defines no escape character for this value", position)
        mark = self._separators.escape
        return f"{mark}X{char.encode(self.codec).hex().upper()}{mark}"


def _trimmed(parts: list[str], mark: str) -> str:
    """Joined, without the empty ones at the end."""
    while parts and not parts[-1]:
        parts.pop()
    return mark.join(parts)
