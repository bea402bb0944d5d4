"""Applies a table to a message: fields to elements, and what the sender wants removed.

A message says what it says: empty leaves an element as it is, "" removes it, a value sets it. So
a table gives a draft, and `merged` lays the draft over what the record holds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chartgate.formats.hl7v2 import NULL, Message, Segment
from chartgate.model.resource import Resource
from chartgate.transform.hl7v2.datatypes import KINDS, Context, Unmappable
from chartgate.transform.hl7v2.tables import Row

# Of each group at most one element may stand (FHIR's choice types).
CHOICES = (
    ("deceasedBoolean", "deceasedDateTime"),
    ("multipleBirthBoolean", "multipleBirthInteger"),
)
ACCUMULATED = ("link",)  # a second merge adds to the first
DELETED = "D"  # segment action code


@dataclass(kw_only=True)
class Draft:
    """What one message says about one resource."""

    resource: Resource
    removed: tuple[str, ...] = ()  # paths that the sender wants gone
    defaults: Resource = field(default_factory=dict)  # where neither it nor the record says

    @property
    def reference(self) -> str:
        return f"{self.resource['resourceType']}/{self.resource['id']}"


def drafted(
    rows: Sequence[Row], message: Message, context: Context, start: Mapping[str, Any]
) -> Draft:
    """A draft by the table. Raises Unmappable with the position of the field."""
    resource: Resource = dict(start)
    cleared: list[str] = []
    for row in rows:
        name, _, number = row.source.partition("-")
        for segment in _segments(message, name, every=row.every):
            if segment.raw(int(number)) == NULL:
                cleared.append(row.target)
            elif not (row.unless and _is_valued(message, row.unless)):
                _apply(row, segment, int(number), context, resource)
    removed = [path.partition("[")[0] for path in cleared]
    return Draft(
        resource=resource,
        removed=tuple(sorted({path for path in removed if _find(resource, path) is None})),
    )


def merged(before: Resource | None, draft: Draft) -> Resource:
    """The draft laid over what the record holds. Lists are replaced, save those that add up."""
    result = _overlaid(before or {}, draft.resource)
    for name in ACCUMULATED:
        held = (before or {}).get(name, [])
        said = draft.resource.get(name, [])
        if held and said:
            result[name] = [*held, *(item for item in said if item not in held)]
    for path in draft.removed:
        _remove(result, path.split("."))
    for group in CHOICES:
        said_now = [name for name in group if name in draft.resource]
        for name in group:
            if said_now and name not in said_now:
                result.pop(name, None)
    for name, value in draft.defaults.items():
        result.setdefault(name, value)
    return result


def _apply(row: Row, segment: Segment, number: int, context: Context, resource: Resource) -> None:
    kind = KINDS[row.kind]
    own = Context(context.settings, context.zone, row.codes)
    repetitions = segment.repetitions(number)
    for cx in repetitions if row.many else repetitions[:1]:
        try:
            value = kind(cx, own)
        except Unmappable as error:
            raise Unmappable(f"{row.source} {error}", position=row.source) from None
        if value is not None:
            _place(resource, row.target, value, row.extra)


def _place(resource: Resource, target: str, value: Any, extra: Mapping[str, Any]) -> None:
    """Puts a value at a path. An item of a list takes what stands beside it, unless it says
    that itself."""
    path, marked, tail = target.partition("[]")
    *parents, last = path.split(".")
    node = resource
    for name in parents:
        node = node.setdefault(name, {})
    if not marked:
        node[last] = value
        return
    item: Any = value
    for name in reversed([part for part in tail.split(".") if part]):
        item = {name: item}
    if isinstance(item, dict):
        item = {**extra, **item}
    items: list[Any] = node.setdefault(last, [])
    if item not in items:
        items.append(item)


def _segments(message: Message, name: str, *, every: bool) -> Iterable[Segment]:
    found = message.segments(name)
    if not every:
        return found[:1]
    return [segment for segment in found if segment.raw(2) != DELETED]


def _is_valued(message: Message, source: str) -> bool:
    name, _, number = source.partition("-")
    segment = message.segment(name)
    return segment is not None and segment.raw(int(number)) not in ("", NULL)


def _overlaid(before: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(before)
    for name, value in said.items():
        held = result.get(name)
        both = isinstance(held, dict) and isinstance(value, dict)
        # A coded value is one thing; a period or a stay is a folder of values.
        whole = both and bool({"coding", "code", "text", "reference"} & value.keys())
        result[name] = _overlaid(held, value) if both and held and not whole else value
    return result


def _find(node: Any, path: str) -> Any:
    for name in path.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _remove(node: dict[str, Any], path: Sequence[str]) -> None:
    name, *rest = path
    if not rest:
        node.pop(name, None)
    elif isinstance(node.get(name), dict):
        child = dict(node[name])
        _remove(child, rest)
        if child:
            node[name] = child
        else:
            del node[name]
