"""Work given back to staff, and where they find it: here, and on the lists they already work from."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from chartgate.model.resource import Resource


class HandoffStatus(Enum):
    """Open until somebody takes it; closed with an outcome."""

    OPEN = "open"
    TAKEN = "taken"
    CLOSED = "closed"


class Cause(Enum):
    """Why the AI stopped. The value is what store, lists and metrics show."""

    LOW_CONFIDENCE = "low-confidence"  # less than the charter asks for
    INVALID = "invalid"  # what was proposed broke a rule, and is not kept
    CONFLICT = "conflict"  # the record moved on, and the change can be made no more
    MISMATCH = "mismatch"  # read back, and it is not what was approved
    AMBIGUOUS = "ambiguous"  # sent, and reading cannot tell what became of it
    PARTLY = "partly"  # some of its changes stand, the others do not
    DEADLINE = "deadline"  # nobody decided in time
    BREAKER_OPEN = "breaker-open"  # the system of record is away
    OVER_BUDGET = "over-budget"  # more than the charter lets wait
    OUT_OF_HOURS = "out-of-hours"
    HANDED_BACK = "handed-back"  # by whoever reviewed it
    REFUSED = "refused"  # by the system of record, or by a rule at the commit


class ItemState(Enum):
    """Where a handoff stands on a list outside."""

    WAITING = "waiting"  # not seen there yet
    STANDING = "standing"  # it is there, and is looked at now and then
    ENDED = "ended"  # closed on both sides
    GONE = "gone"  # refused or deleted there; staff find it here


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
    cause: Cause = Cause.REFUSED
    assigned_to: str | None = None  # the person who is asked first, e.g. "dana"
    step: int = 0  # escalations that were made
    escalate_at: datetime | None = None  # when the next one is due, while it is open
    taken_at: datetime | None = None
    closed_at: datetime | None = None
    overdue_at: datetime | None = None  # when it was noticed that it is
    revision: int = 1  # grows with each move


@dataclass(frozen=True, kw_only=True)
class HandoffItem:
    """A handoff as an item of a list outside, as a worker holds it."""

    handoff: str
    connection: str  # whose list it is
    kind: str  # "task"
    state: ItemState
    reference: str | None = None  # where it stands, e.g. "Task/31"
    version: str | None = None  # that was looked at last
    shown: int = 0  # the handoff's revision that it shows
    sent_at: datetime | None = None  # when something may first have gone out
    attempts: int = 0  # in a row that came to nothing
    last_error: str | None = None  # without patient data
    fence: int = 0


@dataclass(frozen=True, kw_only=True)
class HandoffFigures:
    """How one worklist stands, for one cause."""

    worklist: str
    cause: str
    open: int
    taken: int
    overdue: int
    acknowledged: int  # since the moment that was asked about
    acknowledged_s: float  # their times until somebody took them, together


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a list outside is to show of a handoff: no more than its action may show."""

    marker: str  # unique for the handoff: there is at most one item that bears it
    status: HandoffStatus
    worklist: str
    title: str  # what is to be done, and why the AI did not
    cause: Cause
    code: str  # "SYSTEM|CODE"; empty: the list's own
    priority: str  # FHIR's: routine, urgent, asap, stat
    patient: str | None  # "Patient/7"
    owner: str | None  # whom it is for, e.g. "Practitioner/12"
    opened_at: datetime
    due_at: datetime
    link: str  # to the page that says more, for who may see it
    outcome: str | None = None


@dataclass(frozen=True, kw_only=True)
class Listed:
    """How an item stands on a list outside."""

    reference: str
    version: str
    status: HandoffStatus
    refused: bool = False  # they will not do it
    owner: str | None = None  # a reference to a member of staff
    outcome: str | None = None  # what they wrote of it, untrusted
    differs: tuple[str, ...] = ()  # paths in which what was read back is not what was sent
    body: Resource | None = None  # for the list alone
