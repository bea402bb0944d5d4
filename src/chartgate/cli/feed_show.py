"""A message on the terminal, with its segments numbered and the offending place pointed at."""

from collections.abc import Iterator
from dataclasses import dataclass

from chartgate.cli.feed_text import columns, visible
from chartgate.errors import Invalid
from chartgate.formats.hl7v2 import MalformedMessage, parse, read_header
from chartgate.formats.hl7v2_delimiters import Separators
from chartgate.formats.hl7v2_place import LINE_END, Span, find_place, parse_place

LINES_MAX = 200  # of a message, and AROUND more lines before and after the place
AROUND = 10
LINE_CHARS_MAX = 2_000  # of one line; of the place as many again
MARK = "^"


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A message as text, and where in it something is wrong."""

    text: str
    span: Span | None
    note: str  # where no place can be pointed at, why


def mark(raw: bytes, position: str) -> Marked:
    """Finds `position`, e.g. "PID-7", in a message, so far as it can be read."""
    header = read_header(raw)
    separators = header.separators if header else Separators()
    try:
        charset = parse(raw).charset
    except MalformedMessage:
        charset = "utf-8"
    text = raw.decode("utf-8" if charset == "ascii" else charset, "backslashreplace")
    if not position:
        return Marked(text=text, span=None, note="it is about the message as a whole")
    try:
        place = parse_place(position)
    except Invalid:
        return Marked(text=text, span=None, note=f"the place is {position}")
    span = find_place(text, separators, place)
    if span is None:
        return Marked(text=text, span=None, note=f"there is no {place.segment} in it")
    note = f"{position} is not there; it would be here" if span.missing else ""
    return Marked(text=text, span=span, note=note)


def lines_of(marked: Marked, *, label: str, width: int, full: bool) -> Iterator[str]:
    """The message's lines, `width` columns wide; beneath the place a line of carets with `label`."""
    physical = list(_physical_lines(marked.text))
    span = marked.span
    pointed = next((n for n, (a, b) in enumerate(physical) if span and a <= span.start < b), -1)
    if span and pointed < 0:
        pointed = len(physical) - 1  # it would stand at the very end
    left_out = 0
    for number, (start, end) in enumerate(physical):
        near = 0 <= pointed and abs(number - pointed) <= AROUND
        if not (full or number < LINES_MAX or near):
            left_out += 1
            continue
        if left_out:
            yield f"      … {left_out} lines left out; --full shows them"
            left_out = 0
        here = _overlap(span, start, end, at_least=number == pointed)
        yield from _line(marked.text[start:end], here, number + 1, label, width=width, full=full)
    if left_out:
        yield f"      … {left_out} lines left out; --full shows them"
    if marked.note:
        yield f"      ({marked.note})"


def _physical_lines(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for found in LINE_END.finditer(text):
        yield start, found.end()
        start = found.end()
    if start < len(text):
        yield start, len(text)


def _overlap(span: Span | None, start: int, end: int, *, at_least: bool) -> tuple[int, int] | None:
    """Which characters of this line are marked; one, where the place is empty."""
    if span is None:
        return None
    first, last = max(span.start, start), min(span.end, end)
    if first < last:
        return first - start, last - start
    return (span.start - start, span.start - start + 1) if at_least else None


def _line(
    text: str,
    here: tuple[int, int] | None,
    number: int,
    label: str,
    *,
    width: int,
    full: bool,
) -> Iterator[str]:
    first, last = here or (-1, -1)
    row, carets, used = "", "", 0
    head = f"{number:>5} "
    cut = False
    # One blank more, for a place after the last character.
    for index, char in enumerate(text + " " * (first >= len(text))):
        if not (full or index < LINE_CHARS_MAX or first - 80 <= index < first + LINE_CHARS_MAX):
            cut = True
            continue
        cell = visible(char) if index < len(text) else char
        if cut:
            cell, cut = f" … {cell}", False
        if used + columns(cell) > width and row:
            yield from _row(head, row, carets, label if last <= index else "")
            head, row, carets, used = " " * 6, "", "", 0
        row += cell
        used += columns(cell)
        carets += (MARK if first <= index < last else " ") * columns(cell)
    yield from _row(head, row + (" … (--full shows all of it)" if cut else ""), carets, label)


def _row(head: str, row: str, carets: str, label: str) -> Iterator[str]:
    yield head + row.rstrip()
    if carets.strip():
        said = f" {label}" if label else ""
        yield " " * len(head) + carets.rstrip() + said
