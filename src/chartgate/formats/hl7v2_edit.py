"""An edited copy of a message: one value replaced, every other byte as it was sent.

It works on messages that cannot be read as well, so far as the place can be found for certain: a
wrong MSH-18, a faulty MSH-2, bytes that are of no character set.
"""

import re
from dataclasses import replace

from chartgate.errors import Invalid
from chartgate.formats.hl7v2 import MSH, Header, parse, read_header
from chartgate.formats.hl7v2_charsets import declared_codecs
from chartgate.formats.hl7v2_delimiters import (
    ABSENT,
    MalformedMessage,
    Separators,
    separators_of,
)
from chartgate.formats.hl7v2_place import Place
from chartgate.formats.hl7v2_write import Component, Field, Repetition, Unwritable, Writer

LINE = re.compile(rb"[^\r\n]+")
NAME = re.compile(rb"[A-Z][A-Z0-9]{2}")


def with_value(
    raw: bytes,
    place: Place,
    value: Field | Repetition | Component,
    *,
    charset_default: str = "",
) -> bytes:
    """`raw` with that value in that place, which is added where the segment ends before.

    PID-3 is the whole field, PID-3.4 a component of its first repetition. The value may be nested
    as its place is; None empties. Raises Invalid, Unwritable, MalformedMessage.
    """
    if not place.field:
        raise Invalid(f"{place} is a whole segment; name a field, e.g. {place}-3")
    if place.component and not place.repetition:
        place = replace(place, repetition=1)
    header = read_header(raw)
    if header is None:
        raise MalformedMessage("the header cannot be read", kind="header", position="MSH-1")
    if place.segment == MSH and place.field <= 2:
        return _with_delimiters(raw, header, place, value)
    if header.fault and place.segment != MSH:
        raise MalformedMessage(header.fault, kind="delimiters", position="MSH-2")
    start, end = _span(raw, header, place)
    before = _codec_read(raw, charset_default)
    codec = before or _codec_declared(header, charset_default)
    line = raw[start:end]
    written = _Line(line, header.separators, codec).replaced(place, value)
    found = raw[:start] + written + raw[end:]
    after = _codec_read(found, charset_default)
    if place.segment != MSH and before and not _reads_alike(found, before, after):
        raise Unwritable("with it the other bytes would be read in another way", str(place))
    return found


class _Line:
    """One segment as bytes, taken apart without losing any.

    In sets whose every byte below 0x80 is ASCII the bytes themselves are looked at, valid or not;
    others are decoded, and the result is compared with what was there.
    """

    def __init__(self, line: bytes, separators: Separators, codec: str) -> None:
        self._line = line
        self._marks = separators
        self._codec = codec
        self._bytewise = codec in ("ascii", "utf-8", "euc_kr") or codec.startswith(
            ("iso8859", "cp125")
        )

    def replaced(self, place: Place, value: Field | Repetition | Component) -> bytes:
        """The segment with the value in its place."""
        position = str(place)
        text = self._text(position)
        number = place.field - (place.segment == MSH)
        field, before, after = _cut(text, self._marks.field, number + 1)
        written, inner_before, inner_after = self._value(field, place, value, position)
        new = before + inner_before + self._shown(written) + inner_after + after
        return new.encode("latin-1" if self._bytewise else self._codec)

    def _text(self, position: str) -> str:
        escape = self._marks.escape.encode()
        if self._bytewise:
            if b"\x1b" in self._line or escape + b"M2" in self._line:
                raise Unwritable("the segment switches its character set", position)
            return self._line.decode("latin-1")
        try:
            text = self._line.decode(self._codec)
            kept = text.encode(self._codec) == self._line
        except UnicodeError:
            kept = False
        if not kept:
            raise Unwritable("the segment's other bytes could not be kept exactly", position)
        return text

    def _value(
        self, field: str, place: Place, value: Field | Repetition | Component, position: str
    ) -> tuple[str, str, str]:
        """What is written, and what stands before and after it in its field."""
        writer = Writer(self._marks, self._codec)
        if not place.repetition:
            return writer.field(value, position), "", ""
        text, before, after = self._cut(field, self._marks.repetition, place.repetition, position)
        if not place.component:
            return writer.repetition(value, position), before, after  # type: ignore[arg-type]
        text, more, rest = self._cut(text, self._marks.component, place.component, position)
        before, after = before + more, rest + after
        if not place.subcomponent:
            return writer.component(value, position), before, after  # type: ignore[arg-type]
        _, more, rest = self._cut(text, self._marks.subcomponent, place.subcomponent, position)
        return writer.atom(value, position), before + more, rest + after  # type: ignore[arg-type]

    def _cut(self, text: str, mark: str, number: int, position: str) -> tuple[str, str, str]:
        if mark == ABSENT and number > 1:
            raise Unwritable("the header defines no delimiter for its parts", position)
        return _cut(text, mark, number)

    def _shown(self, written: str) -> str:
        return written.encode(self._codec).decode("latin-1") if self._bytewise else written


def _cut(text: str, mark: str, number: int) -> tuple[str, str, str]:
    """Part `number` of `text`, and what stands before and after it; added where it ends before."""
    parts = text.split(mark)
    if number > len(parts):
        return "", text + mark * (number - len(parts)), ""
    before = mark.join(parts[: number - 1]) + (mark if number > 1 else "")
    after = (mark if number < len(parts) else "") + mark.join(parts[number:])
    return parts[number - 1], before, after


def _with_delimiters(
    raw: bytes, header: Header, place: Place, value: Field | Repetition | Component
) -> bytes:
    """Another MSH-2, where that which was sent is none."""
    if place.field == 1 or not header.fault:
        raise Unwritable("other delimiters would change what the message says", "MSH-2")
    if not isinstance(value, str) or separators_of(header.separators.field, value) is None:
        raise Unwritable("it wants two to five different delimiters, e.g. ^~\\&", "MSH-2")
    start = raw.index(b"MSH") + 4
    end = start + len(header.field(2))
    return raw[:start] + value.encode("ascii") + raw[end:]


def _span(raw: bytes, header: Header, place: Place) -> tuple[int, int]:
    """Where the segment stands, without the line end after it."""
    mark = header.separators.field.encode()
    spans: list[list[int]] = []
    names: list[str] = []
    for line in LINE.finditer(raw, raw.index(b"MSH")):
        start, end = line.span()
        name = NAME.match(raw, start)
        if name and raw[start + 3 : min(start + 4, end)] in (b"", mark):
            names.append(name[0].decode())
            spans.append([start, end])
        elif names[-1:] != [MSH]:  # text that spilled over; of a header only its line is read
            spans[-1][1] = end
    places = [span for name, span in zip(names, spans, strict=True) if name == place.segment]
    if place.occurrence > len(places):
        raise Invalid(f"the message has no {place.segment}[{place.occurrence}]")
    start, end = places[place.occurrence - 1]
    return start, end


def _reads_alike(raw: bytes, before: str, after: str) -> bool:
    """Whether it makes no difference to the bytes which of two codecs reads them."""
    try:
        return before == after or raw.decode(before) == raw.decode(after)
    except (UnicodeDecodeError, LookupError):
        return False


def _codec_read(raw: bytes, charset_default: str) -> str:
    """The codec that reads the message; "" if none does."""
    try:
        return parse(raw, charset_default=charset_default).charset
    except MalformedMessage:
        return ""


def _codec_declared(header: Header, charset_default: str) -> str:
    try:
        repetition = header.separators.repetition
        return declared_codecs(header.field(18), charset_default, repetition)[0]
    except MalformedMessage:
        return "ascii"
