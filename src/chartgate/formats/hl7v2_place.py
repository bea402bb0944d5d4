"""Places in a message, to point at one; `hl7v2_edit` puts another value there.

A place is written as people say it: `PID-3.4` is component 4 of field 3, `OBX[2]-5(3).1.2` the
second OBX, third repetition of field 5, its component 1, subcomponent 2.
"""

import re
from dataclasses import dataclass

from chartgate.errors import Invalid
from chartgate.formats.hl7v2 import MSH, SEGMENT_NAME
from chartgate.formats.hl7v2_delimiters import ABSENT, Separators

PLACE = re.compile(
    r"([A-Z][A-Z0-9]{2})(?:[\[(](\d{1,4})[\])])?"
    r"(?:-(\d{1,3})(?:[\[(](\d{1,4})[\])])?(?:\.(\d{1,3}))?(?:\.(\d{1,3}))?)?"
)
LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Numbers count from 1; 0 stands for all of what is above it."""

    segment: str
    occurrence: int = 1
    field: int = 0
    repetition: int = 0
    component: int = 0
    subcomponent: int = 0

    def __str__(self) -> str:
        text = self.segment + (f"[{self.occurrence}]" if self.occurrence > 1 else "")
        if self.field:
            text += f"-{self.field}" + (f"({self.repetition})" if self.repetition > 1 else "")
        if self.component:
            text += f".{self.component}"
        return text + (f".{self.subcomponent}" if self.subcomponent else "")


@dataclass(frozen=True, kw_only=True)
class Span:
    """Where a place is in a text. What is not there has no length, and `missing` are the
    delimiters that would have to come before it."""

    start: int
    end: int
    missing: str = ""


def parse_place(text: str) -> Place:
    """A place as it is written. Raises Invalid."""
    match = PLACE.fullmatch(text)
    numbers = [int(n) if n else None for n in match.groups()[1:]] if match else []
    if match is None or 0 in numbers:
        raise Invalid(f"{text[:40]!r} is no place in a message; e.g. PID-3.4, OBX[2]-5(3).1")
    occurrence, field, repetition, component, subcomponent = numbers
    return Place(
        segment=match[1],
        occurrence=occurrence or 1,
        field=field or 0,
        repetition=repetition or 0,
        component=component or 0,
        subcomponent=subcomponent or 0,
    )


def segment_spans(text: str, field: str) -> list[tuple[str, int, int]]:
    """Name, start and end of each segment, without its line end. Text that spilled over its line
    belongs to the segment before it."""
    found: list[tuple[str, int, int]] = []
    start = 0
    for mark in [*LINE_END.finditer(text), None]:
        end = mark.start() if mark else len(text)
        line = text[start:end].lstrip("\ufeff \t") if not found else text[start:end]
        if SEGMENT_NAME.match(line) and line[3:4] in ("", field):
            found.append((line[:3], end - len(line), end))
        elif line and found:
            found[-1] = (*found[-1][:2], end)
        start = mark.end() if mark else end
    return found


def find_place(text: str, separators: Separators, place: Place) -> Span | None:
    """Where it is, or would be; None where its segment is not there."""
    segments = [s for s in segment_spans(text, separators.field) if s[0] == place.segment]
    if place.occurrence > len(segments):
        return None
    _, start, end = segments[place.occurrence - 1]
    span = Span(start=start, end=end)
    if not place.field:
        return span
    if place.segment == MSH and place.field <= 2:
        return _header_span(text, span, separators.field, place.field)
    # Before field 1 stands the name; of MSH, MSH-1 is the first delimiter itself.
    number = place.field if place.segment == MSH else place.field + 1
    span = _part(text, span, separators.field, number)
    if place.repetition or place.component:
        span = _part(text, span, separators.repetition, place.repetition or 1)
    if place.component:
        span = _part(text, span, separators.component, place.component)
    if place.subcomponent:
        span = _part(text, span, separators.subcomponent, place.subcomponent)
    return span


def _header_span(text: str, span: Span, field: str, number: int) -> Span:
    mark = span.start + len(MSH)
    if number == 1:
        return Span(start=mark, end=min(mark + 1, span.end))
    end = text.find(field, mark + 1, span.end)
    return Span(start=mark + 1, end=span.end if end < 0 else end)


def _part(text: str, span: Span, mark: str, number: int) -> Span:
    """The n-th part of a span that `mark` divides."""
    if span.missing or mark == ABSENT:
        more = "" if mark == ABSENT else mark * (number - 1)
        return Span(start=span.start, end=span.end, missing=span.missing + more)
    start = span.start
    for left in range(number - 1, 0, -1):
        found = text.find(mark, start, span.end)
        if found < 0:
            return Span(start=span.end, end=span.end, missing=mark * left)
        start = found + 1
    end = text.find(mark, start, span.end)
    return Span(start=start, end=span.end if end < 0 else end)
