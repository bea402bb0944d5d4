"""Work given back to staff, and where they find it."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class HandoffStatus(Enum):
    """Open until somebody takes it; closed with an outcome."""

    OPEN = "open"
    TAKEN = "taken"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True)
class Handoff:
    """One item of a worklist."""

    id: str  # UUID
    proposal: str
    worklist: str  # e.g. "front-desk"
    site: str
    reason: str  # a sentence without patient data
    opened_at: datetime
    due_at: datetime
    status: HandoffStatus = HandoffStatus.OPEN
    taken_by: str | None = None
    outcome: str | None = None
