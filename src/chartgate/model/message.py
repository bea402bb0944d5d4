"""Inbound messages and what they turn into."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class InboxStatus(Enum):
    """In = delivered + queued + quarantined + filtered."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    QUARANTINED = "quarantined"
    FILTERED = "filtered"  # with a reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """What a feed brought in, as it came."""

    connection: str
    raw: bytes
    flaw: str = ""  # why these bytes are no message: "too large", "noise", "truncated"
    # Of whom the peer's certificate lets it send: (MSH-3, MSH-4) or with MSH-11; None: of anyone.
    senders: frozenset[tuple[str, ...]] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """One message as it came: the bytes, and the little that the ACK needed."""

    connection: str
    sender: str  # MSH-3|MSH-4
    control_id: str  # MSH-10
    message_type: str  # "ADT^A01"
    lane: int  # messages of one patient share a lane and keep their order
    merged_lane: int | None  # that of the patient who is merged away
    digest: bytes  # SHA-256 of `raw`
    raw: bytes
    ack: bytes  # empty where none is asked for
    received_at: datetime
    application_ack: str = ""  # MSH-16: "AL" "ER" "SU" "NE"; "" where there can be none
    sequence: int | None = None  # MSH-13, on a feed that goes by it


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceMark:
    """A message without content that opens a numbered link (0) or numbers it anew (−1)."""

    connection: str
    sender: str
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What became of an arrival. `taken` is False for one that was here before: `ack` and
    `digest` are then those of the first."""

    taken: bool
    ack: bytes
    digest: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """The number that a numbered link must send next; −1: whichever it likes. Said to a mark,
    and to an arrival that was not taken since it has another number."""

    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued:
    """A message of the inbox whose lane a worker holds."""

    id: int
    connection: str
    message_type: str
    raw: bytes
    received_at: datetime
    application_ack: str = ""  # as in Arrival
    lane: int = 0  # the patient's


@dataclass(frozen=True, kw_only=True, slots=True)
class Processed:
    """How one message ended."""

    id: int
    status: InboxStatus
    reason: str | None = None
    flags: tuple[str, ...] = ()  # what is odd about it: "late", "charset"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """Bytes for the quarantine: what is wrong with them, in words without patient data."""

    connection: str
    inbox_id: int | None  # None: they never became a message of the inbox
    reason_class: str  # "header" "content" "control-id collision" "internal" …
    reason: str
    position: str  # "PID-7"; empty where it is the whole
    raw: bytes
    seen_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened at the hospital, for AI clients that listen."""

    site: str
    kind: str  # "SIU^S12"
    focus: tuple[str, ...]  # references in the record, the main one first
    occurred_at: datetime
    message: int  # inbox id


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """One event on its way to one subscriber."""

    client: str
    charter: str
    number: int  # gap-free per subscription, from 1
    event: Event
    attempts: int  # that failed so far
