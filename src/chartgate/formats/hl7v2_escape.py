"""Escape sequences: what would delimit is written as one, and read back as text.

Formatting commands become the plain text nearest to them. What the standard does not name, or
what cannot be undone for certain, stays as it was sent. Source: HL7 v2.9 section 2.7.
"""

import re
from functools import lru_cache

from chartgate.formats.hl7v2_delimiters import ABSENT, Separators

LINES_MAX = 100  # of one .sp or .sk: a report has no use for more, and memory has a limit
FORMAT = re.compile(r"\.(br|sp|sk|in|ti|fi|nf|ce)\s*([+-]?\d{0,4})", re.ASCII)
HEXADECIMAL = re.compile(r"(?:[0-9A-Fa-f]{2})+")
# Line ends, NUL, the bytes that frame a message on the wire, and those that switch its characters.
FORBIDDEN = (0x00, 0x0A, 0x0B, 0x0D, 0x0E, 0x0F, 0x1B, 0x1C)


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
        if name[:1] == ".":
            return _formatted(name, match[0])
        return match[0]

    return _pattern(separators.escape).sub(replacement, text)


@lru_cache(maxsize=256)
def _pattern(mark: str) -> re.Pattern[str]:
    mark = re.escape(mark)
    return re.compile(f"{mark}([^{mark}]*){mark}")


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
    for code in FORBIDDEN:
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
        "H": "",  # highlighting on and off
        "N": "",
    }


def _formatted(name: str, sent: str) -> str:
    """The plain text of a formatting command; `sent` where it is none."""
    match = FORMAT.fullmatch(name)
    if match is None:
        return sent
    command, number = match.groups()
    count = int(number) if number.strip("+-") else 1
    if not 0 <= count <= LINES_MAX and command in ("sp", "sk"):
        return sent
    if command in ("br", "ce"):
        return "\n"
    if command in ("sp", "sk"):
        return ("\n" if command == "sp" else " ") * count
    return ""  # indents, fill and no fill: how it looks, not what it says


def _hexadecimal(digits: str, charset: str) -> str:
    """The characters, or "" where the digits are none of this character set."""
    if not HEXADECIMAL.fullmatch(digits):
        return ""
    content = bytes.fromhex(digits)
    try:
        # An undeclared message may be in UTF-8, as one that holds such bytes openly may.
        return content.decode("utf-8" if charset == "ascii" else charset)
    except UnicodeDecodeError:
        return content.decode("ascii") if content.isascii() else ""
