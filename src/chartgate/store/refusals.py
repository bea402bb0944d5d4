"""What was refused, as this process wrote it down: how often, and whether for one request.

Each audit event whose outcome is no success is counted here once it is durable. The edge looks
here whether a request that it refuses has left its event yet, so that each leaves exactly one.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from chartgate.model.audit import AuditEvent, Outcome

# A reason may be a sentence; as a label only a code will do, and only so many of them.
CODE = re.compile(r"[a-z][a-z0-9-]{0,39}")
OTHER = "other"
LABELS_MAX = 500


@dataclass(slots=True)
class Noted:
    """What one request has left so far, and who asks, once that is known."""

    agent: str = "unknown"
    events: int = 0
    outcome: Outcome | None = None  # of the last of them


_REQUEST: ContextVar[Noted | None] = ContextVar("chartgate_refusals", default=None)


@contextmanager
def watching() -> Iterator[Noted]:
    """Counts the refusals that are written down within, by this task and those it starts."""
    noted = Noted()
    token = _REQUEST.set(noted)
    try:
        yield noted
    finally:
        _REQUEST.reset(token)


class Refusals:
    """The tally of one process, by action and reason."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def note(self, events: Iterable[AuditEvent]) -> None:
        """Counts those that are durable and no success."""
        for event in events:
            if event.outcome is Outcome.SUCCESS:
                continue
            self.counts[self._label(event)] += 1
            if noted := _REQUEST.get():
                noted.events += 1
                noted.outcome = event.outcome

    def _label(self, event: AuditEvent) -> tuple[str, str]:
        reason = event.reason or ""
        label = (event.action, reason if CODE.fullmatch(reason) else OTHER)
        full = len(self.counts) >= LABELS_MAX and label not in self.counts
        return (event.action, OTHER) if full else label
