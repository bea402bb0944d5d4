"""From raw changes to content that may be decided on; the same checks for the AI's first draft
and for a reviewer's edit of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from chartgate.errors import Unprocessable
from chartgate.flows.grounds import Grounds
from chartgate.flows.guards import Standing, check_guardable
from chartgate.formats.compartment import patient_of
from chartgate.gate import Gate
from chartgate.model.charter import ActionRule
from chartgate.model.interaction import Seen
from chartgate.model.ports import Cancels
from chartgate.model.proposal import Content, content_digest
from chartgate.model.resource import Resource
from chartgate.model.write import Change
from chartgate.policy.bounds import check_bounds
from chartgate.policy.consistency import check_consistency
from chartgate.policy.content import StandIns, check_changes, check_resource, parse_changes
from chartgate.policy.differences import after_images, content_of
from chartgate.policy.rules import check_rules
from chartgate.policy.smuggling import check_smuggling


def draft(
    action: ActionRule,
    raw: Any,
    grounds: Grounds,
    *,
    version: int = 1,
    edited_by: str | None = None,
    base: Sequence[Seen] = (),
    stand_ins: StandIns | None = None,
) -> Content:
    """The content of raw changes. `stand_ins` is what `cancel` means in the system of record.
    Raises Invalid, Unprocessable, TooLarge with what to mend."""
    changes = _on_what_was_read(parse_changes(raw, stand_ins), grounds)
    check_changes(action, changes)
    content = content_on(
        action, changes, grounds.bodies, grounds, version=version, edited_by=edited_by, base=base
    )
    check_guardable(action, content, grounds)
    return content


def content_on(
    action: ActionRule,
    changes: Sequence[Change],
    before: Mapping[str, Resource],
    grounds: Grounds,
    *,
    version: int,
    edited_by: str | None = None,
    base: Sequence[Seen] = (),
) -> Content:
    """Content of checked changes on these resources. Raises Unprocessable."""
    afters = after_images(changes, before)
    written = [a for a in afters if a is not None]
    for after in written:
        check_resource(after, before=before.get(f"{after['resourceType']}/{after.get('id', '')}"))
    _check_references(written, before, grounds)
    check_rules(action.rules, changes, afters, grounds.near(changes))
    content = content_of(changes, before, version=version, edited_by=edited_by)
    if not content.differences:
        raise Unprocessable("nothing would change: the record already says this")
    check_bounds(action, changes, afters, content.differences)
    check_consistency(changes, afters, before, grounds.bodies)
    patients = {patient for after in written if (patient := patient_of(after))}
    about = patients.pop() if len(patients) == 1 else None
    check_smuggling(content.differences, about, grounds.bodies, links=action.links)
    digest = content_digest(content.changes, content.differences, base)
    return replace(content, base=tuple(base), digest=digest)


def check_still_in_bounds(action: ActionRule, content: Content, grounds: Grounds) -> None:
    """Raises Unprocessable, TooLarge where the running charter does not let what was approved be
    written any more: its rules of elements and values may be stricter by now."""
    if action.fixed or action.values or action.never or action.limits:
        afters = after_images(content.changes, grounds.bodies)
        check_bounds(action, content.changes, afters, content.differences)


def content_on_live(
    content: Content, action: ActionRule, grounds: Grounds, standing: Standing
) -> Content:
    """The same changes on the record as it is now, so that a person sees what they would do.
    Raises Unprocessable where they can be made no more."""
    if standing.gone:
        raise Unprocessable(f"{', '.join(standing.gone)} is no longer there")
    bodies = {r: orjson.loads(copy.body) for r, copy in standing.live.items()}
    base = {s.reference: s for s in content.base} | {
        c.reference: Seen(reference=c.reference, version=c.version, digest=c.digest, as_of=c.as_of)
        for c in standing.live.values()
    }
    changes = [
        replace(c, if_match=standing.live[c.reference].version) if c.reference else c
        for c in content.changes
    ]
    now = Grounds(seen=grounds.seen | base, bodies=dict(grounds.bodies) | bodies)
    return content_on(
        action,
        changes,
        now.bodies,
        now,
        version=content.version + 1,
        edited_by=content.edited_by,
        base=tuple(base.values()),
    )


def stand_ins_of(gate: Gate, connection: str) -> StandIns:
    """What the system of record has in place of deleting, by type; nothing where it says nothing."""
    sink = gate.sinks.get(connection)
    return sink.stand_ins if isinstance(sink, Cancels) else {}


def _on_what_was_read(changes: Sequence[Change], grounds: Grounds) -> tuple[Change, ...]:
    """Fills in the versions that the changes stand on. Raises Unprocessable for a change of
    what this interaction has not read, or of another version of it."""
    if len({c.reference for c in changes if c.reference}) != sum(
        c.reference is not None for c in changes
    ):
        raise Unprocessable("one resource is changed twice; put both into one change")
    return tuple(_filled(c, grounds) for c in changes)


def _filled(change: Change, grounds: Grounds) -> Change:
    if change.reference is None:
        return change
    seen = grounds.seen.get(change.reference)
    if seen is None or change.reference not in grounds.bodies:
        raise Unprocessable(
            f"{change.reference} was not read in this interaction; read it, then propose"
        )
    if change.if_match not in (None, seen.version):
        raise Unprocessable(
            f"ifMatch of {change.reference} is not the version that this interaction read, "
            f"which is {seen.version}"
        )
    return replace(change, if_match=seen.version)


def _check_references(
    afters: Sequence[Resource], before: Mapping[str, Resource], grounds: Grounds
) -> None:
    """A patient must be one that the interaction has met: a reference that was made up, or
    carried over from another conversation, is how a chart gets another patient's data."""
    met = {patient_of(body) for body in grounds.bodies.values()} | set(grounds.bodies)
    for after in afters:
        patient = patient_of(after)
        if patient is not None and patient not in met:
            raise Unprocessable(f"{patient} was not read in this interaction")
        own = before.get(f"{after['resourceType']}/{after.get('id', '')}")
        if own is not None and patient_of(own) != patient:
            raise Unprocessable("a change may not move a resource to another patient")
