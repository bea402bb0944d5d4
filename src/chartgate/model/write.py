"""A write set, and what became of it.

A `Write` is everything that one proposal (or its undoing) changes, applied as one: all or nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from chartgate.model.resource import Copy, Resource

WriteInteraction = Literal["create", "update", "patch", "delete"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One resource to change.

    create: `resource` without id; update: `resource` with id and `if_match`; patch: `patch`
    (RFC 6902 operations) on `reference` with `if_match`; delete: `reference` with `if_match`,
    only ever as the undoing of our own create.
    """

    interaction: WriteInteraction
    resource_type: str
    reference: str | None = None  # None for create
    resource: Resource | None = None
    patch: tuple[dict[str, Any], ...] = ()
    if_match: str | None = None


@dataclass(frozen=True, kw_only=True)
class Write:
    """`marker` is unique for proposal and direction, and survives in what is created:
    it makes a create conditional and lets a lost answer be resolved by reading."""

    marker: str  # "<proposal id>" or "<proposal id>.rollback"
    changes: tuple[Change, ...]


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


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A write and the versions it stands on: its pre-images, read live just before."""

    write: Write
    before: tuple[Copy, ...]  # one for each update, patch and delete, in order
