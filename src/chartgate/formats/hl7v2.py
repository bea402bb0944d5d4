"""HL7 v2 messages: bytes in, values out, taken apart only as far as somebody asks.

Reading is tolerant where senders differ (line ends, blank lines, a byte order mark, short
encoding characters, text that spills over a line) and strict where a guess could change what a
message says (delimiters, character sets, a second header). `raw` is always the exact bytes.
Source: HL7 v2.9 chapter 2, control.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from chartgate.errors import Invalid

NULL = '""'  # a value that the sender wants removed; an empty one says nothing
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
ABSENT = "\x00"  # stands for a delimiter that the header does not define; never in a message
ENCODING_DEFAULT = "^~\\&"
SEGMENT_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")
MSH = "MSH"

# HL7 table 0211 and the ways in which senders misspell it, to Python's codecs. Of the table are
# missing: CNS 11643-1992, for which Python has no codec, and UTF-16 and UTF-32, whose bytes
# cannot pass through MLLP.
CHARSETS = {
    "": "ascii",
    "ASCII": "ascii",
    "ISO IR6": "ascii",
    **{f"8859/{part}": f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
    **{f"8859-{part}": f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
    **{f"ISO-8859-{part}": f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
    "ISO IR14": "shift_jis",
    "ISO IR87": "iso2022_jp_ext",
    "ISO IR159": "iso2022_jp_ext",
    "JAS2020": "iso2022_jp_ext",
    "JIS X 0202": "iso2022_jp_ext",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "WINDOWS-1252": "cp1252",
}


class MalformedMessage(Invalid):
    """Not a message that can be read. `position` is the field, e.g. "MSH-2"."""

    def __init__(self, sentence: str, *, kind: str, position: str) -> None:
        super().__init__(sentence)
        self.kind = kind  # "header", "delimiters", "charset" or "structure"
        self.position = position


@dataclass(frozen=True)
class Separators:
    """The delimiters that MSH-1 and MSH-2 define; ABSENT for those they do not."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ABSENT

    @property
    def encoding(self) -> str:
        """MSH-2 as it was sent."""
        parts = (self.component, self.repetition, self.escape, self.subcomponent, self.truncation)
        return "".join(part for part in parts if part != ABSENT)


class Composite:
    """One repetition of one field."""

    __slots__ = ("_parts", "_separators", "charset", "text")

    def __init__(self, text: str, separators: Separators, charset: str) -> None:
        self.text = text
        self.charset = charset
        self._separators = separators
        self._parts: list[str] | None = None

    def part(self, component: int) -> str:
        """A component as it was sent, escapes and all; empty if it is not there."""
        parts = self._parts
        if parts is None:
            parts = self._parts = self.text.split(self._separators.component)
        return parts[component - 1] if component <= len(parts) else ""

    def value(self, component: int = 1, subcomponent: int = 1) -> str | None:
        """What stands there with its escapes undone; None if it is empty or not there."""
        parts = self._parts
        if parts is None:
            parts = self._parts = self.text.split(self._separators.component)
        if component > len(parts):
            return None
        text = parts[component - 1]
        if not text:
            return None
        marks = self._separators
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
    """One line of a message; its fields are split when the first of them is asked for."""

    __slots__ = ("_fields", "_separators", "charset", "line", "name")

    def __init__(self, line: str, separators: Separators, charset: str) -> None:
        self.line = line
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
        fields = self.fields
        return fields[field] if field < len(fields) else ""

    def repetitions(self, field: int) -> tuple[Composite, ...]:
        """The valued repetitions of a field."""
        raw = self.raw(field)
        if not raw:
            return ()
        if self.name == MSH and field <= 2:
            return (Composite(raw, Separators(*[ABSENT] * 6), self.charset),)
        parts = raw.split(self._separators.repetition)
        return tuple(Composite(p, self._separators, self.charset) for p in parts if p)

    def value(self, field: int, component: int = 1, subcomponent: int = 1) -> str | None:
        """As `Composite.value`, of the field's first valued repetition."""
        found = self.repetitions(field)
        return found[0].value(component, subcomponent) if found else None


class Message:
    """One message. Nothing after the header is looked at before it is asked for."""

    __slots__ = ("_index", "_text", "charset", "header", "raw", "separators")

    def __init__(self, raw: bytes, text: str, separators: Separators, charset: str) -> None:
        self.raw = raw
        self.charset = charset  # Python's name of the codec that read it
        self.separators = separators
        self._text = text
        self._index: dict[str, list[Segment]] | None = None
        end = text.find("\r")
        self.header = Segment(text if end < 0 else text[:end], separators, charset)

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

    def glimpse(self, name: str) -> Segment | None:
        """The first segment of that name without taking the others apart, for what only routes;
        text that spilled over its line is not seen."""
        mark = f"\r{name}{self.separators.field}"
        start = self._text.find(mark) + 1
        if start == 0:
            return None
        end = self._text.find("\r", start)
        line = self._text[start:] if end < 0 else self._text[start:end]
        return Segment(line, self.separators, self.charset)

    @property
    def message_type(self) -> str:
        """ "ADT^A01", as it was sent; for old senders it may be "ADT" alone."""
        parts = self.header.raw(9).split(self.separators.component)
        return "^".join(part for part in parts[:2] if part)

    def _split(self) -> dict[str, list[Segment]]:
        field = self.separators.field
        lines: list[str] = []
        for line in self._text.split("\r"):
            named = SEGMENT_NAME.match(line) and line[3:4] in ("", field)
            if named:
                lines.append(line)
            elif line and lines:  # text that spilled over: it belongs to the field before it
                lines[-1] += "\n" + line
        index: dict[str, list[Segment]] = {"": []}
        for line in lines:
            segment = Segment(line, self.separators, self.charset)
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
    if not mark or not _is_delimiter(mark.decode("latin-1")):
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


@lru_cache(maxsize=256)
def separators_of(field: str, encoding: str) -> Separators | None:
    """The delimiters, or None: letters, digits, blanks and repeats would change what is said."""
    marks = field + encoding
    if not 2 <= len(encoding) <= 5 or len(set(marks)) != len(marks):
        return None
    if not all(_is_delimiter(mark) for mark in marks):
        return None
    return Separators(field, *encoding.ljust(5, ABSENT))


def parse(raw: bytes, *, charset_default: str = "", header: Header | None = None) -> Message:
    """A message of `raw`. Raises MalformedMessage. Its `header` is read again unless given.

    `charset_default` is the HL7 name of the set to assume where MSH-18 is empty; the standard's
    own is ASCII, and then UTF-8 is taken as well, since it cannot be mistaken for another.
    """
    header = header or read_header(raw)
    if header is None:
        raise MalformedMessage("the header cannot be read", kind="header", position="MSH-1")
    if header.fault:
        raise MalformedMessage(header.fault, kind="delimiters", position="MSH-2")
    charset = _charset(header, charset_default)
    text = _decode(raw[_start(raw) :], charset)
    if "\n" in text:
        text = text.replace("\r\n", "\r").replace("\n", "\r")
    if ABSENT in text:
        raise MalformedMessage("the message holds a NUL", kind="structure", position="")
    if "\rMSH" in text or "\x0bMSH" in text:
        raise MalformedMessage(
            "a second header stands inside the message", kind="structure", position="MSH"
        )
    return Message(raw, text, header.separators, charset)


def escape(value: str, separators: Separators) -> str:
    """`value` so that it cannot become a delimiter or a segment. `unescape` gives it back,
    unless the header defines no escape character: then what would delimit becomes a blank."""
    return value.translate(_escapes(separators))


def unescape(text: str, separators: Separators, *, charset: str = "utf-8") -> str:
    """Escapes undone. What is no escape that the standard names stays as it was sent."""
    names = _unescapes(separators)

    def replacement(match: re.Match[str]) -> str:
        name = match[1]
        if name in names:
            return names[name]
        if name[:1] == "X":
            return _hexadecimal(name[1:], charset) or match[0]
        return match[0]

    mark = re.escape(separators.escape)
    return re.sub(f"{mark}([^{mark}]*){mark}", replacement, text)


def write_segment(name: str, fields: Sequence[str], separators: Separators) -> str:
    """One segment of plain values (fields 1 to n), each of them escaped, with its CR."""
    written = [escape(field, separators) for field in fields]
    return separators.field.join([name, *written]) + "\r"


@lru_cache(maxsize=256)
def _escapes(separators: Separators) -> dict[int, str]:
    marks = {
        separators.field: "F",
        separators.component: "S",
        separators.subcomponent: "T",
        separators.repetition: "R",
        separators.escape: "E",
        separators.truncation: "P",
    }
    mark = separators.escape
    known = mark != ABSENT
    table = {ord(c): f"{mark}{name}{mark}" if known else " " for c, name in marks.items()}
    # Line ends, and the bytes that frame a message on the wire.
    for code in (0x00, 0x0A, 0x0B, 0x0D, 0x1C):
        table[code] = f"{mark}X{code:02X}{mark}" if known else " "
    return table


@lru_cache(maxsize=256)
def _unescapes(separators: Separators) -> dict[str, str]:
    return {
        "F": separators.field,
        "S": separators.component,
        "T": separators.subcomponent,
        "R": separators.repetition,
        "E": separators.escape,
        "P": separators.truncation.replace(ABSENT, "#"),
        ".br": "\n",
        ".sp": "\n",
        "H": "",  # highlighting on and off
        "N": "",
    }


def _hexadecimal(digits: str, charset: str) -> str:
    try:
        content = bytes.fromhex(digits)
    except ValueError:
        return ""
    try:
        return content.decode(charset)
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _is_delimiter(mark: str) -> bool:
    return "!" <= mark <= "~" and not mark.isalnum()


def _start(raw: bytes) -> int:
    """Where the first segment begins: after a byte order mark and blank lines."""
    start = len(BYTE_ORDER_MARK) if raw.startswith(BYTE_ORDER_MARK) else 0
    while raw[start : start + 1] in (b"\r", b"\n", b" ", b"\t"):
        start += 1
    return start


def _charset(header: Header, default: str) -> str:
    declared = header.field(18).decode("latin-1")
    if not declared and not default:
        return "ascii"
    names = [n.strip().upper() for n in declared.split(header.separators.repetition)]
    if names == [""]:
        names = [default.upper()]
    codecs = [CHARSETS.get(name) for name in names]
    for name, codec in zip(names, codecs, strict=True):
        if codec is None:
            raise MalformedMessage(
                f"MSH-18 names a character set that is not known: {name[:40]!r}"
                if name.isascii()
                else "MSH-18 names a character set that is not known",
                kind="charset",
                position="MSH-18",
            )
    # Alternate sets are reached by ISO 2022 escapes, so the codec that knows them reads it all.
    shifting = [c for c in codecs if c and c.startswith("iso2022")]
    if shifting:
        return shifting[0]
    return codecs[0] or "ascii"


def _decode(content: bytes, charset: str) -> str:
    if charset == "ascii" and not content.isascii():
        charset = "utf-8"
    try:
        return content.decode(charset)
    except UnicodeDecodeError as error:
        raise MalformedMessage(
            f"the bytes at {error.start} are not of the character set {charset}",
            kind="charset",
            position="MSH-18",
        ) from None
