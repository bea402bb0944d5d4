"""Applies tables to segments: what a message says about a resource, and what becomes of the record.

A message says what it says: empty leaves an element as it is, "" removes it, a value sets it. So
a table gives a draft, and `merged` lays the draft over what the record holds. Each item of a list
carries the id of the field that it came from ("PID-13.1"), so that a later message replaces the
items of the fields that it values, and no others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson

from chartgate.formats import r4
from chartgate.formats.hl7v2 import NULL, Composite, Message, Segment, Separators
from chartgate.model.resource import Resource
from chartgate.transform.hl7v2.datatypes import Context, Unmappable
from chartgate.transform.hl7v2.rows import Finder, Row, Table

Path = tuple[str, ...]
Trace = tuple[Segment, Row]
Named = dict[tuple[Path, str, int], Any]  # items that several rows fill, by list, name, number


@dataclass(kw_only=True, slots=True)
class Draft:
    """What one message says about one resource."""

    resource_type: str
    id: str
    puts: dict[Path, Any] = field(default_factory=dict)
    lists: dict[tuple[Path, str], list[Any]] = field(default_factory=dict)  # by list and id prefix
    keyed: dict[Path, dict[str, dict[str, Any] | None]] = field(default_factory=dict)  # by item id
    contents: dict[tuple[Path, str], tuple[int, set[bytes]]] = field(default_factory=dict)
    cleared: set[tuple[Path, str]] = field(default_factory=set)  # "": not a list
    defaults: dict[str, Any] = field(default_factory=dict)  # where nobody says otherwise
    trace: list[Trace] = field(default_factory=list)  # which row took what from where

    @property
    def reference(self) -> str:
        """ "Patient/…", by which others refer to it."""
        return f"{self.resource_type}/{self.id}"

    def put(self, path: str, value: Any) -> None:
        """Sets an element, unless the value is None; `path` is e.g. "period.start"."""
        if value is not None:
            self.puts[tuple(path.split("."))] = value

    def put_new(self, path: str, value: Any) -> None:
        """As `put`, where nothing has been said about the element yet."""
        if self.get(path) is None:
            self.put(path, value)

    def get(self, path: str) -> Any:
        """What the message says about an element; None: nothing."""
        return self.puts.get(tuple(path.split(".")))

    def add(self, path: str, prefix: str, item: Any) -> None:
        """Adds an item to a list; all items of one prefix are replaced together."""
        if item is not None:
            self.add_at(tuple(path.split(".")), prefix, item)

    def add_at(self, path: Path, prefix: str, item: Any) -> None:
        """As `add`, of an item that is there and a path that is taken apart."""
        items = self.lists.setdefault((path, prefix), [])
        if items and self._is_said(path, prefix, items, item):
            return
        if isinstance(item, dict):
            item = {"id": f"{prefix}.{len(items) + 1}", **item}
        items.append(item)

    def _is_said(self, path: Path, prefix: str, items: list[Any], item: Any) -> bool:
        """Whether an item of equal content is there. Contents are looked up, not compared in
        turn: a field may repeat a hundred thousand times."""
        count, known = self.contents.get((path, prefix), (0, set()))
        if count != len(items):
            known = {_content(held) for held in items}
        content = _content(item)
        found = content in known
        known.add(content)
        self.contents[(path, prefix)] = (len(items) + (not found), known)
        return found

    def remove_keyed(self, path: str, key: str) -> None:
        """Takes away the item with this key, and no other."""
        self.keyed.setdefault(tuple(path.split(".")), {})[key] = None

    def add_keyed(self, path: str, key: str, item: Mapping[str, Any]) -> None:
        """Adds an item that takes the place of the one with the same key and of no other, so
        that what this message does not name stays; in order. A key is an id, no field's."""
        self.keyed.setdefault(tuple(path.split(".")), {})[key] = {"id": key, **item}

    def refer(self, path: str, to: "Draft | None") -> None:
        """A reference to another resource of the message."""
        if to is not None:
            self.put(path, {"reference": to.reference})


def apply(
    table: Table,
    segment: Segment,
    message: Message,
    draft: Draft,
    context: Context,
    *,
    around: Finder | None = None,
) -> None:
    """Adds to the draft what the segment says. Raises Unmappable with the field's position.

    `around` is where conditions on other segments look: the group of the segment, where it is in
    one; else the message.
    """
    fields = segment.fields
    count = len(fields)
    marks = message.separators
    near = around or message
    named: Named = {}
    for row in table.rows:
        number = row.source.field
        if number >= count:
            continue
        raw = fields[number]
        if not raw or (row.holds is not None and not row.holds(segment, near)):
            continue
        if raw == NULL:
            if not row.tail or not row.item:
                draft.cleared.add((row.path, row.prefix if row.listed else ""))
            continue
        if row.kind is None:
            _place(row, 1, row.constant, draft, named)
        elif marks.repetition not in raw:
            value = _value(row, raw, segment, marks, context)
            if value is None:
                continue
            _place(row, 1, value, draft, named)
        elif not _place_all(row, raw, segment, marks, draft, context, named):
            continue
        draft.trace.append((segment, row))


def _place_all(
    row: Row,
    raw: str,
    segment: Segment,
    marks: Separators,
    draft: Draft,
    context: Context,
    named: Named,
) -> bool:
    """Places what the repetitions of a field say; whether any said something."""
    said = False
    for nth, text in enumerate(raw.split(marks.repetition), 1):
        value = _value(row, text, segment, marks, context) if text else None
        if value is not None:
            _place(row, nth, value, draft, named)
            said = True
            if row.once or not row.listed:
                break
    return said


def _content(item: Any) -> bytes:
    """An item without its id, as bytes that are equal where it is."""
    said = {**item, "id": ""} if isinstance(item, dict) else item
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def merged(before: Resource | None, draft: Draft, *, late: bool = False) -> Resource:
    """The draft laid over what the record holds.

    A late message, older than what the record knows, fills what nobody has said yet and changes
    nothing else.
    """
    result = dict(before) if before else {"resourceType": draft.resource_type, "id": draft.id}
    if not late:
        for path, prefix in draft.cleared:
            if prefix:
                _replace_items(result, path, prefix, [])
            elif path not in draft.puts:
                _remove(result, path)
    _lay_lists(result, draft, late=late)
    for path, value in draft.puts.items():
        rivals = choice_rivals(draft.resource_type, path[0])
        if late and (_find(result, path) is not None or any(r in result for r in rivals)):
            continue
        for rival in rivals:
            result.pop(rival, None)
        _set(result, path, value)
    for name, value in draft.defaults.items():
        if not any(rival in result for rival in choice_rivals(draft.resource_type, name)):
            result.setdefault(name, value)
    return result


@cache
def choice_rivals(resource_type: str, name: str) -> tuple[str, ...]:
    """The other elements of a choice, of which at most one may stand."""
    known = r4.elements(resource_type)
    own = known.get(name)
    if own is None or not own.choice:
        return ()
    return tuple(e.name for e in known.values() if e.base == own.base and e.name != name)


def _value(row: Row, text: str, segment: Segment, marks: Separators, context: Context) -> Any:
    composite = Composite(text, marks, segment.charset)
    source = row.source
    if source.component:  # the field taken apart: a component reads as a field of its own
        part = composite.part(source.component)
        if not part:
            return None
        composite = Composite(part, inner_marks(marks), segment.charset)
        if source.subcomponent:
            inner = composite.part(source.subcomponent)
            composite = Composite(inner, inner_marks(marks), segment.charset)
    kind: Callable[[Composite, Context, Mapping[str, Any]], Any] | None = row.kind
    assert kind is not None, "a constant has no value to take"
    try:
        return kind(composite, context, row.codes)
    except Unmappable as error:
        raise Unmappable(f"{source} {error}", position=str(source)) from None


def _place(row: Row, nth: int, value: Any, draft: Draft, named: Named) -> None:
    if not row.listed:
        draft.puts[row.path] = value
        return
    if row.item:
        # Repetitions go into a list of the item, where it has one; else each is an item.
        one = row.kind is None or (row.tail and row.tail[-1].endswith("[]"))
        key = (row.path, row.item, 1 if one else nth)
        item = named.get(key)
        if item is None:
            # The item is added first and filled by the rows that follow.
            items = draft.lists.setdefault((row.path, row.prefix), [])
            item = named[key] = {"id": f"{row.prefix}.{len(items) + 1}", **row.beside}
            items.append(item)
        else:
            item.update(row.beside)
        _fill(item, row.tail, value)
        return
    if row.tail:
        item = {**row.beside}
        _fill(item, row.tail, value)
    elif isinstance(value, dict):
        item = {**row.beside, **value}
    else:
        item = value
    draft.add_at(row.path, row.prefix, item)


def _fill(item: dict[str, Any], tail: Path, value: Any) -> None:
    """Puts a value under an item; "name[]" on the way makes a list of it."""
    node = item
    if not tail:
        node.update(value)
        return
    for name in tail[:-1]:
        if name.endswith("[]"):
            node = node.setdefault(name[:-2], [{}])[0]
        else:
            held = node.get(name)
            node[name] = node = {**held} if held else {}
    last = tail[-1]
    if last.endswith("[]"):
        node[last[:-2]] = [*node.get(last[:-2], []), value]
    else:
        node[last] = value


@cache
def inner_marks(marks: Separators) -> Separators:
    """Those with which a component's sub-components read as components."""
    return Separators(
        marks.field, marks.subcomponent, marks.repetition, marks.escape, "\x00", marks.truncation
    )


def _replace_items(node: dict[str, Any], path: Path, prefix: str, items: list[Any]) -> None:
    held = _find(node, path) or []
    kept = [item for item in held if not _is_of(item, prefix)]
    found = [*kept, *items]
    if kept and all(isinstance(item, dict) for item in found):
        found.sort(key=_rank)
    if found:
        _set(node, path, found)
    elif held:
        _remove(node, path)


def _lay_lists(result: dict[str, Any], draft: Draft, *, late: bool) -> None:
    for (path, prefix), items in draft.lists.items():
        if not late or not _has_items(result, path, prefix):
            _replace_items(result, path, prefix, items)
    for path, by_key in draft.keyed.items():
        found = _replaced_by_key(_find(result, path) or [], by_key, late=late)
        if found:
            _set(result, path, found)
        else:
            _remove(result, path)


def _replaced_by_key(
    held: list[dict[str, Any]], by_key: Mapping[str, dict[str, Any] | None], *, late: bool
) -> list[dict[str, Any]]:
    known = {item.get("id") for item in held}
    kept = [item if late else by_key.get(item.get("id", ""), item) for item in held]
    added = [item for key, item in by_key.items() if key not in known]
    found = [item for item in (*kept, *added) if item is not None]
    return sorted(found, key=_rank)


def _has_items(node: dict[str, Any], path: Path, prefix: str) -> bool:
    return any(_is_of(item, prefix) for item in _find(node, path) or ())


def _is_of(item: Any, prefix: str) -> bool:
    """Items that are bare values carry no id, and are replaced whichever field says others."""
    return not isinstance(item, dict) or str(item.get("id", "")).rpartition(".")[0] == prefix


def _rank(item: Mapping[str, Any]) -> tuple[str, int, int]:
    """By field; what has a key of its own comes last, in the order in which it came."""
    prefix, dot, nth = str(item.get("id", "")).rpartition(".")
    if not dot:
        return "~", 0, 0
    segment, _, number = prefix.partition("-")
    digits = number.partition("-")[0]
    return segment, int(digits) if digits.isdecimal() else 0, int(nth) if nth.isdecimal() else 0


def _find(node: Any, path: Path) -> Any:
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _set(node: dict[str, Any], path: Path, value: Any) -> None:
    """Sets a value; what is held by others is copied on the way, never changed."""
    for name in path[:-1]:
        held = node.get(name)
        node[name] = node = dict(held) if isinstance(held, dict) else {}
    node[path[-1]] = value


def _remove(node: dict[str, Any], path: Path) -> None:
    name, *rest = path
    if not rest:
        node.pop(name, None)
    elif isinstance(node.get(name), dict):
        child = dict(node[name])
        _remove(child, tuple(rest))
        if child:
            node[name] = child
        else:
            del node[name]
