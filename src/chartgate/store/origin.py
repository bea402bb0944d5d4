"""Where the request that is being answered came from: every audit event that is written on its
behalf carries it.

web/ sets it once a request; here it is put into events, whoever made them. What no request asked
for (workers, the command line) has none.
"""

from collections.abc import Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace

from chartgate.model.audit import AuditEvent, leaf_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """One request."""

    network: str | None  # the peer's address, or what a trusted proxy says of it
    request: str  # as in the answer's X-Request-Id


ORIGIN: ContextVar[Origin | None] = ContextVar("chartgate.origin", default=None)


def enter(origin: Origin) -> Token[Origin | None]:
    """From here on, events of this task and of those that it starts come from there."""
    return ORIGIN.set(origin)


def leave(token: Token[Origin | None]) -> None:
    """As it was before `enter`."""
    ORIGIN.reset(token)


def leaf_of(event: AuditEvent, *, tenant: str) -> bytes:
    """The leaf of an event, with the request that it was made for."""
    origin = ORIGIN.get()
    if origin is not None and event.request is None:
        event = replace(event, network=event.network or origin.network, request=origin.request)
    return leaf_bytes(event, tenant=tenant)


def spaced(references: Sequence[str] | None) -> str | None:
    """References in one text, for an array of arrays, of which PostgreSQL's unnest makes one."""
    return " ".join(references) if references else None
