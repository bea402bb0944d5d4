"""HL7 v2 messages: bytes in, values out, taken apart only as far as somebody asks.

Reading is tolerant where senders differ (line ends, blank lines, a byte order mark, short
encoding characters, text that spills over a line) and strict where a guess could change what a
message says (delimiters, character sets, a second header). `raw` is always the exact bytes.
Source: HL7 v2.9 chapter 2, control.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chartgate.formats.hl7v2_charsets import CHARSETS, read_text, refuse_wide
from chartgate.formats.hl7v2_delimiters import (
    ABSENT,
    ENCODING_DEFAULT,
    NOTHING_DELIMITS,
    MalformedMessage,
    Separators,
    is_delimiter,
    separators_of,
)
from chartgate.formats.hl7v2_escape import escape, unescape

__all__ = [
    "ABSENT",
    "CHARSETS",
    "NULL",
    "Composite",
    "Header",
    "MalformedMessage",
    "Message",
    "Segment",
    "Separators",
    "escape",
    "parse",
    "read_header",
    "separators_of",
    "unescape",
    "write_segment",
]

NULL = '""'  # a value that the sender wants removed; an empty one says nothing
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SEGMENT_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")
MSH = "MSH"


class Composite:
    """One repetition of one field."""

    __slots__ = ("charset", "parts", "separators", "text")

    def __init__(self, text: str, separators: Separators, charset: str) -> None:
        self.text = text
        self.charset = charset
        self.separators = separators
        self.parts = text.split(separators.component)  # the components as they were sent

    def part(self, component: int) -> str:
        """A component as it was sent, escapes and all; empty if it is not there."""
        parts = self.parts
        return parts[component - 1] if component <= len(parts) else ""

    def value(self, component: int = 1, subcomponent: int = 1) -> str | None:
        """What stands there with its escapes undone; None if it is empty or not there."""
        parts = self.parts
        if component > len(parts):
            return None
        text = parts[component - 1]
        if not text:
            return None
        marks = self.separators
        if marks.subcomponent in text:
            inner = text.split(marks.subcomponent)
            if subcomponent > len(inner):
                return None
            text = inner[subcomponent - 1]
        elif subcomponent > 1:
            return None
        if marks.escape in text:
            text = unescape(text, marks, charset=self.charset)
        return text or None


class Segment:
    """One line of a message; its fields are split when the first of them is asked for.

    `position` counts all segments of its message from 1; 0 where that is not known.
    """

    __slots__ = ("_fields", "_separators", "charset", "line", "name", "position")

    def __init__(self, line: str, separators: Separators, charset: str, position: int = 0) -> None:
        self.line = line
        self.position = position
        self.name = line[:3]
        self.charset = charset
        self._separators = separators
        self._fields: list[str] | None = None

    @property
    def fields(self) -> list[str]:
        """The raw fields; index n is field n, and 0 the segment's name."""
        if self._fields is None:
            self._fields = self.line.split(self._separators.field)
            if self.name == MSH:
                self._fields.insert(1, self._separators.field)
        return self._fields

    def raw(self, field: int) -> str:
        """The field as it was sent, escapes and all; empty if it is not there."""
        fields = self._fields or self.fields
        return fields[field] if field < len(fields) else ""

    def repetitions(self, field: int) -> tuple[Composite, ...]:
        """The valued repetitions of a field."""
        raw = self.raw(field)
        if not raw:
            return ()
        if self.name == MSH and field <= 2:
            return (Composite(raw, NOTHING_DELIMITS, self.charset),)
        mark = self._separators.repetition
        if mark not in raw:
            return (Composite(raw, self._separators, self.charset),)
        parts = raw.split(mark)
        return tuple(Composite(p, self._separators, self.charset) for p in parts if p)

    def value(self, field: int, component: int = 1, subcomponent: int = 1) -> str | None:
        """As `Composite.value`, of the field's first valued repetition."""
        raw = self.raw(field)
        marks = self._separators
        if self.name == MSH and field <= 2:
            marks = NOTHING_DELIMITS
        elif marks.repetition in raw:
            raw = raw.lstrip(marks.repetition).partition(marks.repetition)[0]
        if not raw:
            return None
        return Composite(raw, marks, self.charset).value(component, subcomponent)

    def said(self, field: int, component: int = 1, subcomponent: int = 1) -> str | None:
        """As `value`; None for the explicit null as well."""
        found = self.value(field, component, subcomponent)
        return None if found == NULL else found


class Message:
    """One message. Nothing after the header is looked at before it is asked for."""

    __slots__ = ("_index", "_text", "charset", "charset_flag", "header", "raw", "separators")

    def __init__(
        self,
        raw: bytes,
        text: str,
        separators: Separators,
        charset: str,
        charset_flag: str = "",
    ) -> None:
        self.raw = raw
        self.charset = charset  # Python's name of the codec that read it
        self.charset_flag = charset_flag  # what is wrong with MSH-18; empty: nothing was seen
        self.separators = separators
        self._text = text
        self._index: dict[str, list[Segment]] | None = None
        end = text.find("\r")
        self.header = Segment(text if end < 0 else text[:end], separators, charset, 1)

    @property
    def text(self) -> str:
        """The whole message, decoded, with CR as the only line end."""
        return self._text

    def segments(self, name: str | None = None) -> Sequence[Segment]:
        """All segments of one name in order, or all there are, e.g. to follow groups."""
        if self._index is None:
            self._index = self._split()
        return self._index.get(name or "", ())

    def segment(self, name: str) -> Segment | None:
        """The first segment of that name."""
        found = self.segments(name)
        return found[0] if found else None

    def value(
        self, segment: str, field: int, component: int = 1, subcomponent: int = 1
    ) -> str | None:
        """e.g. value("PID", 5) is the family name; None if it is empty or not there."""
        found = self.header if segment == MSH else self.segment(segment)
        return found.value(field, component, subcomponent) if found else None

    def part(self, segments: Sequence[Segment]) -> "Message":
        """The same message, of which only these segments are seen, and its header."""
        found = Message(self.raw, self._text, self.separators, self.charset, self.charset_flag)
        found.header = self.header
        found._index = {"": list(segments), MSH: [self.header]}
        for segment in segments:
            found._index.setdefault(segment.name, []).append(segment)
        return found

    def glimpse(self, name: str, *, nth: int = 1) -> Segment | None:
        """The nth segment of that name without taking the others apart, for what only routes;
        text that spilled over its line is not seen."""
        mark = f"\r{name}{self.separators.field}"
        start = 0
        for _ in range(nth):
            start = self._text.find(mark, start) + 1
            if start == 0:
                return None
        end = self._text.find("\r", start)
        line = self._text[start:] if end < 0 else self._text[start:end]
        return Segment(line, self.separators, self.charset)

    @property
    def message_type(self) -> str:
        """ "ADT^A01", as it was sent; for old senders it may be "ADT" alone."""
        text = self.header.raw(9)
        mark = self.separators.component
        if mark == "^" and text.count("^") == 1 and text[0] != "^" and text[-1] != "^":
            return text
        return "^".join(part for part in text.split(mark)[:2] if part)

    def _split(self) -> dict[str, list[Segment]]:
        field = self.separators.field
        lines: list[str] = []
        spilled: dict[int, list[str]] = {}
        for line in self._text.split("\r"):
            if SEGMENT_NAME.match(line) and line[3:4] in ("", field):
                lines.append(line)
            elif line and lines:  # text that spilled over: it belongs to the field before it
                spilled.setdefault(len(lines) - 1, []).append(line)
        for at, more in spilled.items():
            lines[at] = "\n".join([lines[at], *more])
        index: dict[str, list[Segment]] = {"": []}
        for position, line in enumerate(lines, start=1):
            segment = Segment(line, self.separators, self.charset, position)
            index[""].append(segment)
            index.setdefault(segment.name, []).append(segment)
        return index


@dataclass(frozen=True, slots=True)
class Header:
    """MSH as bytes, so far as it can be told apart: enough to answer even a broken message."""

    separators: Separators
    fields: Sequence[bytes]  # index n is MSH-n, 0 the name
    fault: str  # what is wrong with MSH-1 and MSH-2; empty: nothing

    def field(self, number: int) -> bytes:
        """The raw bytes of MSH-`number`; empty if it is not there."""
        return self.fields[number] if number < len(self.fields) else b""


def read_header(raw: bytes) -> Header | None:
    """The header, or None where there is none that could be answered."""
    start = _start(raw)
    if raw[start : start + 3] != b"MSH":
        return None
    mark = raw[start + 3 : start + 4]
    if not mark or not is_delimiter(mark.decode("latin-1")):
        return None
    end = raw.find(b"\r", start)
    line = raw[start:] if end < 0 else raw[start:end]
    fields = line.partition(b"\n")[0].split(mark)
    if len(fields) < 2:
        return None
    fields.insert(1, mark)
    delimiter = mark.decode("latin-1")
    found = separators_of(delimiter, fields[2].decode("latin-1"))
    if found is None and delimiter in ENCODING_DEFAULT:
        return None
    return Header(
        separators=found or Separators(delimiter),
        fields=fields,
        fault="" if found else "MSH-2 does not hold two to five different delimiters",
    )


def parse(raw: bytes, *, charset_default: str = "", header: Header | None = None) -> Message:
    """A message of `raw`. Raises MalformedMessage. Its `header` is read again unless given.

    `charset_default` is the HL7 name of the set to assume where MSH-18 is empty; the standard's
    own is ASCII, and then UTF-8 is taken as well, since it cannot be mistaken for another.
    """
    header = header or read_header(raw)
    if header is None:
        refuse_wide(raw)
        raise MalformedMessage("the header cannot be read", kind="header", position="MSH-1")
    if header.fault:
        raise MalformedMessage(header.fault, kind="delimiters", position="MSH-2")
    reading = read_text(
        raw[_start(raw) :],
        header.field(18),
        default=charset_default,
        marked=raw.startswith(BYTE_ORDER_MARK),
        separators=header.separators,
    )
    text = reading.text
    if "\n" in text:
        text = text.replace("\r\n", "\r").replace("\n", "\r")
    if ABSENT in text:
        raise MalformedMessage("the message holds a NUL", kind="structure", position="")
    if "\rMSH" in text or "\x0bMSH" in text:
        raise MalformedMessage(
            "a second header stands inside the message", kind="structure", position="MSH"
        )
    return Message(raw, text, header.separators, reading.charset, reading.flag)


def write_segment(name: str, fields: Sequence[str], separators: Separators) -> str:
    """One segment of plain values (fields 1 to n), each of them escaped, with its CR."""
    written = [escape(field, separators) for field in fields]
    return separators.field.join([name, *written]) + "\r"


def _start(raw: bytes) -> int:
    """Where the first segment begins: after a byte order mark and blank lines."""
    if raw[:3] == b"MSH":
        return 0
    start = len(BYTE_ORDER_MARK) if raw.startswith(BYTE_ORDER_MARK) else 0
    while raw[start : start + 1] in (b"\r", b"\n", b" ", b"\t"):
        start += 1
    return start
