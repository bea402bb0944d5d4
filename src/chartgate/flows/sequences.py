"""Numbered links: a feed that goes by MSH-13 stops at a gap, until a person says how it goes on."""

from dataclasses import dataclass

from chartgate.errors import Invalid, NotFound
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.principal import Process
from chartgate.store.sequences import ANY, LAST, SequenceStore


@dataclass(frozen=True, kw_only=True)
class Link:
    """One sender over one connection, and the number that is awaited."""

    connection: str
    sender: str  # MSH-3|MSH-4
    expected: int  # −1: whichever it sends next


async def links(gate: Gate) -> tuple[Link, ...]:
    """All numbered links."""
    return tuple(
        Link(connection=connection, sender=sender, expected=expected)
        for connection, sender, expected in await SequenceStore(gate.database).links()
    )


async def reset(
    gate: Gate, operator: Process, connection: str, sender: str, *, expected: int
) -> Link:
    """Sets what is awaited; ANY takes whichever number comes next. Raises NotFound, Invalid."""
    if expected != ANY and not 1 <= expected <= LAST:
        raise Invalid(f"a number is from 1 to {LAST}, or {ANY} for whichever comes next")
    known = {(link.connection, link.sender): link for link in await links(gate)}
    if (connection, sender) not in known:
        there = ", ".join(f"{c} {s}" for c, s in known) or "none"
        raise NotFound(f"no numbered link {connection} {sender}; there are: {there}")
    event = AuditEvent(
        recorded=gate.clock(),
        action="feed.sequence-reset",
        agent=operator.agent,
        details=(
            ("connection", connection),
            ("sender", sender),
            ("before", str(known[connection, sender].expected)),
            ("after", str(expected)),
        ),
    )
    store = SequenceStore(gate.database)
    await store.reset(connection, sender, expected=expected, audit=event)
    return Link(connection=connection, sender=sender, expected=expected)
