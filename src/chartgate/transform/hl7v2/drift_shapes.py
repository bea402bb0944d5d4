"""The shape of a field: what kind of characters stand where, and nothing of what they say.

Every digit becomes 0 and every letter a, so that all birth dates have one shape, and a worker
sees with one look-up per line whether anything in it is new. What the shapes are called (date8,
digits, text …) is worked out only for those not seen before.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from chartgate.formats.hl7v2 import Separators

CONTINUATION = bytes(range(0x80, 0xC0))  # of UTF-8: dropped, so that a character is one byte
LINE_MAX = 4096  # of a longer line, e.g. with a document in it, only the beginning of each field
FIELD_MAX = 256
MARKS = b'+-.:/"'  # tell formats apart: signs, decimal points, zones, an explicit null
NULL = b'""'
DATE = re.compile(r"(1[89]|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
FREE = frozenset({"text", "alphanumeric"})  # a field that holds both takes anything

FORMATS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb'""'), "null"),
    (re.compile(rb".*&.*", re.DOTALL), "subcomponents"),
    (re.compile(rb"0{8,14}(\.0+)?[+-]0{4}"), "datetime with zone"),
    (re.compile(rb"0{14}\.0+"), "datetime with fraction"),
    (re.compile(rb"0+"), "digits"),
    (re.compile(rb"[+-]?0*\.?0+"), "decimal"),
    (re.compile(rb"[^a]*"), "digits with marks"),
    (re.compile(rb"[^0]*"), "text"),
)
# What a format takes in without being another one for it.
TAKES = {
    "digits": frozenset({"date8", "datetime12", "datetime14"}),
    "decimal": frozenset({"digits", "date8", "datetime12", "datetime14"}),
    "alphanumeric": frozenset({"text"}),
}


@lru_cache(maxsize=64)
def table_of(separators: Separators) -> bytes:
    """For `bytes.translate`: to shapes, in which the delimiters are always those of |^~&."""
    table = bytearray(b"a" * 256)
    for byte in b"0123456789":
        table[byte] = ord("0")
    for byte in MARKS:
        table[byte] = byte
    given = (
        separators.field,
        separators.component,
        separators.repetition,
        separators.subcomponent,
    )
    for mark, usual in zip(given, b"|^~&", strict=True):
        if mark != "\x00":
            table[ord(mark)] = usual
    return bytes(table)


def shape_of(line: str, table: bytes) -> bytes:
    """One byte a character."""
    return line.encode("utf-8", "replace").translate(table, CONTINUATION)


def parts_of(shape: bytes, raw: str) -> Iterator[tuple[int, bytes, str]]:
    """Component number, shape and text of what is valued in a field, over all repetitions."""
    start = 0
    for repetition in shape.split(b"~"):
        for number, part in enumerate(repetition.split(b"^"), start=1):
            if part:
                yield number, part, raw[start : start + len(part)]
            start += len(part) + 1


def format_of(shape: bytes, raw: str) -> str:
    """What the shape is called; the text tells only whether eight digits can be a date."""
    name = next((n for pattern, n in FORMATS if pattern.fullmatch(shape)), "alphanumeric")
    if name == "digits" and len(shape) in (8, 12, 14) and DATE.match(raw):
        return "date8" if len(shape) == 8 else f"datetime{len(shape)}"
    return name


def is_within(name: str, known: set[str]) -> bool:
    """Whether a format is nothing new to a field that had these."""
    if name in known or known >= FREE:
        return True
    return any(name in TAKES[one] for one in known if one in TAKES)


def length_class(length: int) -> int:
    """The power of two below which it is: 1, 2-3, 4-7, 8-15 … are one class each."""
    return length.bit_length()


def lengths_of(least: int, most: int) -> str:
    """Length classes in words; 0 where there is none yet."""
    if least == 0:
        return "none"
    return f"{1 << (least - 1)}-{(1 << most) - 1} characters"
