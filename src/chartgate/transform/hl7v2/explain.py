"""Why an element says what it says: which row took it from where, and what nobody took."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chartgate.formats.hl7v2 import NULL, Message, Segment
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.messages import Transformed
from chartgate.transform.hl7v2.rows import Row
from chartgate.transform.hl7v2.settings import FeedSettings

HEADER = "MSH"
HEADER_READ = frozenset({1, 2, 7, 9, 10, 12, 15, 16, 18})  # by the codec and by intake
HEADER_TABLE = "MSH.MessageHeader"  # which stands in no record, only in a message as a Bundle
EVENT_READ = frozenset({1, 2})  # the trigger again, and when it happened
SAY_NO_ROW = "no row of the tables takes it"
SAY_NOT_APPLIED = "a row takes it, but not with this value or in this message"
SAY_SET_ID = "numbers the segment"
SET_ID = 1
NOT_NUMBERED = frozenset({"EVN", "MRG", "MSA", "MSH", "ORC", "PD1", "PDA", "PRB", "PRT", "PV2",
                          "ROL", "RXA", "RXC", "RXD", "RXE", "RXG", "RXO", "RXR", "SCH", "SFT",
                          "GOL", "CTD", "CTI", "BHS", "FHS"})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Made:
    """One element, and the row that made it, or took it away."""

    reference: str
    element: str  # path in the resource
    position: str  # "PID-5", "OBX[2]-3.1": the second OBX of the message; empty: no one field
    table: str  # "PID.Patient"; empty: made in code, of ids, references and the trigger
    row: str  # "PID-5 name[]"
    removed: bool = False  # the message says "": there is none


@dataclass(frozen=True, kw_only=True)
class Left:
    """A valued field that became nothing, and why."""

    position: str
    reason: str
    deliberate: bool  # False: nobody decided it


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """All that became of a message."""

    made: tuple[Made, ...]
    left: tuple[Left, ...]


def explain(message: Message, said: Transformed, settings: FeedSettings) -> Explanation:
    """Where each element came from, in the order of the resources; what was left, in the order of
    the message."""
    places = _places(message)
    removed = list(_removed(message, said, settings))
    made = tuple(
        one
        for draft in said.drafts
        for one in (
            *(_made(draft, segment, row, places) for segment, row in draft.trace),
            *(
                _made(draft, segment, row, places, removed=True)
                for found, segment, row in removed
                if found is draft
            ),
            *_in_code(draft),
        )
    )
    taken = {(s.position, row.source.field) for d in said.drafts for s, row in d.trace}
    taken |= {(segment.position, row.source.field) for _, segment, row in removed}
    return Explanation(
        made=tuple(dict.fromkeys(made)),
        left=tuple(_left(message, taken, settings, places)),
    )


def _made(
    draft: Draft, segment: Segment, row: Row, places: Mapping[int, str], *, removed: bool = False
) -> Made:
    table, _, rest = row.id.partition(" ")
    return Made(
        reference=draft.reference,
        element=_element(row),
        position=_position(segment, str(row.source).partition("-")[2], places),
        table=table,
        row=rest,
        removed=removed,
    )


def _in_code(draft: Draft) -> Iterator[Made]:
    """The elements that no row made: references, ids, and what follows from the trigger."""
    by_rows = {row.path[0] for _, row in draft.trace}
    paths = [*draft.puts, *(path for path, _ in draft.lists), *draft.keyed]
    names = dict.fromkeys([*(path[0] for path in paths), *draft.defaults])
    for name in names:
        if name not in by_rows:
            yield Made(reference=draft.reference, element=name, position="", table="", row="")


def _removed(
    message: Message, said: Transformed, settings: FeedSettings
) -> Iterator[tuple[Draft, Segment, Row]]:
    """What an explicit null takes away: the rows whose field holds one, where it was heeded."""
    for segment in message.segments():
        if NULL not in segment.fields:
            continue
        for name, table in settings.tables.tables.items():
            if not name.startswith(f"{segment.name}."):
                continue
            for row in table.rows:
                if segment.raw(row.source.field) == NULL:
                    key = (row.path, row.prefix if row.listed else "")
                    about = name.partition(".")[2].partition("-")[0]
                    yield from (
                        (draft, segment, row)
                        for draft in said.drafts
                        if draft.resource_type == about and key in draft.cleared
                    )


def _left(
    message: Message,
    taken: set[tuple[int, int]],
    settings: FeedSettings,
    places: Mapping[int, str],
) -> Iterator[Left]:
    known = {row.source for table in settings.tables.tables.values() for row in table.rows}
    fields = {(source.segment, source.field) for source in known}
    coded, unmapped = _remarks(settings)
    in_header = settings.tables.table(HEADER_TABLE).rows
    header = {f"{row.source.segment}-{row.source.field}" for row in in_header}
    for segment in message.segments():
        for number, raw in enumerate(segment.fields[1:], 1):
            name = f"{segment.name}-{number}"
            if not raw or (segment.position, number) in taken or _is_read(segment.name, number):
                continue
            if name in coded or name in header:
                continue
            reason = unmapped.get(name, "")
            if not reason and number == SET_ID and _is_numbered(segment.name):
                reason = SAY_SET_ID
            other = SAY_NOT_APPLIED if (segment.name, number) in fields else SAY_NO_ROW
            yield Left(
                position=_position(segment, str(number), places),
                reason=reason or other,
                deliberate=bool(reason),
            )


def _is_read(name: str, number: int) -> bool:
    return (name == HEADER and number in HEADER_READ) or (name == "EVN" and number in EVENT_READ)


def _is_numbered(name: str) -> bool:
    return name not in NOT_NUMBERED and not name.startswith("Z")


def _remarks(settings: FeedSettings) -> tuple[set[str], dict[str, str]]:
    """By field, "PID-9": those that code takes, and why others are deliberately left."""
    coded: set[str] = set()
    unmapped: dict[str, str] = {}
    for table in settings.tables.tables.values():
        coded.update(position.partition(".")[0] for position in table.coded)
        unmapped.update(table.unmapped)
    return coded, unmapped


def _places(message: Message) -> dict[int, str]:
    """By position, how a segment is named: "PID", or "OBX[2]" where there are several."""
    segments = list(message.segments())
    counts = Counter(segment.name for segment in segments)
    seen: Counter[str] = Counter()
    places = {}
    for segment in segments:
        seen[segment.name] += 1
        several = counts[segment.name] > 1
        places[segment.position] = segment.name + (f"[{seen[segment.name]}]" if several else "")
    return places


def _position(segment: Segment, numbers: str, places: Mapping[int, str]) -> str:
    place = places.get(segment.position, segment.name)
    return f"{place}-{numbers}" if numbers else place


def _element(row: Row) -> str:
    item = f"[{row.item}]" if row.listed else ""
    return ".".join((".".join(row.path) + item, *row.tail))
