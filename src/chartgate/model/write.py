"""A write set, and what became of it.

A `Write` is everything that one proposal (or its undoing) changes, applied as one: all or nothing.
Where the system has nothing that holds several together it goes `apart`, a change at a time.
The JSON forms at the end are what the store keeps; that of a change is also the API's.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

import orjson

from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.model.resource import Copy, Resource

WriteInteraction = Literal["create", "update", "patch", "delete"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One resource to change.

    create: `resource` without id; update: `resource` with id and `if_match`; patch: `patch`
    (RFC 6902 operations) on `reference` with `if_match`; delete: `reference` with `if_match`,
    only ever as the undoing of our own create. Where the system is told by messages, what we made
    has no reference that is known; its undoing is a delete of `resource`, which bears our mark.
    """

    interaction: WriteInteraction
    resource_type: str
    reference: str | None = None  # None for create
    resource: Resource | None = None
    patch: tuple[dict[str, Any], ...] = ()
    if_match: str | None = None


@dataclass(frozen=True, kw_only=True)
class WireMessage:
    """A message that tells a write to a system that takes messages: these bytes and no others,
    however often they have to be sent."""

    kind: str  # "SIU^S12"
    control_id: str  # MSH-10 of `raw`
    raw: bytes


@dataclass(frozen=True, kw_only=True)
class Write:
    """`marker` is unique for proposal and direction, and survives in what is created:
    it makes a create conditional and lets a lost answer be resolved by reading."""

    marker: str  # "<proposal id>" or "<proposal id>.rollback"
    changes: tuple[Change, ...]
    through: str = ""  # the connection that it goes out by; empty: the proposal's own
    apart: bool = False  # one change after the other, where the system takes no transactions
    message: WireMessage | None = None  # what is sent, where that connection takes messages


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one change did. `before` is the exact version that was replaced, if any."""

    reference: str
    version_before: str | None
    version_after: str | None  # None after a delete


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What the system of record answered; in the order of the write's changes."""

    effects: tuple[Effect, ...]
    at: datetime
    resolved: bool = False  # True: found by reading, because the answer was lost
    said: str = ""  # what the system's application acknowledged it by, "AA"; empty: it answers else


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A write and the versions it stands on: its pre-images, read live just before."""

    write: Write
    before: tuple[Copy, ...]  # one for each update, patch and delete, in order


def marks_of(write: Write) -> tuple[str, ...]:
    """Our number of each change in the messages that tell it."""
    if len(write.changes) == 1:
        return (write.marker,)
    return tuple(f"{write.marker}.{number}" for number, _ in enumerate(write.changes, start=1))


def create_marks(write: Write) -> tuple[str | None, ...]:
    """The mark of each change, None where it creates nothing. Each create has one of its own, or
    the second would find the first."""
    values: list[str | None] = []
    creates = 0
    for change in write.changes:
        if change.interaction != "create":
            values.append(None)
            continue
        creates += 1
        values.append(write.marker if creates == 1 else f"{write.marker}.{creates}")
    return tuple(values)


def steps_of(write: Write) -> tuple[Write, ...]:
    """Each change as a write of its own, with the mark that it has in the whole."""
    marks = create_marks(write)
    return tuple(
        replace(write, marker=mark or write.marker, changes=(change,), apart=False)
        for change, mark in zip(write.changes, marks, strict=True)
    )


def change_json(change: Change) -> dict[str, Any]:
    """The JSON form of a change, as `/v1/proposals` takes it."""
    form: dict[str, Any] = {"interaction": change.interaction}
    if change.resource is not None:
        form["resource"] = change.resource
    elif change.reference is not None:
        form["reference"] = change.reference
    if change.patch:
        form["patch"] = list(change.patch)
    if change.if_match is not None:
        form["ifMatch"] = change.if_match
    return form


def change_from(form: Mapping[str, Any]) -> Change:
    """The change of a JSON form that we wrote ourselves. Raises KeyError, TypeError."""
    resource = form.get("resource")
    reference = form.get("reference")
    if resource is None:
        resource_type = reference.partition("/")[0] if reference else ""
    else:
        resource_type = resource["resourceType"]
        reference = f"{resource_type}/{resource['id']}" if "id" in resource else None
    return Change(
        interaction=form["interaction"],
        resource_type=resource_type,
        reference=reference,
        resource=resource,
        patch=tuple(form.get("patch", ())),
        if_match=form.get("ifMatch"),
    )


def write_bytes(write: Write) -> bytes:
    """Canonical JSON of a write."""
    return canonical_bytes(_write_json(write))


def write_from(body: bytes) -> Write:
    """The write of bytes that `write_bytes` made."""
    return _write_from(orjson.loads(body))


def receipt_bytes(receipt: Receipt) -> bytes:
    """Canonical JSON of a receipt."""
    form = {
        "effects": [asdict(e) for e in receipt.effects],
        "at": receipt.at.isoformat(),
        "resolved": receipt.resolved,
    }
    return canonical_bytes({**form, "said": receipt.said} if receipt.said else form)


def receipt_from(body: bytes) -> Receipt:
    """The receipt of bytes that `receipt_bytes` made."""
    form = orjson.loads(body)
    return Receipt(
        effects=tuple(Effect(**e) for e in form["effects"]),
        at=datetime.fromisoformat(form["at"]),
        resolved=form["resolved"],
        said=form.get("said", ""),
    )


def effects_bytes(effects: Sequence[Effect]) -> bytes:
    """Canonical JSON of what some changes did."""
    return canonical_bytes([asdict(e) for e in effects])


def effects_from(body: bytes) -> tuple[Effect, ...]:
    """The effects of bytes that `effects_bytes` made."""
    return tuple(Effect(**e) for e in orjson.loads(body))


def prepared_bytes(prepared: Prepared) -> bytes:
    """Canonical JSON of a write with its pre-images."""
    before = [
        {
            "reference": copy.reference,
            "version": copy.version,
            "body": orjson.loads(copy.body),
            "asOf": copy.as_of.isoformat(),
        }
        for copy in prepared.before
    ]
    return canonical_bytes({"write": _write_json(prepared.write), "before": before})


def prepared_from(body: bytes) -> Prepared:
    """The prepared write of bytes that `prepared_bytes` made."""
    form = orjson.loads(body)
    return Prepared(
        write=_write_from(form["write"]), before=tuple(_copy_from(c) for c in form["before"])
    )


def _write_json(write: Write) -> dict[str, Any]:
    form: dict[str, Any] = {
        "marker": write.marker,
        "changes": [change_json(c) for c in write.changes],
    }
    if write.through:
        form["through"] = write.through
    if write.apart:
        form["apart"] = True
    if write.message is not None:
        raw = base64.b64encode(write.message.raw).decode("ascii")
        form["message"] = {**asdict(write.message), "raw": raw}
    return form


def _write_from(form: Mapping[str, Any]) -> Write:
    message = form.get("message")
    return Write(
        marker=form["marker"],
        changes=tuple(change_from(c) for c in form["changes"]),
        through=form.get("through", ""),
        apart=form.get("apart", False),
        message=None
        if message is None
        else WireMessage(**{**message, "raw": base64.b64decode(message["raw"])}),
    )


def _copy_from(form: Mapping[str, Any]) -> Copy:
    body = canonical_bytes(form["body"])
    return Copy(
        reference=form["reference"],
        version=form["version"],
        digest=digest(body),
        body=body,
        as_of=datetime.fromisoformat(form["asOf"]),
    )
