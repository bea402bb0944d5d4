"""A message on its way out, and what the answers to it mean.

```
QUEUED → SENT → ACKNOWLEDGED*          (* = an end)
QUEUED → FAILED*    no destination is configured
SENT → FAILED*      its content was refused too often
ACKNOWLEDGED → FAILED*    the commit was acknowledged, and the application refused it later
SENT stays SENT through every further try: the same bytes under the same control id.
```
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

# MSH-10 has 20 characters up to version 2.6, and nothing in it may need an escape.
CONTROL_ID = re.compile(r"[A-Za-z0-9._-]{1,20}")
RESEND_INTERVAL_MIN_S = 0.1  # jitter may make a wait short, but never a loop without a rest


class OutgoingStatus(Enum):
    """Where an outgoing message stands. The value is what the store shows."""

    QUEUED = "queued"  # nothing of it was sent
    SENT = "sent"  # the intent to send is durable; it may have arrived
    ACKNOWLEDGED = "acknowledged"  # the destination has taken it
    FAILED = "failed"  # it will not be sent again; the reason says why


S = OutgoingStatus

OUTGOING_TRANSITIONS: Mapping[OutgoingStatus, frozenset[OutgoingStatus]] = {
    S.QUEUED: frozenset({S.SENT, S.FAILED}),
    S.SENT: frozenset({S.ACKNOWLEDGED, S.FAILED}),
    S.ACKNOWLEDGED: frozenset({S.FAILED}),
    S.FAILED: frozenset(),
}


class Meaning(Enum):
    """What an acknowledgement code says about sending again."""

    TAKEN = "taken"
    WRONG = "wrong"  # the content; the same bytes will hardly be taken later
    NOT_NOW = "not-now"  # a trouble of the receiver's; the same bytes may be taken later


# HL7 table 0008.
MEANINGS: Mapping[str, Meaning] = {
    "AA": Meaning.TAKEN,
    "CA": Meaning.TAKEN,
    "AE": Meaning.WRONG,
    "CE": Meaning.WRONG,
    "AR": Meaning.NOT_NOW,
    "CR": Meaning.NOT_NOW,
}


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A message to be sent. Messages of one lane go out one at a time, in their order."""

    destination: str  # a connection
    lane: str = ""  # empty: the one lane of its destination; lanes are to be few, each has a socket
    control_id: str  # MSH-10 of `raw`: never used twice, e.g. `control_id_of(...)`
    cause: str  # reference of what it is sent for, e.g. "Message/12"
    patient: str | None = None  # "Patient/7" where one is known
    raw: bytes

    def __post_init__(self) -> None:
        assert CONTROL_ID.fullmatch(self.control_id), "a control id that could need an escape"


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A stored message that is to be sent."""

    id: int
    destination: str
    lane: str
    control_id: str
    cause: str
    patient: str | None
    raw: bytes
    status: OutgoingStatus
    attempts: int  # tries so far
    refusals: int  # of them, those whose answer was that the content is wrong
    queued_at: datetime


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A lane that a worker holds: nobody else sends in it until the lease ends."""

    destination: str
    name: str
    fence: int  # grows with each claim; what an earlier holder still writes is refused
    failures: int  # tries in a row without a usable answer


@dataclass(frozen=True, kw_only=True)
class Settled:
    """How a sent message ended."""

    id: int
    status: OutgoingStatus
    ack: bytes
    reason: str | None = None  # without patient data


@dataclass(frozen=True, kw_only=True)
class DestinationStatus:
    """How things stand with one destination."""

    destination: str
    waiting: int  # messages not acknowledged yet
    oldest_at: datetime | None  # when the oldest of them was queued
    age_s: float  # of the oldest; 0 where nothing waits
    attempts: int  # most tries of a message that waits
    failures: int  # tries in a row without a usable answer
    last_error: str  # empty where the last try went well
    next_try_at: datetime | None  # where a try failed
    failed: int  # messages that were given up, over all time
    last_failure: str  # why the last of them was


def retry_delay_s(failures: int, *, base_s: float, cap_s: float, share: float) -> float:
    """Wait after `failures` (from 1) in a row: doubling and capped, and of that a random `share`
    (0 to 1), so that many senders do not come back at one moment."""
    longest = min(cap_s, base_s * 2.0 ** min(failures - 1, 32))
    return max(min(RESEND_INTERVAL_MIN_S, longest), longest * share)
