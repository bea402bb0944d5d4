"""A proposal: one change to the chart that an AI suggests and a person, or an explicit rule, decides.

The word is FHIR's own (Request.intent = proposal).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any

import orjson

from chartgate.errors import InvalidTransition
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.model.interaction import Seen
from chartgate.model.write import Change, Receipt, Write, change_from, change_json


class Status(Enum):
    """Where a proposal stands. The value is what the store and the API show."""

    SHADOWED = "shadowed"  # stage shadow: stored, never shown to anyone who could act on it
    PENDING_REVIEW = "pending-review"  # waits for a person's decision
    APPROVED = "approved"  # exactly this content may be written
    REJECTED = "rejected"  # a person refused it, with a reason
    EXPIRED = "expired"  # nobody decided in time
    WITHDRAWN = "withdrawn"  # by its author
    HANDED_OFF = "handed-off"  # staff do it by hand, from their worklist
    CONFLICTED = "conflicted"  # a guard no longer held at commit
    COMMITTING = "committing"  # intent is durable; the answer is not known yet
    COMMITTED = "committed"  # the system of record confirmed the write
    VERIFIED = "verified"  # read back, and it is what was approved
    MISMATCHED = "mismatched"  # read back, and it is not
    ROLLING_BACK = "rolling-back"  # undo intent is durable; the answer is not known yet
    ROLLED_BACK = "rolled-back"  # the system of record confirmed the undo
    CLOSED = "closed"  # staff finished what was handed to them


S = Status

TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    S.SHADOWED: frozenset(),
    S.PENDING_REVIEW: frozenset({S.APPROVED, S.REJECTED, S.EXPIRED, S.WITHDRAWN, S.HANDED_OFF}),
    S.APPROVED: frozenset({S.COMMITTING, S.CONFLICTED, S.HANDED_OFF}),
    S.REJECTED: frozenset(),
    S.EXPIRED: frozenset({S.HANDED_OFF}),
    S.WITHDRAWN: frozenset(),
    S.HANDED_OFF: frozenset({S.CLOSED}),
    S.CONFLICTED: frozenset({S.PENDING_REVIEW, S.HANDED_OFF}),
    S.COMMITTING: frozenset({S.COMMITTED, S.APPROVED, S.HANDED_OFF}),
    S.COMMITTED: frozenset({S.VERIFIED, S.MISMATCHED}),
    S.VERIFIED: frozenset({S.ROLLING_BACK}),
    S.MISMATCHED: frozenset({S.HANDED_OFF}),
    S.ROLLING_BACK: frozenset({S.ROLLED_BACK, S.VERIFIED, S.HANDED_OFF}),
    S.ROLLED_BACK: frozenset(),
    S.CLOSED: frozenset(),
}

# What a known-bad proposal may become: nothing that leads to a write, or to staff.
SEED_TO = frozenset({S.WITHDRAWN})
ENDS = frozenset({S.SHADOWED, S.REJECTED, S.WITHDRAWN, S.VERIFIED, S.ROLLED_BACK, S.CLOSED})


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One element that would change, as we computed it from the data."""

    reference: str  # "Slot/12", or "Appointment (new)"
    path: str  # "status", "participant[1].actor.reference"
    before: Any  # None: not there
    after: Any


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is proposed, at one version of it. A reviewer's edit makes the next version."""

    version: int  # from 1
    changes: tuple[Change, ...]
    differences: tuple[Difference, ...]
    digest: str  # hex SHA-256 of `content_bytes`: what an approval is bound to
    edited_by: str | None = None  # a person's agent name
    base: tuple[Seen, ...] = ()  # live versions a person was shown after a conflict; for the
    # guards they take the place of what the AI saw


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One proposal and where it stands."""

    id: str  # UUID
    charter: str
    charter_digest: str  # hex, of the revision it was submitted under
    action: str  # name under the charter's `proposes`
    site: str
    connection: str
    author: str  # Client.agent
    interaction: str
    stage: str  # at submit
    status: Status
    content: Content
    confidence: float  # 0 to 1, the AI's own
    rationale: str  # the AI's own words, untrusted
    created_at: datetime
    due_at: datetime  # undecided by then: expired, then handed off
    decided_by: str | None = None  # Person.agent, or "rule:auto"
    decided_at: datetime | None = None
    decided_digest: str | None = None  # Content.digest that was decided on
    reason: str | None = None  # why refused, conflicted or handed off
    receipt: Receipt | None = None
    compensation: Write | None = None
    attempts: int = 0  # of the commit or rollback under way
    fence: int = 0  # grows with each claim by a worker; an older claim cannot move it
    patient: str | None = None  # whom it is about, where that can be told: "Patient/7"
    replaces: str | None = None  # an earlier one of the same client, which met a conflict
    seed: str | None = None  # a known-bad one, to see whether the review catches it: its template


def can_move(proposal: Proposal, to: Status) -> bool:
    """Whether `moved` would."""
    return to in (SEED_TO if proposal.seed else TRANSITIONS[proposal.status])


def moved(proposal: Proposal, to: Status, **changes: Any) -> Proposal:
    """A copy in its next status. Raises InvalidTransition."""
    if not can_move(proposal, to):
        raise InvalidTransition(
            f"a proposal that is {proposal.status.value} cannot become {to.value}"
        )
    return replace(proposal, status=to, **changes)


def proposal_json(proposal: Proposal) -> dict[str, Any]:
    """Where it stands, and nothing of the chart: ProposalSummary of openapi.yaml."""
    return {
        "id": proposal.id,
        "status": proposal.status.value,
        "charter": proposal.charter,
        "action": proposal.action,
        "site": proposal.site,
        "author": proposal.author,
        "stage": proposal.stage,
        "interaction": proposal.interaction,
        "confidence": proposal.confidence,
        "created_at": proposal.created_at.isoformat(),
        "due_at": proposal.due_at.isoformat(),
        "decided_by": proposal.decided_by,
        "decided_at": proposal.decided_at.isoformat() if proposal.decided_at else None,
        "reason": proposal.reason,
        "replaces": proposal.replaces,
        "content": {"version": proposal.content.version, "digest": proposal.content.digest},
    }


def content_bytes(
    changes: Sequence[Change], differences: Sequence[Difference], base: Sequence[Seen] = ()
) -> bytes:
    """What an approval is bound to, and what the store keeps: canonical JSON."""
    form: dict[str, Any] = {
        "changes": [change_json(c) for c in changes],
        "differences": [asdict(d) for d in differences],
    }
    if base:
        form["base"] = [
            {
                "reference": seen.reference,
                "version": seen.version,
                "digest": seen.digest.hex(),
                "asOf": seen.as_of.isoformat(),
            }
            for seen in base
        ]
    return canonical_bytes(form)


def content_digest(
    changes: Sequence[Change], differences: Sequence[Difference], base: Sequence[Seen] = ()
) -> str:
    """`Content.digest`."""
    return digest(content_bytes(changes, differences, base)).hex()


def content_from(body: bytes, *, version: int, digest: str, edited_by: str | None) -> Content:
    """The content of stored bytes. What does not parse comes back empty, and so not intact."""
    try:
        form = orjson.loads(body)
        changes = tuple(change_from(c) for c in form["changes"])
        differences = tuple(Difference(**d) for d in form["differences"])
        base = tuple(_seen_from(s) for s in form.get("base", ()))
    except (ValueError, KeyError, TypeError, AttributeError):
        changes, differences, base = (), (), ()
    return Content(
        version=version,
        changes=changes,
        differences=differences,
        digest=digest,
        edited_by=edited_by,
        base=base,
    )


def is_intact(content: Content) -> bool:
    """False when the content is not what its digest says, so that nobody decided on it."""
    return content_digest(content.changes, content.differences, content.base) == content.digest


def _seen_from(form: Mapping[str, Any]) -> Seen:
    return Seen(
        reference=form["reference"],
        version=form["version"],
        digest=bytes.fromhex(form["digest"]),
        as_of=datetime.fromisoformat(form["asOf"]),
    )
