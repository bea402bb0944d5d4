"""What a sender's messages have come to hold, or have ceased to hold."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class FeedKey(NamedTuple):
    """Messages that are alike: one sender's, of one type."""

    connection: str
    sender: str  # MSH-3|MSH-4
    message_type: str  # "ADT^A08"


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftFinding:
    """One change, open until a person has acknowledged it. `was` and `now` are classes of
    values, or codes of tables; nothing of a patient."""

    id: int
    feed: FeedKey
    position: str  # "ZPI", "PID-8", "OBX-3.2"
    kind: str  # new-segment new-field vanished-field new-code new-format new-length
    detail: str  # what tells it from others of its kind there; not for showing
    was: str
    now: str
    count: int  # messages
    examples: tuple[int, ...]  # inbox ids, the first of them where it was first seen
    first_seen_at: datetime
    last_seen_at: datetime
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
