"""The write that undoes a write: never more than what we did, never over a later edit."""

from collections.abc import Sequence

import orjson

from chartgate.adapters.fhir_r4.dialect import Habits
from chartgate.errors import WriteRefused
from chartgate.model.resource import Copy, Resource
from chartgate.model.write import Change, Effect, Receipt, Write

DELETE_LINES = ("delete", "if_match_on_delete")


def can_undo_create(resource_type: str, habits: Habits) -> bool:
    """Whether something can stand for the undoing of a create of this type."""
    return _can_delete(habits) or resource_type in habits.dialect.stand_ins


def compensation(write: Write, receipt: Receipt, before: Sequence[Copy], habits: Habits) -> Write:
    """As Sink.compensation. Each change stands on the version that we left: if anybody edited it
    since, the system refuses the undoing. Raises WriteRefused if a create cannot be undone."""
    preimages = iter(before)
    changes = [
        _undo_create(change, effect, habits)
        if change.interaction == "create"
        else _restore(change, effect, next(preimages))
        for change, effect in zip(write.changes, receipt.effects, strict=True)
    ]
    return Write(marker=f"{write.marker}.rollback", changes=tuple(reversed(changes)))


def _can_delete(habits: Habits) -> bool:
    return all(habits.holds(line) for line in DELETE_LINES)


def _undo_create(change: Change, effect: Effect, habits: Habits) -> Change:
    """A status rather than a delete, wherever the type has one: what stays keeps our marker, so
    that a request of ours that was held up on its way and arrives after the undoing finds it and
    creates nothing."""
    stand_in = habits.dialect.stand_ins.get(change.resource_type)
    if stand_in is None and _can_delete(habits):
        return Change(
            interaction="delete",
            resource_type=change.resource_type,
            reference=effect.reference,
            if_match=effect.version_after,
        )
    if stand_in is None:
        raise WriteRefused(f"creating {change.resource_type} cannot be undone in this system")
    element, value = stand_in
    return Change(
        interaction="patch",
        resource_type=change.resource_type,
        reference=effect.reference,
        # RFC 6902: "add" on a member that exists replaces it.
        patch=({"op": "add", "path": f"/{element}", "value": value},),
        if_match=effect.version_after,
    )


def _restore(change: Change, effect: Effect, before: Copy) -> Change:
    assert change.interaction in ("update", "patch"), "a delete is itself an undoing"
    assert before.reference == effect.reference, "pre-images come in the order of the changes"
    return Change(
        interaction="update",
        resource_type=change.resource_type,
        reference=effect.reference,
        resource=_preimage(orjson.loads(before.body)),
        if_match=effect.version_after,
    )


def _preimage(resource: Resource) -> Resource:
    """Without what the server sets itself on each save."""
    meta = {
        key: value
        for key, value in resource.get("meta", {}).items()
        if key not in ("versionId", "lastUpdated")
    }
    bare = {key: value for key, value in resource.items() if key != "meta"}
    return {**bare, "meta": meta} if meta else bare
