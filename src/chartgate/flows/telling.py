"""Writes that go out as messages: an action whose charter names a connection under `through`.

What is read, guarded and shown stays with the site's own connection; the change alone goes to a
system that takes messages. Here its message is made, from the resources as they stand right now,
so that the intent holds the very bytes that are sent. What no message can tell is refused before
anything is sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from chartgate.config import ConnectionConfig
from chartgate.errors import (
    ConfigError,
    NotFound,
    OutcomeUnknown,
    Unprocessable,
    VersionConflict,
    WriteRefused,
)
from chartgate.flows.feeds import zone_of
from chartgate.flows.grounds import Grounds
from chartgate.flows.guards import look, together
from chartgate.formats.hl7v2 import MalformedMessage
from chartgate.formats.hl7v2_write import Unwritable
from chartgate.gate import Gate
from chartgate.model.charter import ActionRule
from chartgate.model.ports import LastLook, Messenger, Source
from chartgate.model.proposal import Proposal
from chartgate.model.resource import Copy, Resource
from chartgate.model.write import Change, Prepared, Receipt, Write, marks_of
from chartgate.policy.differences import after_images
from chartgate.transform.hl7v2_out.compose import check_sayable, compose, names
from chartgate.transform.hl7v2_out.datatypes import Unsayable
from chartgate.transform.hl7v2_out.settings import SendSettings
from chartgate.transform.hl7v2_out.subject import Told
from chartgate.transform.hl7v2_out.tables import extended, own_tables

NAMED_MAX = 30  # resources that one message is made of
FILE_BYTES_MAX = 256 * 1024


def check_tellable(
    gate: Gate,
    action: ActionRule,
    site: str,
    changes: Sequence[Change],
    before: Mapping[str, Resource],
) -> None:
    """That there is a message for what is proposed, before anybody spends time on it. Whom it
    names is looked up only for the write. Raises Unprocessable."""
    through = action.through.get(site, "")
    if not through or any(c.reference and c.reference not in before for c in changes):
        return
    afters = after_images(changes, before)
    try:
        settings = _settings(gate, site, through)
        told = [_told(c, before, after, "") for c, after in zip(changes, afters, strict=True)]
        check_sayable(told, settings)
    except (Unsayable, WriteRefused) as error:
        raise Unprocessable(f"{through} cannot be told this: {error}") from None


async def told(gate: Gate, proposal: Proposal, action: ActionRule, prepared: Prepared) -> Prepared:
    """The write as it goes out: as it is, or with its message where the charter says `through`.

    Raises WriteRefused (there is no such message), SourceUnreachable, Throttled.
    """
    through = action.through.get(proposal.site, "")
    if not through:
        return prepared
    before = {copy.reference: orjson.loads(copy.body) for copy in prepared.before}
    write = replace(prepared.write, through=through)
    return replace(prepared, write=await with_message(gate, proposal, write, before))


def tightest(
    gate: Gate, proposal: Proposal, action: ActionRule, grounds: Grounds, write: Write
) -> LastLook | None:
    """The guards once more, right before the bytes: no message has a precondition that could hold
    them. None: the write has its own. The look raises VersionConflict, and as `guards.look`."""
    if write.message is None:
        return None
    stood = {c.reference: c.if_match for c in write.changes if c.reference}

    async def still() -> None:
        standing = await look(gate, proposal, action, grounds)
        live = standing.live
        if standing.broken or any(r not in live or live[r].version != v for r, v in stood.items()):
            raise VersionConflict("a guard does not hold any more; nothing was sent")

    return still


async def told_undo(gate: Gate, proposal: Proposal, undo: Write) -> Write:
    """As `told`, of a compensation, over what stands live. Raises as `told`."""
    if not undo.through:
        return undo
    source = gate.source(proposal.connection)
    references = [c.reference for c in undo.changes if c.reference]
    found = await together([_read(source, reference) for reference in references])
    return await with_message(
        gate, proposal, undo, {r: one for r, one in zip(references, found, strict=True) if one}
    )


async def with_message(
    gate: Gate, proposal: Proposal, write: Write, before: Mapping[str, Resource]
) -> Write:
    """The write with the message that tells it. `before` is what its changes stand on."""
    settings = _settings(gate, proposal.site, write.through)
    afters = after_images(write.changes, before)
    changes = [
        _told(change, before, after, mark)
        for change, after, mark in zip(write.changes, afters, marks_of(write), strict=True)
    ]
    wanted = names(changes)[:NAMED_MAX]
    source = gate.source(proposal.connection)
    found = await together([_read(source, reference) for reference in wanted])
    named = {r: one for r, one in zip(wanted, found, strict=True) if one is not None}
    try:
        message = compose(changes, named, settings, marker=write.marker, at=gate.clock())
    except (Unsayable, Unwritable) as error:
        raise WriteRefused(f"no message can tell it, so nothing was sent: {error}") from None
    except MalformedMessage:
        raise WriteRefused("send_charset is no character set that is known") from None
    return replace(write, message=message)


async def settled(gate: Gate, write: Write, *, last_look: LastLook) -> Receipt | None:
    """As Messenger.settle; where the connection takes no messages any more, nobody can tell."""
    try:
        return await _messenger(gate, write.through).settle(write, last_look=last_look)
    except WriteRefused as error:
        raise OutcomeUnknown(str(error)) from None


def moved_on(applied: Prepared, live: Mapping[str, Copy | None]) -> tuple[str, ...]:
    """References of what is not as the write left it any more, in the elements that it changed.

    No message has a precondition, so this look is all that keeps an undoing from a later edit.
    """
    before = {copy.reference: orjson.loads(copy.body) for copy in applied.before}
    afters = after_images(applied.write.changes, before)
    found = []
    for change, after in zip(applied.write.changes, afters, strict=True):
        if change.reference is None or change.reference not in live or after is None:
            continue
        copy = live.get(change.reference)
        now = orjson.loads(copy.body) if copy else {}
        held = before[change.reference]
        ours = [n for n in {*held, *after} if n != "meta" and held.get(n) != after.get(n)]
        if any(now.get(name) != after.get(name) for name in ours):
            found.append(change.reference)
    return tuple(found)


def settings_of(connection: ConnectionConfig, *, folder: Path) -> SendSettings:
    """What a connection agrees on for writes. Raises ConfigError."""
    options = connection.options
    settings = SendSettings(
        connection=connection.name,
        writes=tuple(options.get("writes", "").split()),
        application=options.get("send_application", "CHARTGATE"),
        facility=options.get("send_facility", connection.site),
        receiving_application=options.get("receiving_application", ""),
        receiving_facility=options.get("receiving_facility", ""),
        processing_id=options.get("send_processing_id", "P"),
        enhanced=options.get("ack_mode") == "enhanced",
        zone=zone_of(connection.name, options.get("zone", "UTC")),
        ids_are_identifiers=options.get("id_from") == "identifier",
        systems=_authorities(options),
        filler_system=options.get("filler_system", ""),
        order_message=options.get("order_message", "OML^O21"),
        patient_message=options.get("patient_message", "ADT^A08"),
    )
    name = options.get("send_tables", "")
    if not name:
        return settings
    try:
        text = (folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{name} cannot be read as UTF-8") from None
    if len(text) > FILE_BYTES_MAX:
        raise ConfigError(f"{name} is larger than {FILE_BYTES_MAX} bytes")
    return replace(settings, tables=extended(own_tables(), text, where=name))


def _authorities(options: Mapping[str, object]) -> Mapping[str, str]:
    """System URI: assigning authority, the other way round than a feed reads them."""
    systems = options.get("systems", {})
    assert isinstance(systems, Mapping), "the loader has checked it"
    found = {uri: authority for authority, uri in systems.items()}
    own = options.get("patient_system", "")
    return {str(own): "", **found} if own else found


def _settings(gate: Gate, site: str, through: str) -> SendSettings:
    """Raises WriteRefused."""
    _messenger(gate, through)
    configured = gate.config.connections.get(through)
    if configured is None or configured.site != site:
        raise WriteRefused(f"the connection {through} is not one of this site; nothing was sent")
    try:
        return settings_of(configured, folder=gate.config.folder)
    except ConfigError as error:
        raise WriteRefused(f"nothing was sent: {error}") from None


def _messenger(gate: Gate, through: str) -> Messenger:
    """Raises WriteRefused."""
    try:
        sink = gate.sink(through)
    except ConfigError as error:
        raise WriteRefused(f"nothing was sent: {error}") from None
    if not isinstance(sink, Messenger):
        raise WriteRefused(f"the connection {through} takes no messages; nothing was sent")
    return sink


def _told(
    change: Change, before: Mapping[str, Resource], after: Resource | None, mark: str
) -> Told:
    if change.interaction == "create":
        return Told(kind="create", after=after, marker=mark)
    if change.interaction == "delete":
        return Told(kind="undo", before=change.resource, marker=mark)
    held = before.get(change.reference or "")
    if held is None:
        raise WriteRefused("what is to be changed is gone; nothing was sent")
    return Told(kind="change", before=held, after=after, marker=mark)


async def _read(source: Source, reference: str) -> Resource | None:
    try:
        copy = await source.read(reference)
    except NotFound:
        return None
    assert isinstance(copy, Copy), "not modified, without a version asked about"
    found: Resource = orjson.loads(copy.body)
    return found
