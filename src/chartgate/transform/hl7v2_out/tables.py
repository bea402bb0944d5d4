"""The tables as records: which message tells a change, its segments, and where each field is from.

The format is told at the head of each file. A site's own file has the same format; its rows take
the place of all rows of the field that they name, and its triggers stand before ours.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources

from chartgate.errors import ConfigError
from chartgate.transform.hl7v2_out.datatypes import DATATYPES
from chartgate.transform.hl7v2_out.paths import BadPath, first_element, steps

FILES = ("triggers.table", "segments.table")
POSITION = re.compile(r"([A-Z][A-Z0-9]{2})-([1-9]\d?)")
HEAD = re.compile(r"\[(?:(triggers)|message ([A-Z]{3})|([A-Z][A-Z0-9]{2}) ([A-Z]\w+)|([A-Z]\w+))\]")
LET = re.compile(r"let (\w+)\s*=\s*(.+)")
LINE = re.compile(r"([A-Z][A-Z0-9]{2}) ([A-Z]\w+)(?: (each|when) (\S+))?(?: on ([A-Z0-9 ]+))?")
KINDS = ("create", "change", "undo")
MESSAGE = re.compile(r"[A-Z]{3}\^[A-Z]\d\d\^[A-Z]{3}_[A-Z]\d\d|ORDER|PATIENT")


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """One row of [triggers]."""

    resource_type: str
    kind: str  # of KINDS
    message: str  # "SIU^S12^SIU_S12", or a word that the settings decide
    statuses: tuple[str, ...] = ()  # create: it is one of them; change: it becomes one
    earlier: tuple[str, ...] = ()  # change: it was one of them
    differs: tuple[str, ...] = ()  # elements of which one must differ
    values: Mapping[str, str] = field(default_factory=dict)  # what rows call $name


@dataclass(frozen=True, kw_only=True)
class Line:
    """One segment of a message."""

    segment: str
    root: str  # whom its rows are about
    each: str = ""  # a path: one segment for each item
    when: str = ""  # a path: none where it leads to nothing
    triggers: tuple[str, ...] = ()  # none named: all


@dataclass(frozen=True, kw_only=True)
class Row:
    """Where one field is from."""

    segment: str
    number: int
    source: str  # a path, "$name", "$item.path" or '"text"'
    datatype: str
    map: str = ""
    otherwise: str = ""  # where nothing is found: a text or "$name"
    each: bool = False  # the field repeats
    required: bool = False
    triggers: tuple[str, ...] = ()

    @property
    def position(self) -> str:
        """e.g. "PID-3"."""
        return f"{self.segment}-{self.number}"

    @property
    def element(self) -> str:
        """The element of the resource that it tells; empty: none, or worked out."""
        return "" if self.source[0] in '$"' else first_element(self.source)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What else is known of a type."""

    told: frozenset[str] = frozenset()  # told without a path of their own
    implied: frozenset[str] = frozenset()  # told where it is something new
    fixed: frozenset[str] = frozenset()  # no message of change can change them


@dataclass(frozen=True, kw_only=True)
class OutTables:
    """All of it."""

    triggers: tuple[Trigger, ...] = ()
    messages: Mapping[str, tuple[Line, ...]] = field(default_factory=dict)
    rows: Mapping[tuple[str, str], tuple[Row, ...]] = field(default_factory=dict)
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    said: Mapping[str, Said] = field(default_factory=dict)

    def told(self, resource_type: str, message: str) -> frozenset[str]:
        """Elements of a type that a message, "SIU", has a place for."""
        lines = [line for line in self.messages[message] if line.root == resource_type]
        from_rows = {r.element for line in lines for r in self.rows[line.segment, line.root]}
        from_lines = {first_element(p) for line in lines for p in (line.each, line.when) if p}
        said = self.said.get(resource_type, Said())
        return frozenset({*from_rows, *from_lines, *said.told, *said.implied} - {""})


@cache
def own_tables() -> OutTables:
    """The tables that come with Chartgate."""
    folder = resources.files("chartgate.transform.hl7v2_out") / "tables"
    tables = OutTables()
    for name in FILES:
        tables = extended(tables, (folder / name).read_text(encoding="utf-8"), where=name)
    return tables


def extended(tables: OutTables, text: str, *, where: str) -> OutTables:
    """`tables` with what a file says put over them. Raises ConfigError that names the line."""
    reader = _Reader()
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        try:
            reader.take(content)
        except (ValueError, BadPath) as error:
            raise ConfigError(f"{where}, line {number}: {error}") from None
    merged = replace(
        tables,
        triggers=(*reader.triggers, *tables.triggers),
        messages={**tables.messages, **{k: tuple(v) for k, v in reader.messages.items()}},
        rows=_merged(tables.rows, reader.rows),
        maps={**tables.maps, **reader.maps},
        said={**tables.said, **reader.said},
    )
    _check(merged, where)
    return merged


class _Reader:
    """What one file says, line by line."""

    def __init__(self) -> None:
        self.triggers: list[Trigger] = []
        self.messages: dict[str, list[Line]] = {}
        self.rows: dict[tuple[str, str], list[Row]] = {}
        self.maps: dict[str, dict[str, str]] = {}
        self.said: dict[str, Said] = {}
        self._in: tuple[str, ...] = ()

    def take(self, line: str) -> None:
        """Raises ValueError."""
        if line.startswith("["):
            match = HEAD.fullmatch(line)
            if match is None:
                raise ValueError(
                    "a section is [triggers], [message SIU], [PID Patient] or [Patient]"
                )
            triggers, message, segment, root, kind = match.groups()
            self._in = tuple(p for p in (triggers, message, segment, root, kind) if p)
            if message:
                self.messages[message] = []
        elif let := LET.fullmatch(line):
            pairs = (word.partition(":") for word in let[2].split())
            self.maps[let[1]] = {code: to for code, _, to in pairs}
        elif self._in == ("triggers",):
            self.triggers.append(_trigger(line))
        elif len(self._in) == 2:
            row = _row(line)
            if row.segment != self._in[0]:
                raise ValueError(f"{row.position} is not of the section's segment")
            self.rows.setdefault((self._in[0], self._in[1]), []).append(row)
        elif self._in and self._in[0] in self.messages:
            self.messages[self._in[0]].append(_line(line))
        elif self._in:
            self._say(self._in[0], line)
        else:
            raise ValueError("a row stands before the first section")

    def _say(self, kind: str, line: str) -> None:
        word, _, names = line.partition(" ")
        before = self.said.get(kind, Said())
        if word not in ("told", "implied", "fixed"):
            raise ValueError("here stand told, implied and fixed, each with names of elements")
        self.said[kind] = replace(before, **{word: frozenset(names.split())})


def _trigger(line: str) -> Trigger:
    cells = [cell.strip() for cell in line.split("|")]
    if len(cells) != 4 or not MESSAGE.fullmatch(cells[2]):
        raise ValueError("a trigger is TYPE | WHEN | MSG^EVENT^STRUCTURE | name=value; …")
    kind, *conditions = [part.strip() for part in cells[1].split(";")]
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
    statuses: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    for condition in conditions:
        words = condition.split()
        if words[:2] == ["status", "is" if kind == "create" else "becomes"]:
            statuses = tuple(words[2:])
        elif words[:1] == ["from"] and kind == "change":
            earlier = tuple(words[1:])
        elif words[:1] == ["differs"] and kind == "change":
            differs = tuple(words[1:])
        else:
            raise ValueError(f"{condition!r} is no condition of {kind}")
    pairs = (part.strip().partition("=") for part in cells[3].split(";") if part.strip())
    return Trigger(
        resource_type=cells[0],
        kind=kind,
        message=cells[2],
        statuses=statuses,
        earlier=earlier,
        differs=differs,
        values={name: value for name, _, value in pairs},
    )


def _line(line: str) -> Line:
    match = LINE.fullmatch(line)
    if match is None:
        raise ValueError("a segment is NAME ROOT, with `each PATH` or `when PATH`, `on EVENTS`")
    segment, root, word, path, triggers = match.groups()
    if path:
        steps(path)
    return Line(
        segment=segment,
        root=root,
        each=path if word == "each" else "",
        when=path if word == "when" else "",
        triggers=tuple((triggers or "").split()),
    )


def _row(line: str) -> Row:
    cells = [cell.strip() for cell in line.split("|")]
    if len(cells) not in (3, 4):
        raise ValueError("a row has three or four parts: POSITION | source | data type | options")
    position = POSITION.fullmatch(cells[0])
    if position is None:
        raise ValueError(f"{cells[0]!r} names no field, e.g. PID-3")
    source = cells[1]
    if source[:1] not in ("$", '"'):
        steps(source)
    if cells[2] not in DATATYPES:
        raise ValueError(f"{cells[2]!r} is no data type; known are {', '.join(sorted(DATATYPES))}")
    row = Row(segment=position[1], number=int(position[2]), source=source, datatype=cells[2])
    for option in (cells[3] if len(cells) == 4 else "").split(";"):
        row = _with(row, option.strip())
    return row


def _with(row: Row, option: str) -> Row:
    word, _, value = option.partition(" ")
    if not option:
        return row
    if option == "each":
        return replace(row, each=True)
    if option == "required":
        return replace(row, required=True)
    if word == "map":
        return replace(row, map=value.strip())
    if word == "else":
        return replace(row, otherwise=value.strip())
    if word == "on":
        return replace(row, triggers=tuple(value.split()))
    raise ValueError(f"{option!r} is no option; known are each, required, map, else, on")


def _merged(
    before: Mapping[tuple[str, str], Sequence[Row]], over: Mapping[tuple[str, str], Sequence[Row]]
) -> dict[tuple[str, str], tuple[Row, ...]]:
    merged = {key: tuple(rows) for key, rows in before.items()}
    for key, rows in over.items():
        numbers = {row.number for row in rows}
        kept = [row for row in merged.get(key, ()) if row.number not in numbers]
        merged[key] = (*kept, *rows)
    return merged


def _check(tables: OutTables, where: str) -> None:
    """What the parts need of one another. Raises ConfigError."""
    for rows in tables.rows.values():
        for row in rows:
            if row.map and row.map not in tables.maps:
                raise ConfigError(
                    f"{where}: {row.position} names the map {row.map}, which is not there"
                )
    if not tables.rows:
        return  # of the two files, the first is read
    for name, lines in tables.messages.items():
        for line in lines:
            if (line.segment, line.root) not in tables.rows:
                raise ConfigError(
                    f"{where}: [message {name}] has {line.segment} {line.root}, without rows"
                )
