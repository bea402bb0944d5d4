"""What an operator does with a message that was set aside: look at it, mend a copy, dismiss it.

The original stays byte for byte. An edited copy is a message of its own that names its original,
is checked at the same door and goes its own way through the queue. Whoever looks is in the audit
before they see anything; audit events name places and digests, never values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chartgate.errors import Invalid, Unprocessable, VersionConflict
from chartgate.flows.feeds import settings_for
from chartgate.formats.hl7v2 import NULL, MalformedMessage, Message, parse
from chartgate.formats.hl7v2_edit import with_value
from chartgate.formats.hl7v2_place import Place, parse_place
from chartgate.formats.hl7v2_write import NULL_VALUE
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.message import Arrival, Received
from chartgate.model.principal import Person, Process
from chartgate.store.quarantine import (
    OpenCount,
    Opened,
    Quarantined,
    QuarantineStatus,
    QuarantineStore,
    Selection,
)
from chartgate.transform.hl7v2.admission import Refused, admit
from chartgate.transform.hl7v2.settings import FeedSettings

BECAUSE_MAX = 500  # characters
PLACES_MAX = 50  # that an audit event names
SAY_AS_FILE = "edit it as a file: `show ID --raw > FILE`, then `fix ID --file FILE`"

Operator = Person | Process


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Rows, and what is open in all by connection and class."""

    rows: tuple[Quarantined, ...]
    open: tuple[OpenCount, ...]


@dataclass(frozen=True, kw_only=True)
class FixPlan:
    """An edited copy that would be taken, and what it differs in."""

    original: Opened
    copy: Arrival
    places: tuple[str, ...]


async def listed(
    gate: Gate, selection: Selection, *, status: QuarantineStatus | None, limit: int
) -> Listing:
    """The newest rows first; nothing of any patient."""
    store = QuarantineStore(gate.database)
    return Listing(
        rows=await store.listed(selection, status=status, limit=limit),
        open=await store.summary(at=gate.clock()),
    )


async def show(gate: Gate, who: Operator, row: int) -> Opened:
    """One row with its bytes, once it is in the audit who looks. Raises NotFound, Unavailable."""
    opened = await QuarantineStore(gate.database).get(row)
    await gate.audit.record(
        AuditEvent(
            recorded=gate.clock(),
            action="quarantine.show",
            agent=who.agent,
            entities=_entities(opened),
            site=_site(gate, opened) or None,
            details=(("digest", opened.digest.hex()),),
        )
    )
    return opened


async def plan_fix(
    gate: Gate,
    who: Operator,
    row: int,
    *,
    values: Mapping[str, str] | None = None,
    edited: bytes | None = None,
) -> FixPlan:
    """The copy with `values` by place, or with the whole of it `edited`. Nothing is changed, but
    the plan shows what the message holds, so that it is audited as `show` is.

    Raises NotFound, Invalid, VersionConflict; Unprocessable where the copy would be refused.
    """
    opened = await show(gate, who, row)
    _check_open(opened)
    settings = replace(settings_for(gate, opened.connection), sequence=False)
    if edited is None:
        after = _with_values(opened, values or {}, settings)
        places = tuple(values or {})
    else:
        after = edited
        places = changed_places(opened.raw, edited, charset_default=settings.charset)
    if after == opened.raw:
        raise Invalid("the copy would be the same, byte for byte; nothing is to be done")
    received = Received(connection=opened.connection, raw=after)
    found = admit(received, settings, gate.clock())
    if isinstance(found, Refused):
        wrong = found.rejected
        where = f" ({wrong.position})" if wrong.position else ""
        raise Unprocessable(f"the copy would be refused: {wrong.reason}{where}")
    assert isinstance(found, Arrival), "without the sequence protocol there is nothing else"
    return FixPlan(original=opened, copy=found, places=places)


async def fix(gate: Gate, who: Operator, plan: FixPlan) -> int:
    """Queues the copy in its patient's lane and closes the row; the message's id.

    Raises VersionConflict where somebody else has dealt with the row since.
    """
    original, copy, at = plan.original, plan.copy, gate.clock()
    store = QuarantineStore(gate.database)
    async with gate.database.change_found() as (transaction, audit):
        closed = await store.close_in(
            transaction, original.id, QuarantineStatus.FIXED, at=at, by=who.agent
        )
        if not closed:
            raise VersionConflict(f"{original.id} was dealt with meanwhile; look at it again")
        control_id = f"{copy.control_id}#{original.id}.{original.count}"
        message = await store.insert_copy_in(
            transaction, copy, control_id=control_id, edited_from=original.id
        )
        if message is None:
            raise VersionConflict(f"a copy of {original.id} was queued before; nothing was done")
        audit.append(
            AuditEvent(
                recorded=at,
                action="quarantine.fix",
                agent=who.agent,
                entities=(*_entities(original), f"Message/{message}"),
                site=_site(gate, original) or None,
                details=(
                    ("places", " ".join(plan.places[:PLACES_MAX])),
                    ("digest", original.digest.hex()),
                    ("copy_digest", copy.digest.hex()),
                ),
            )
        )
    return message


async def dismiss(gate: Gate, who: Operator, row: int, *, because: str) -> None:
    """Closes a row without doing anything about its message. Raises NotFound, Invalid,
    VersionConflict. The reason is kept: no patient data."""
    words = because.strip()
    if not words or len(words) > BECAUSE_MAX or not words.isprintable():
        raise Invalid(f"say why, in one line of at most {BECAUSE_MAX} characters")
    store = QuarantineStore(gate.database)
    opened = await store.get(row)
    _check_open(opened)
    at = gate.clock()
    event = AuditEvent(
        recorded=at,
        action="quarantine.dismiss",
        agent=who.agent,
        entities=_entities(opened),
        site=_site(gate, opened) or None,
        reason=words,
        details=(("digest", opened.digest.hex()),),
    )
    async with gate.database.change(event) as transaction:
        closed = await store.close_in(
            transaction,
            row,
            QuarantineStatus.DISMISSED,
            at=at,
            by=who.agent,
            because=words,
        )
        if not closed:
            raise VersionConflict(f"{row} was dealt with meanwhile; look at it again")


def changed_places(before: bytes, after: bytes, *, charset_default: str = "") -> tuple[str, ...]:
    """Fields that differ, and segments that only one of the two has; ("message",) where one of
    them cannot be read."""
    try:
        old, new = (_fields(parse(raw, charset_default=charset_default)) for raw in (before, after))
    except MalformedMessage:
        return ("message",)
    places: list[str] = []
    for name, number in dict.fromkeys([*old, *new]):
        left, right = old.get((name, number)), new.get((name, number))
        if left is None or right is None:
            places.append(str(Place(segment=name, occurrence=number)))
            continue
        for field in range(1, max(len(left), len(right))):
            if left[field : field + 1] != right[field : field + 1]:
                places.append(str(Place(segment=name, occurrence=number, field=field)))
    return tuple(places) or ("line ends",)


def _fields(message: Message) -> dict[tuple[str, int], list[str]]:
    seen: dict[str, int] = {}
    found: dict[tuple[str, int], list[str]] = {}
    for segment in message.segments():
        seen[segment.name] = seen.get(segment.name, 0) + 1
        found[segment.name, seen[segment.name]] = list(segment.fields)
    return found


def _with_values(opened: Opened, values: Mapping[str, str], settings: FeedSettings) -> bytes:
    if not values:
        raise Invalid("say what to change: --set PLACE=VALUE, or --file FILE")
    raw = opened.raw
    places: Sequence[tuple[Place, str]] = [(parse_place(p), v) for p, v in values.items()]
    for place, value in places:
        try:
            new = NULL_VALUE if value == NULL else value
            raw = with_value(raw, place, new, charset_default=settings.charset)
        except MalformedMessage as error:
            raise Invalid(f"{error}, so no single value can be set; {SAY_AS_FILE}") from None
    return raw


def _check_open(opened: Opened) -> None:
    if opened.status is not QuarantineStatus.OPEN:
        by = f" by {opened.resolved_by}" if opened.resolved_by else ""
        raise VersionConflict(f"{opened.id} is {opened.status.value} already{by}")
    if opened.queued_again:
        raise VersionConflict(
            f"the message of {opened.id} waits for another try; see what comes of it first"
        )


def _entities(opened: Quarantined) -> tuple[str, ...]:
    message = () if opened.inbox_id is None else (f"Message/{opened.inbox_id}",)
    return (f"Quarantine/{opened.id}", *message)


def _site(gate: Gate, opened: Quarantined) -> str:
    connection = gate.config.connections.get(opened.connection)
    return connection.site if connection else ""
