"""FHIR JSON as rows that a person reads: a label and a text, no braces.

Differences are shown whole: an approval is bound to them, so a row may put what it says in other
words, but never leave anything out.
"""

import base64
import binascii
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from chartgate.model.proposal import Difference
from chartgate.model.resource import Resource
from chartgate.policy.differences import TEXT_LENGTH_MAX, TEXT_VIEW
from chartgate.policy.reviewing import key_of
from chartgate.web.console.wording import (
    CODING_PARTS,
    Names,
    coding_text,
    element_text,
    text_of,
    visible,
)

TICK = "acknowledge-"  # begins the names of checkboxes
ROWS_MAX = 80  # of one resource that the AI saw
LINE_ROWS_MAX = 8  # of one resource in a list of many
SKIPPED = frozenset({"resourceType", "id", "meta"})
WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
INDEX = re.compile(r"\[(\d+)\]")
CODING = re.compile(rf"(.+)\.coding\[(\d+)\]\.({'|'.join(CODING_PARTS)})")
NEW = re.compile(r"([A-Za-z]+) \(new( \d+)?\)")
SAY_CUT = "… this text is longer than anyone can review here; refuse it, or hand it back"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One element."""

    label: str
    text: str


@dataclass(frozen=True, kw_only=True)
class DiffRow:
    """One element that would change. `kind` is added, removed or changed."""

    label: str
    before: str
    after: str
    kind: str
    tick: str = ""  # name of its checkbox, where it must be acknowledged
    keys: str = ""  # what the checkbox stands for: keys of differences, between tabs


@dataclass(frozen=True, kw_only=True)
class DiffGroup:
    """What would change in one resource. `kind` is new, removed or changed."""

    title: str  # "New appointment", "Slot"
    name: str  # what people call the resource; empty where they have no name for it
    reference: str  # empty for a new one
    kind: str
    rows: tuple[DiffRow, ...]


@dataclass
class _Cell:
    """A leaf, or the parts of one coding, before and after."""

    label: str
    before: Any = None
    after: Any = None
    parts: list[tuple[str, Any, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)  # of all differences that it shows


def rows_of(resource: Resource, names: Names) -> tuple[Row, ...]:
    """The elements of a resource in its own order, common data types in one row each."""
    found: list[Row] = []
    shown = {k: v for k, v in resource.items() if k not in SKIPPED}
    numbered = _numbered(path for path, _ in _elements(shown, "", {}))
    for path, text in _elements(shown, "", names):
        if len(found) == ROWS_MAX:
            found.append(Row(label="…", text="more elements are not shown here"))
            break
        found.append(Row(label=label_of(path, numbered), text=text))
    return tuple(found)


def line_of(resource: Resource, names: Names) -> str:
    """A resource in one line, for a list of many."""
    rows = rows_of(resource, names)
    text = " · ".join(row.text for row in rows[:LINE_ROWS_MAX] if row.text)
    return f"{text} · …" if len(rows) > LINE_ROWS_MAX else text


def json_of(resource: Resource) -> str:
    """A resource as data, indented."""
    return visible(json.dumps(resource, indent=2, ensure_ascii=False))


def groups_of(
    differences: Sequence[Difference], names: Names, *, acknowledge: Collection[str] = ()
) -> tuple[DiffGroup, ...]:
    """Differences by resource, in their order. Base64 is left out where its text is shown. A row
    that shows one of the keys to acknowledge has a checkbox."""
    grouped: dict[str, list[Difference]] = {}
    for difference in differences:
        grouped.setdefault(difference.reference, []).append(difference)
    numbers = count(1)
    asked = frozenset(acknowledge)
    return tuple(
        _group(reference, found, names, asked, numbers) for reference, found in grouped.items()
    )


def ticked(fields: Mapping[str, str]) -> tuple[str, ...]:
    """The keys behind the checkboxes of a form that were ticked."""
    ticks = [value for name, value in fields.items() if name.startswith(TICK)]
    return tuple(key for value in ticks for key in value.split("\t"))


def label_of(path: str, numbered: frozenset[str] = frozenset()) -> str:
    """ "participant[1].actor.reference" as "Participant 2 · actor". Places in a list are numbered
    where the list has more than one; `numbered` are the paths of such lists."""
    if path.endswith(TEXT_VIEW):
        return "Text"
    parts, walked = [], ""
    for part in path.removesuffix(".reference").split("."):
        name, _, index = part.partition("[")
        walked = f"{walked}.{name}" if walked else name
        words = WORDS.sub(" ", name).lower()
        place = index.partition("]")[0]
        several = place.isdigit() and (place != "0" or walked in numbered)
        parts.append(f"{words} {int(place) + 1}" if several else words)
        walked += f"[{index}" if index else ""
    text = " · ".join(parts)
    return text[:1].upper() + text[1:]


def attachment_text(resource: Mapping[str, Any] | None) -> str | None:
    """The first plain-text attachment of a DocumentReference, decoded; None if there is none."""
    contents = (resource or {}).get("content")
    for content in contents if isinstance(contents, list) else []:
        attachment = content.get("attachment") if isinstance(content, dict) else None
        if isinstance(attachment, dict) and is_plain_text(attachment):
            try:
                data = "".join(str(attachment.get("data", "")).split())
                return base64.b64decode(data, validate=True).decode("utf-8")
            except (binascii.Error, UnicodeDecodeError):
                return None
    return None


def is_plain_text(attachment: Mapping[str, Any]) -> bool:
    """Whether its data are a text that a reviewer can edit."""
    return str(attachment.get("contentType", "")).startswith("text/plain")


def _group(
    reference: str,
    differences: Sequence[Difference],
    names: Names,
    asked: frozenset[str],
    numbers: Iterator[int],
) -> DiffGroup:
    new = NEW.fullmatch(reference)
    decoded = {d.path.removesuffix(TEXT_VIEW) for d in differences if d.path.endswith(TEXT_VIEW)}
    numbered = _numbered(d.path for d in differences)
    cells: dict[str, _Cell] = {}
    for d in differences:
        # The title says the type; the text stands in for its own base64.
        if d.path not in decoded and not (new and d.path == "resourceType"):
            _add(cells, d, numbered)
    _add_keys(cells, differences)
    rows = tuple(_ticked(_diff_row(c, names), c, asked, numbers) for c in cells.values())
    kinds = {row.kind for row in rows}
    kind = "new" if new else "removed" if kinds == {"removed"} else "changed"
    words = WORDS.sub(" ", new[1] if new else reference.partition("/")[0])
    return DiffGroup(
        title=f"New {words.lower()}{new[2] or ''}" if new else words,
        name=names.get(reference, ""),
        reference="" if new else reference,
        kind=kind,
        rows=rows,
    )


def _add_keys(cells: dict[str, _Cell], differences: Sequence[Difference]) -> None:
    """Which differences each row stands for; a text also for its own base64."""
    for d in differences:
        coding = CODING.fullmatch(d.path)
        places = (
            d.path,
            d.path + TEXT_VIEW,
            f"{coding[1]}.coding[{coding[2]}]" if coding else d.path,
        )
        cell = next((cells[place] for place in places if place in cells), None)
        if cell is not None:
            cell.keys.append(key_of(d))


def _ticked(row: DiffRow, cell: _Cell, asked: frozenset[str], numbers: Iterator[int]) -> DiffRow:
    keys = [key for key in cell.keys if key in asked]
    return replace(row, tick=f"{TICK}{next(numbers)}", keys="\t".join(keys)) if keys else row


def _add(cells: dict[str, _Cell], difference: Difference, numbered: frozenset[str]) -> None:
    """A leaf of its own, or one more part of its coding."""
    d = difference
    match = CODING.fullmatch(d.path)
    if match is None:
        label = label_of(d.path, numbered)
        cells[d.path] = _Cell(label=label, before=d.before, after=d.after)
        return
    owner, place, part = match.groups()
    label = label_of(owner, numbered)
    if place != "0" or f"{owner}.coding" in numbered:
        label += f" · code {int(place) + 1}"
    cell = cells.setdefault(f"{owner}.coding[{place}]", _Cell(label=label))
    cell.parts.append((part, d.before, d.after))


def _diff_row(cell: _Cell, names: Names) -> DiffRow:
    if cell.parts:
        was = {part: old for part, old, _ in cell.parts if old is not None}
        becomes = {part: new for part, _, new in cell.parts if new is not None}
        before, after = coding_text(was), coding_text(becomes)
        there, stays = bool(was), bool(becomes)
        same = before == after
        raw = _raw(was), _raw(becomes)
    else:
        before, after = value_text(cell.before, names), value_text(cell.after, names)
        there, stays = cell.before is not None, cell.after is not None
        same = before == after
        raw = _raw(cell.before), _raw(cell.after)
    if same:  # two values in the same words: a difference must be seen
        before, after = raw
    kind = "changed" if there and stays else "removed" if there else "added"
    return DiffRow(label=cell.label, before=before, after=after, kind=kind)


def value_text(value: Any, names: Names) -> str:
    """One value as people read it; what has no words of its own as JSON."""
    if isinstance(value, dict | list):
        return _raw(value)
    text = text_of(value, names)
    return (
        f"{text}\n{SAY_CUT}" if isinstance(value, str) and len(value) >= TEXT_LENGTH_MAX else text
    )


def _raw(value: Any) -> str:
    """As JSON in ASCII, where nothing is unseen."""
    return "" if value is None else json.dumps(value)


def _numbered(paths: Iterable[str]) -> frozenset[str]:
    """The paths of the lists that have more than one place among these."""
    return frozenset(
        path[: match.start()] for path in paths for match in INDEX.finditer(path) if match[1] != "0"
    )


def _elements(value: Any, path: str, names: Names) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        text = element_text(value, names) if path else None
        if text is not None:
            yield path, text
            return
        for key, child in value.items():
            inner = key.removeprefix("_")
            yield from _elements(child, f"{path}.{inner}" if path else inner, names)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _elements(child, f"{path}[{index}]", names)
    elif value is not None:
        yield path, text_of(value, names)
