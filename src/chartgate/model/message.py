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


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One message as it came: the bytes, and the little that the ACK needed."""

    connection: str
    sender: str  # MSH-3|MSH-4
    control_id: str  # MSH-10
    message_type: str  # "ADT^A01"
    lane: int  # messages of one patient share a lane and keep their order
    digest: bytes  # SHA-256 of `raw`
    raw: bytes
    ack: bytes
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened at the hospital, for AI clients that listen."""

    site: str
    kind: str  # "SIU^S12"
    focus: tuple[str, ...]  # references in the record, the main one first
    occurred_at: datetime
    message: int  # inbox id
