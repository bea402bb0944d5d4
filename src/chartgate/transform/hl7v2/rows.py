"""The tables' own format: one line a row, which field becomes which element, how and when.

A file holds sections, one for each segment and what it becomes part of:

    [PV1 Encounter]
    let ATND = {"type": [{"coding": [{"code": "ATND"}]}]}
    PV1-7  | participant[].individual | Practitioner | with ATND
    PV1-3  | location[now].location   | Location
    PV1-3  | location[now].status     | = "active"   | if PV1-2 not P
    PV1-18 | -                        | its meaning is each site's own

Source: "PID-3", a component "PID-3.4", a sub-component "PID-3.4.2", or the bare segment for what
its presence alone says. Target: a path; "[]" marks the list to which each repetition adds an
item; rows with one name in it, "[now]", fill one item together. "-": deliberately not mapped,
and why. "@": taken in code, and where: `OBX-2 | @ | results.py: which element OBX-5 fills`.
Kind: a key of kinds.KINDS, or a constant, = JSON. Options, parted by ";": `map NAME` (a code
map), `else CODE` (for a code that it does not hold), `with JSON or let` (what stands beside the
value in the item), `if CONDITION`, `once` (of several repetitions the first, where each would make
an item of its own).
A condition is "PID-29 empty", "PID-29 valued", "PV1-2 is P, I", "PV1-2 not P", joined by `and`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

import orjson

from chartgate.errors import ConfigError
from chartgate.formats.hl7v2 import NULL, Segment
from chartgate.transform.hl7v2.code_maps import code_map
from chartgate.transform.hl7v2.datatypes import Kind
from chartgate.transform.hl7v2.kinds import KINDS

SECTION = re.compile(r"\[([A-Z][A-Z0-9]{2}) ([A-Za-z][A-Za-z-]*)\]")
SOURCE = re.compile(r"([A-Z][A-Z0-9]{2})(?:-(\d{1,3})(?:\.(\d{1,2})(?:\.(\d{1,2}))?)?)?")
NAME = "[A-Za-z_][A-Za-z0-9]*"
TARGET = re.compile(rf"{NAME}(\.{NAME})*(\[[a-z0-9-]*\](\.{NAME}(\[\])?)*)?")
CONDITION = re.compile(r"(\S+) (?:(empty|valued)|(is|not) (.+))")


class Finder(Protocol):
    """Where a condition looks for another segment: the message, or a group of it."""

    def segment(self, name: str) -> Segment | None:
        """The segment of that name that belongs with the row's own."""


Holds = Callable[[Segment, Finder], bool]


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a row reads: field 0 is the segment as a whole."""

    segment: str
    field: int = 0
    component: int = 0  # 0: all of the field
    subcomponent: int = 0

    def __str__(self) -> str:
        parts = [self.field, self.component, self.subcomponent]
        numbers = ".".join(str(n) for n in parts if n)
        return f"{self.segment}-{numbers}" if numbers else self.segment


@dataclass(frozen=True, kw_only=True)
class Row:
    """One field to one element, ready to apply."""

    table: str  # "PID.Patient"
    id: str  # "PID.Patient PID-5 name[]"
    source: Position
    path: tuple[str, ...]  # of the element, or of the list
    tail: tuple[str, ...] = ()  # under the list's item; empty where the value is the item
    listed: bool = False
    item: str = ""  # rows with one name fill one item; empty: one item each
    prefix: str = ""  # of the item's id, "PID-5"
    kind: Kind | None = None
    constant: Any = None
    map: str = ""  # name of the code map
    codes: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Any] = field(default_factory=dict)
    holds: Holds | None = None
    once: bool = False  # only the first repetition is taken


@dataclass(frozen=True, kw_only=True)
class Remark:
    """A line that applies nothing: deliberately not mapped, or taken in code."""

    position: str
    text: str
    coded: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of one segment for one resource."""

    name: str  # "PID.Patient"
    rows: tuple[Row, ...]
    unmapped: Mapping[str, str] = field(default_factory=dict)  # position: why
    coded: Mapping[str, str] = field(default_factory=dict)  # position: the maker that takes it


def parse_tables(text: str, *, where: str) -> dict[str, Table]:
    """The tables of one file by name. Raises ConfigError with the line."""
    sections: dict[str, list[Row | Remark]] = {}
    lets: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            try:
                _take(stripped, sections, lets)
            except ValueError as error:
                raise ConfigError(f"{where}, line {number}: {error}") from None
    return {name: _closed(name, lines) for name, lines in sections.items()}


def parse_row(
    line: str,
    *,
    table: str,
    lets: Mapping[str, Any],
    local_codes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Row | Remark:
    """One line. Raises ValueError."""
    cells = [cell.strip() for cell in line.split(" | ")]
    if len(cells) not in (3, 4):
        raise ValueError("a row has three or four parts: source | target | kind | options")
    source = parse_position(cells[0])
    if source.segment != table.partition(".")[0]:
        raise ValueError(f"{cells[0]} is not of the section's segment")
    if cells[1] in ("-", "@"):
        return Remark(position=cells[0], text=cells[2], coded=cells[1] == "@")
    if not TARGET.fullmatch(cells[1]):
        raise ValueError(f"{cells[1]!r} is no path of an element")
    head, bracket, rest = cells[1].partition("[")
    item, _, tail = rest.partition("]")
    options = _options(cells[3] if len(cells) == 4 else "", lets, local_codes or {})
    constant = cells[2].startswith("=")
    if not constant and cells[2] not in KINDS:
        raise ValueError(f"{cells[2]!r} is no kind; known are {', '.join(sorted(KINDS))}")
    return Row(
        table=table,
        id=f"{table} {source} {cells[1]}",
        source=source,
        path=tuple(head.split(".")),
        tail=tuple(tail.strip(".").split(".")) if tail.strip(".") else (),
        listed=bool(bracket),
        item=item,
        prefix=f"{source.segment}-{source.field}",
        kind=None if constant else KINDS[cells[2]],
        constant=_json(cells[2][1:]) if constant else None,
        **options,
    )


@cache
def coded_row(table: str, position: str, element: str) -> Row:
    """What stands in a trace for an element that code fills from a field: `ORC-5 | @` says so."""
    return Row(
        id=f"{table} {position} {element}",
        table=table,
        source=parse_position(position),
        path=tuple(element.split(".")),
    )


def parse_position(text: str) -> Position:
    """ "PID-3.4" taken apart. Raises ValueError."""
    match = SOURCE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} names no field; e.g. PID-3 or PID-3.4")
    numbers = [int(number or 0) for number in match.groups()[1:]]
    return Position(
        segment=match[1], field=numbers[0], component=numbers[1], subcomponent=numbers[2]
    )


def value_at(segment: Segment | None, position: Position) -> str:
    """The first repetition's value there; empty if it is not there or the explicit null."""
    if segment is None:
        return ""
    if position.field == 0:
        return segment.name
    found = segment.value(position.field, position.component or 1, position.subcomponent or 1)
    return "" if found is None or found == NULL else found


def parse_condition(text: str) -> Holds:
    """A test on a segment of the row and its message. Raises ValueError."""
    tests = [_single(part.strip()) for part in text.split(" and ")]
    if len(tests) == 1:
        return tests[0]
    return lambda segment, around: all(test(segment, around) for test in tests)


def _single(text: str) -> Holds:
    match = CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no condition; e.g. `PID-29 empty` or `PV1-2 is P, I`")
    position = parse_position(match[1])
    codes = frozenset(code.strip() for code in (match[4] or "").split(","))
    is_empty, is_not = match[2] == "empty", match[3] == "not"

    def holds(segment: Segment, around: Finder) -> bool:
        own = segment.name == position.segment
        value = value_at(segment if own else around.segment(position.segment), position)
        if match[2]:
            return (not value) is is_empty
        return (value not in codes) is is_not

    return holds


def _options(
    text: str, lets: Mapping[str, Any], local_codes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for part in (part.strip() for part in text.split(";") if part.strip()):
        word, _, rest = part.partition(" ")
        if word == "map":
            options["map"] = rest
            options["codes"] = {**code_map(rest), **local_codes.get(rest, {})}
        elif word == "else":
            options["codes"] = {**options.get("codes", {}), "*": rest}
        elif word == "with":
            value = lets[rest] if rest in lets else _json(rest)
            options["beside"] = {**options.get("beside", {}), **value}
        elif word == "if":
            options["holds"] = parse_condition(rest)
        elif part == "once":
            options["once"] = True
        else:
            raise ValueError(f"{word!r} is no option; known are map, else, with, if, once")
    return options


def _take(line: str, sections: dict[str, list[Row | Remark]], lets: dict[str, Any]) -> None:
    """One line of a file: a section's head, a let, or a row of the section under way."""
    if section := SECTION.fullmatch(line):
        name = f"{section[1]}.{section[2]}"
        if name in sections:
            raise ValueError("the section stands here twice")
        sections[name] = []
    elif line.startswith("let "):
        let, _, value = line[4:].partition("=")
        lets[let.strip()] = _json(value)
    elif not sections:
        raise ValueError("a row stands before the first section")
    else:
        name = next(reversed(sections))
        sections[name].append(parse_row(line, table=name, lets=lets))


def _closed(name: str, lines: Sequence[Row | Remark]) -> Table:
    """Rows of one named item share the id of the first of them."""
    prefixes: dict[tuple[tuple[str, ...], str], str] = {}
    shared = []
    for row in lines:
        if isinstance(row, Remark):
            continue
        if row.item:
            prefix = prefixes.setdefault((row.path, row.item), row.prefix)
            row = Row(**{**vars(row), "prefix": prefix})
        shared.append(row)
    remarks = [line for line in lines if isinstance(line, Remark)]
    return Table(
        name=name,
        rows=tuple(shared),
        unmapped={r.position: r.text for r in remarks if not r.coded},
        coded={r.position: r.text for r in remarks if r.coded},
    )


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError(f"{text.strip()!r} is no JSON") from None
