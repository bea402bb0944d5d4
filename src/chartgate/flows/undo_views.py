"""What somebody must see who cannot take a write back: what was there, what we wrote, what is there."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from chartgate.errors import Denied, InvalidTransition, NotFound
from chartgate.flows.contexts import proposal_for
from chartgate.flows.guards import together
from chartgate.flows.permits import check_person, request_on
from chartgate.flows.proposal_events import event_of
from chartgate.flows.telling import moved_on
from chartgate.flows.undo_ground import history_of, read_live
from chartgate.gate import Gate
from chartgate.model.charter import ReadRule
from chartgate.model.ports import Source
from chartgate.model.principal import Principal
from chartgate.model.resource import Copy, Resource
from chartgate.model.write import Effect, Prepared
from chartgate.policy.differences import after_images
from chartgate.policy.minimise import minimise
from chartgate.policy.three_way import ThreeWay, three_way
from chartgate.store.proposals import SAY_NOT_FOUND, ProposalStore

SAY_NOT_WRITTEN = "the proposal was not written, so there is nothing to compare with"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One resource that we wrote."""

    reference: str
    version_written: str | None  # None: it was deleted
    version_now: str | None  # None: it is gone
    moved_on: bool
    shown: bool  # False: the charter shows nothing of this type
    lines: tuple[ThreeWay, ...]


def compared_json(found: Compared) -> dict[str, Any]:
    """ThreeWay of openapi.yaml."""
    return {
        "reference": found.reference,
        "version_written": found.version_written,
        "version_now": found.version_now,
        "moved_on": found.moved_on,
        "shown": found.shown,
        "elements": [asdict(line) for line in found.lines],
    }


async def compare(gate: Gate, principal: Principal, id_: str) -> tuple[Compared, ...]:
    """Each resource of a written proposal in its three versions, as far as the charter shows them,
    for a person; audited. Raises NotFound, InvalidTransition (it was not written),
    SourceUnreachable, Throttled.
    """
    proposal = await proposal_for(gate, principal, id_)
    request = request_on(proposal, principal, "show")
    try:
        person, decision = await check_person(gate, principal, request, proposal=proposal.id)
    except Denied:
        raise NotFound(SAY_NOT_FOUND) from None
    attempts = await ProposalStore(gate.database).attempts(proposal.id, "commit")
    applied = next((a for a in attempts if a.verdict == "applied"), None)
    if applied is None or proposal.receipt is None:
        raise InvalidTransition(SAY_NOT_WRITTEN)
    source = gate.source(proposal.connection)
    before = {copy.reference: orjson.loads(copy.body) for copy in applied.prepared.before}
    written = after_images(applied.prepared.write.changes, before)
    pairs = zip(proposal.receipt.effects, written, strict=True)
    # What a message made has no reference, and cannot be looked up.
    known = [(effect, after) for effect, after in pairs if "?" not in effect.reference]
    effects, sent = [effect for effect, _ in known], [after for _, after in known]
    live = await together([read_live(source, effect.reference) for effect in effects])
    left = await together(
        [_left(source, effect, copy) for effect, copy in zip(effects, live, strict=True)]
    )
    event = event_of(
        gate,
        proposal,
        "proposal.show",
        person.agent,
        at=gate.clock(),
        decision=decision,
        details=(("view", "three-way"),),
    )
    await gate.audit.record(event)
    charter = gate.charters.charters.get(proposal.charter)
    rules = charter.reads if charter else {}
    return tuple(
        Compared(
            reference=effect.reference,
            version_written=effect.version_after,
            version_now=copy.version if copy else None,
            moved_on=_has_moved_on(applied.prepared, effect, copy),
            shown=effect.reference.partition("/")[0] in rules,
            lines=_lines(rules, before.get(effect.reference), stored or meant, copy),
        )
        for effect, meant, stored, copy in zip(effects, sent, left, live, strict=True)
    )


def _has_moved_on(applied: Prepared, effect: Effect, live: Copy | None) -> bool:
    """By its version; where a message was sent, which names none, by what it changed."""
    if applied.write.message is None:
        return (live.version if live else None) != effect.version_after
    return effect.reference in moved_on(applied, {effect.reference: live})


async def _left(source: Source, effect: Effect, live: Copy | None) -> Resource | None:
    """What we wrote, as the system of record stored it; None: it does not show that any more."""
    versions: Sequence[Copy] = (live,) if live else ()
    if live is None or live.version != effect.version_after:
        versions = await history_of(source, effect.reference) or ()
    found = next((v for v in versions if v.version == effect.version_after), None)
    return orjson.loads(found.body) if found else None


def _lines(
    rules: Mapping[str, ReadRule], before: Resource | None, after: Resource | None, now: Copy | None
) -> tuple[ThreeWay, ...]:
    held = orjson.loads(now.body) if now else None
    return three_way(*(_minimised(rules, resource) for resource in (before, after, held)))


def _minimised(rules: Mapping[str, ReadRule], resource: Resource | None) -> Resource | None:
    """None also for what holds something that may not be shown."""
    rule = rules.get(resource["resourceType"]) if resource else None
    with suppress(Denied):
        return minimise(resource, rule) if resource and rule else None
    return None
