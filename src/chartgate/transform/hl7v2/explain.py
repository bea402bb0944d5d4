"""Why an element says what it says: which row took it from where, and what nobody took."""

from collections.abc import Iterator
from dataclasses import dataclass

from chartgate.formats.hl7v2 import NULL, Message, Segment
from chartgate.transform.hl7v2.messages import Transformed
from chartgate.transform.hl7v2.rows import Row
from chartgate.transform.hl7v2.settings import FeedSettings

HEADER_READ = frozenset({1, 2, 3, 4, 7, 9, 10, 11, 12, 15, 16, 18})  # by intake and Provenance
EVENT_READ = frozenset({1, 2})  # the trigger again, and when it happened
SAY_NO_ROW = "no row of this site's tables takes it"
SAY_SET_ID = "numbers the segment"
SET_ID = 1
SET_IDS_NOT = frozenset({"MSH", "EVN", "ORC", "SCH", "PD1", "PV2", "RXA", "RXE", "RXD", "RXO"})


@dataclass(frozen=True, kw_only=True)
class Made:
    """One element, and the row that made it."""

    reference: str
    element: str  # path in the resource
    position: str  # "PID[3]-5": the segment's number in the message, and the field
    table: str
    row: str


@dataclass(frozen=True, kw_only=True)
class Left:
    """A valued field that became nothing, and why."""

    position: str
    reason: str
    deliberate: bool  # False: no row knows it


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """All that became of a message."""

    made: tuple[Made, ...]
    left: tuple[Left, ...]


def explain(message: Message, said: Transformed, settings: FeedSettings) -> Explanation:
    """Where each element came from, in the order of the resources; what was left, in the order of
    the message."""
    made = tuple(
        Made(
            reference=draft.reference,
            element=_element(row),
            position=_position(segment, row.source.field),
            table=row.id.partition(" ")[0],
            row=row.id.partition(" ")[2],
        )
        for draft in said.drafts
        for segment, row in draft.trace
    )
    return Explanation(made=made, left=tuple(_left(message, said, settings)))


def _left(message: Message, said: Transformed, settings: FeedSettings) -> Iterator[Left]:
    taken = {(s.position, row.source.field) for d in said.drafts for s, row in d.trace}
    removed = {(prefix or path) for d in said.drafts for path, prefix in d.cleared}
    reasons = _remarks(settings)
    for segment in message.segments():
        for number, raw in enumerate(segment.fields[1:], 1):
            position = f"{segment.name}-{number}"
            if not raw or (segment.position, number) in taken or _is_read(segment.name, number):
                continue
            if raw == NULL and removed:
                continue
            coded, reason = reasons.get(position, (False, ""))
            if coded:
                continue
            if not reason and number == SET_ID and segment.name not in SET_IDS_NOT:
                reason = SAY_SET_ID
            yield Left(
                position=_position(segment, number),
                reason=reason or SAY_NO_ROW,
                deliberate=bool(reason),
            )


def _is_read(name: str, number: int) -> bool:
    return (name == "MSH" and number in HEADER_READ) or (name == "EVN" and number in EVENT_READ)


def _remarks(settings: FeedSettings) -> dict[str, tuple[bool, str]]:
    """By position, what the tables say of fields that no row takes; (True, …): code takes it."""
    found: dict[str, tuple[bool, str]] = {}
    for table in settings.tables.tables.values():
        found.update((position, (False, why)) for position, why in table.unmapped.items())
    for table in settings.tables.tables.values():
        found.update((position, (True, why)) for position, why in table.coded.items())
    return found


def _position(segment: Segment, number: int) -> str:
    return f"{segment.name}[{segment.position}]" + (f"-{number}" if number else "")


def _element(row: Row) -> str:
    item = f"[{row.item}]" if row.listed else ""
    return ".".join((".".join(row.path) + item, *row.tail))
