"""What one site does otherwise, as data: moved fields, local codes, Z-segments, defaults, filters.

A TOML file beside chartgate.toml, named by the option `overrides` of a feed:

    [[move]]                       # a field that stands in the wrong place; from MSH: a copy
    from = "ZPV-4"
    to = "PV1-10"
    if = "PV1-10 empty"            # optional, as are sender and trigger

    [[default]]                    # what a sender leaves out
    field = "PID-3.4"
    value = "NORTH"
    sender = "ADT1|NORTH"          # MSH-3|MSH-4

    [codes.AdministrativeSex]      # local codes, over those of the official map
    1 = "male"

    [[row]]                        # a row more, in the tables' own format
    table = "ZPI Patient"
    row = 'ZPI-3 | extension[].valueString | string | with {"url": "urn:north:ward-note"}'

    [[filter]]                     # messages that this site does not want in the record
    trigger = "ADT^A31"
    if = "PV1-2 is T"
    reason = "training patients"
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from typing import Any

from chartgate.errors import ConfigError
from chartgate.formats import r4
from chartgate.formats.hl7v2 import Message, Segment, escape
from chartgate.transform.hl7v2.code_maps import code_map, map_names
from chartgate.transform.hl7v2.rows import (
    Holds,
    Position,
    Remark,
    Row,
    parse_condition,
    parse_position,
    parse_row,
)
from chartgate.transform.hl7v2.tableset import TableSet, extended, shipped_tables

WHEN = {"sender", "trigger", "if"}
KEYS = {
    "move": WHEN | {"from", "to"},
    "default": WHEN | {"field", "value"},
    "filter": WHEN | {"reason"},
    "row": {"table", "row"},
}
SENDER = re.compile(r"[^|]*\|[^|]*")
TRIGGER = re.compile(r"[A-Z]{3}\^[A-Z0-9]{3}")
# Maps that makers look codes up in; the others are named by rows, or are those of data types.
MAPS_IN_CODE = (
    "FillerStatusCodes[Appointment]",
    "OrderControlCode[ServiceRequest.status]",
    "OrderStatus",
    "PatientClass[EncounterStatus]",
)


@dataclass(frozen=True, kw_only=True)
class When:
    """Which messages a rule is for; empty: all."""

    sender: str = ""  # MSH-3|MSH-4
    trigger: str = ""  # "ADT^A08"
    holds: Holds | None = None

    def matches(self, message: Message) -> bool:
        """Whether the message is one of them."""
        header = message.header
        if self.trigger and message.message_type != self.trigger:
            return False
        if self.sender and f"{header.raw(3)}|{header.raw(4)}" != self.sender:
            return False
        return self.holds is None or self.holds(header, message)


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """One site's rules, and the tables with its rows."""

    moves: tuple[tuple[When, Position, Position], ...] = ()
    defaults: tuple[tuple[When, Position, str], ...] = ()
    filters: tuple[tuple[When, str], ...] = ()
    added: tuple[str, ...] = ()  # tables that the makers do not know: of Z-segments
    codes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # maps with local codes
    tables: TableSet = field(default_factory=shipped_tables)

    @property
    def renames_patients(self) -> bool:
        """Whether a rule can change who a message is about, which decides on its lane."""
        targets = [position for _, _, position in self.moves]
        targets += [position for _, position, _ in self.defaults]
        return any(position.segment in ("PID", "MRG") for position in targets)


@cache
def no_overrides() -> Overrides:
    """Of a site that does all as shipped."""
    return Overrides()


def parse_overrides(text: str, *, where: str) -> Overrides:
    """The rules of one file. Raises ConfigError that says where and what is wrong."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is no TOML: {error}") from None
    try:
        _check_keys(content, {*KEYS, "codes"}, "the file")
        base = shipped_tables()
        codes = _codes(content.get("codes", {}), base)
        rows = [_row(entry, base, codes) for entry in _entries(content, "row")]
        local = _localised(base, codes)
        tables = extended(local, rows, source=text.encode())
        return Overrides(
            moves=tuple(map(_moved, _entries(content, "move"))),
            defaults=tuple(
                (_when(e), parse_position(e["field"]), str(e["value"]))
                for e in _entries(content, "default")
            ),
            filters=tuple((_when(e), str(e["reason"])) for e in _entries(content, "filter")),
            added=tuple(dict.fromkeys(name for name, _ in rows if name not in base.tables)),
            codes={name: {**code_map(name), **local} for name, local in codes.items()},
            tables=tables,
        )
    except KeyError as error:
        raise ConfigError(f"{where}: a rule lacks the key {error.args[0]!r}") from None
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def apply_overrides(message: Message, overrides: Overrides) -> str:
    """Moves and fills the fields of a message as the site's rules say; its bytes stay.

    Gives the reason where a filter keeps it out of the record, else "".
    """
    for when, origin, target in overrides.moves:
        if when.matches(message):
            _move(message, origin, target)
    for when, position, value in overrides.defaults:
        if when.matches(message):
            for segment in _segments(message, position.segment):
                _fill(segment, position, escape(value, message.separators), message)
    for when, reason in overrides.filters:
        if when.matches(message):
            return reason
    return ""


def _segments(message: Message, name: str) -> Sequence[Segment]:
    return (message.header,) if name == "MSH" else message.segments(name)


def _move(message: Message, origin: Position, target: Position) -> None:
    origins = _segments(message, origin.segment)
    targets = _segments(message, target.segment)
    if origin.segment != target.segment:
        origins, targets = origins[:1], targets[:1]
    for source, destination in zip(origins, targets, strict=False):
        text = _raw_at(source, origin, message)
        if text:
            if origin.segment != "MSH":  # what is in the header names the message, too
                _write(source, origin, "", message)
            _write(destination, target, _fitted(text, origin, target, message), message)


def _fitted(text: str, origin: Position, target: Position, message: Message) -> str:
    """What a field holds can become a component and the other way round: the delimiters inside
    follow, so that a value never spills into its neighbours."""
    marks = message.separators
    if origin.component and not target.component:
        return text.replace(marks.subcomponent, marks.component)
    if target.component and not origin.component:
        text = text.split(marks.repetition)[0].replace(marks.component, marks.subcomponent)
    return text.split(marks.subcomponent)[0] if target.subcomponent else text


def _raw_at(segment: Segment, position: Position, message: Message) -> str:
    """The field, or a component of its first repetition, as it was sent."""
    marks = message.separators
    text = segment.raw(position.field)
    if not position.component:
        return text
    parts = text.split(marks.repetition)[0].split(marks.component)
    text = parts[position.component - 1] if position.component <= len(parts) else ""
    if position.subcomponent:
        parts = text.split(marks.subcomponent)
        text = parts[position.subcomponent - 1] if position.subcomponent <= len(parts) else ""
    return text


def _fill(segment: Segment, position: Position, value: str, message: Message) -> None:
    """Writes the value into each repetition that lacks it; a field that is empty gets it only
    where the rule names the whole field."""
    marks = message.separators
    held = segment.raw(position.field)
    if not position.component:
        if not held:
            _put_field(segment, position.field, value)
        return
    if not held:
        return
    repetitions = [
        text
        if _is_valued(text, position, message)
        else _with_component(text, position, value, message)
        for text in held.split(marks.repetition)
    ]
    _put_field(segment, position.field, marks.repetition.join(repetitions))


def _is_valued(text: str, position: Position, message: Message) -> bool:
    """Whether one repetition has the component, or sub-component, that a rule names."""
    marks = message.separators
    parts = text.split(marks.component)
    found = parts[position.component - 1] if position.component <= len(parts) else ""
    if position.subcomponent:
        parts = found.split(marks.subcomponent)
        found = parts[position.subcomponent - 1] if position.subcomponent <= len(parts) else ""
    return bool(found)


def _write(segment: Segment, position: Position, text: str, message: Message) -> None:
    if position.component:
        first, mark, rest = segment.raw(position.field).partition(message.separators.repetition)
        text = _with_component(first, position, text, message) + mark + rest
    _put_field(segment, position.field, text)


def _with_component(text: str, position: Position, value: str, message: Message) -> str:
    marks = message.separators
    parts = text.split(marks.component)
    parts += [""] * (position.component - len(parts))
    if position.subcomponent:
        inner = parts[position.component - 1].split(marks.subcomponent)
        inner += [""] * (position.subcomponent - len(inner))
        inner[position.subcomponent - 1] = value
        value = marks.subcomponent.join(inner)
    parts[position.component - 1] = value
    return marks.component.join(parts)


def _put_field(segment: Segment, number: int, text: str) -> None:
    fields = segment.fields
    fields += [""] * (number + 1 - len(fields))
    fields[number] = text


def _when(entry: Mapping[str, Any]) -> When:
    condition, sender = entry.get("if", ""), entry.get("sender", "")
    trigger = entry.get("trigger", "")
    if sender and not SENDER.fullmatch(sender):
        raise ValueError(f"sender {sender!r} is not MSH-3|MSH-4, e.g. 'ADT1|NORTH'")
    if trigger and not TRIGGER.fullmatch(trigger):
        raise ValueError(f"trigger {trigger!r} is not of the form 'ADT^A08'")
    holds = parse_condition(condition) if condition else None
    return When(sender=sender, trigger=trigger, holds=holds)


def _moved(entry: Mapping[str, Any]) -> tuple[When, Position, Position]:
    origin, target = parse_position(entry["from"]), parse_position(entry["to"])
    for position in (origin, target):
        if not position.field:
            raise ValueError(f"[[move]] moves fields, and {position} is a segment")
    if origin == target:
        raise ValueError(f"[[move]] moves {origin} to itself")
    return _when(entry), origin, target


def _row(entry: Mapping[str, Any], base: TableSet, codes: Mapping[str, Any]) -> tuple[str, Row]:
    name = ".".join(entry["table"].split())
    if name.count(".") != 1:
        raise ValueError(f"{entry['table']!r} names no table; e.g. 'ZPI Patient'")
    resource_type = name.partition(".")[2]
    if name not in base.tables and not r4.is_resource_type(resource_type):
        near = get_close_matches(name, base.tables, 1)
        hint = f"; did you mean '{near[0].replace('.', ' ')}'?" if near else ""
        raise ValueError(f"{resource_type!r} is no resource type of R4{hint}")
    row = parse_row(entry["row"], table=name, lets={}, local_codes=codes)
    if isinstance(row, Remark):
        sentence = "a site's row needs a target; to leave messages out, use [[filter]]"
        raise ValueError(sentence)  # noqa: TRY004
    known = r4.elements(resource_type) if r4.is_resource_type(resource_type) else {}
    element = row.path[0].removeprefix("_")
    if known and element not in known:
        near = get_close_matches(element, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{resource_type} has no element {element}{hint}")
    return name, row


def _codes(content: Any, base: TableSet) -> dict[str, dict[str, Any]]:
    """Local codes by map. Only maps that a row or a maker names can have any: those that data
    types go by mean the same everywhere."""
    if not isinstance(content, dict):
        raise ValueError("[codes] must be tables, e.g. [codes.AdministrativeSex]")  # noqa: TRY004
    in_rows = {row.map for table in base.tables.values() for row in table.rows if row.map}
    known = in_rows | set(MAPS_IN_CODE)
    for name, codes in content.items():
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            fixed = name in map_names()
            why = "the map of a data type, which no site changes" if fixed else "no code map"
            raise ValueError(f"[codes.{name}]: {name} is {why}{hint}")
        if not isinstance(codes, dict) or not all(map(_is_code, codes.values())):
            raise ValueError(
                f"[codes.{name}]: each line is a local code = a text, or a table of system, code "
                "and display"
            )
    return content


def _is_code(value: Any) -> bool:
    if isinstance(value, dict):
        keys = value.keys() <= {"system", "code", "display"} and "code" in value
        return keys and all(isinstance(text, str) for text in value.values())
    return isinstance(value, str)


def _localised(base: TableSet, codes: Mapping[str, Mapping[str, Any]]) -> TableSet:
    """The shipped tables, with local codes over those of each map that a row names."""
    if not codes:
        return base
    tables = {
        name: replace(
            table,
            rows=tuple(
                replace(row, codes={**row.codes, **codes[row.map]}) if row.map in codes else row
                for row in table.rows
            ),
        )
        for name, table in base.tables.items()
    }
    return replace(base, tables=tables)


def _entries(content: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = content.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"[{name}] must be written [[{name}]]")
    for entry in entries:
        _check_keys(entry, KEYS[name], f"[[{name}]]")
        for key, value in entry.items():
            if not isinstance(value, str):
                raise ValueError(f"[[{name}]] {key} must be a text in quotes")  # noqa: TRY004
    return entries


def _check_keys(content: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in content:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            raise ValueError(f"{where} has the unknown key {key!r}; {hint}")
