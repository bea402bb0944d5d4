"""What one reader may see of copies of resources: all that policy, scopes, labels, relationship,
consent and minimisation leave of them, or why nothing is left.

What follows from the copy and the running charters alone (its labels, whom it names, how it looks
when minimised) is worked out once and kept by the copy's digest. What follows from consents, time
and relationship is asked each time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import orjson

from chartgate.errors import Denied
from chartgate.flows.read_walk import Walk
from chartgate.formats.canonical import canonical_bytes
from chartgate.formats.compartment import is_unattributed, patients_named
from chartgate.model.resource import Resource
from chartgate.policy.minimise import minimise
from chartgate.store.caches import Minimised

BOOK_DIGEST_SHOWN = 12  # hex digits in an ETag


class Held(Protocol):
    """A copy from a system of record or from our own record."""

    @property
    def version(self) -> str: ...
    @property
    def digest(self) -> bytes: ...
    @property
    def body(self) -> bytes | None: ...
    @property
    def as_of(self) -> datetime: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Visible:
    """One copy as this reader may see it now. `hidden` says why not, as a code for the audit;
    empty: they may."""

    reference: str
    as_of: datetime
    shown: Minimised
    hidden: str = ""


async def look(walk: Walk, copies: Sequence[tuple[str, Held]]) -> list[Visible]:
    """For each copy, with its reference. Raises Unavailable."""
    return [
        Visible(
            reference=reference,
            as_of=copy.as_of,
            shown=(shown := minimised(walk, reference, copy)),
            hidden=shown.hidden,
        )
        for reference, copy in copies
    ]


def known(walk: Walk, reference: str) -> Minimised | None:
    """What was worked out before about some version of this resource, under these charters."""
    return walk.gate.caches.minimised.get(_key(walk, reference))


def minimised(walk: Walk, reference: str, copy: Held) -> Minimised:
    """The copy as the charter shows it; out of memory where its digest is known."""
    kept = known(walk, reference)
    if kept is not None and kept.digest == copy.digest:
        return kept
    assert copy.body is not None, "the body was left out, so its digest was known"
    entry = _worked_out(walk, copy, orjson.loads(copy.body))
    walk.gate.caches.keep_minimised(_key(walk, reference), entry)
    return entry


def _key(walk: Walk, reference: str) -> tuple[str, str, str]:
    return (walk.connection, reference, f"{walk.book.digest}/{walk.charter.name}")


def _worked_out(walk: Walk, copy: Held, resource: Resource) -> Minimised:
    named = patients_named(resource)
    hidden, body = "", b""
    try:
        body = canonical_bytes(minimise(resource, walk.rule))
    except Denied:
        hidden = "minimise"  # it cannot be shown without being misread
    return Minimised(
        digest=copy.digest,
        version=copy.version,
        body=body,
        etag=f'W/"{copy.version}-{walk.book.digest[:BOOK_DIGEST_SHOWN]}"',
        patients=named,
        unattributed=is_unattributed(resource, named),
        hidden=hidden,
    )
