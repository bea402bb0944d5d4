"""One audit event. Field names follow FHIR AuditEvent and IHE BALP."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from chartgate.formats.canonical import canonical_bytes

# Fields that are left out of a leaf when they are None.
SPARSE_FIELDS = (
    "patient",
    "site",
    "charter",
    "charter_digest",
    "purpose",
    "interaction",
    "rule",
    "decision",
    "reason",
)


class Outcome(Enum):
    """What came of it."""

    SUCCESS = "success"
    DENIED = "denied"  # policy said no
    FAILED = "failed"  # allowed, but it did not work


@dataclass(frozen=True, kw_only=True)
class AuditEvent:
    """What happened, by whom, under which rule. `action` is a row of `ACTIONS`."""

    recorded: datetime
    action: str  # e.g. "fhir.read", "proposal.review"
    agent: str  # Principal.agent, e.g. "client:slot-picker"
    outcome: Outcome = Outcome.SUCCESS
    entities: tuple[str, ...] = ()  # references, e.g. "Slot/12", "Proposal/3f…"
    patient: str | None = None  # "Patient/7" where one is known
    site: str | None = None
    charter: str | None = None
    charter_digest: str | None = None  # hex
    purpose: str | None = None  # HL7 v3 PurposeOfUse
    interaction: str | None = None
    rule: str | None = None  # id of the policy rule that decided
    decision: str | None = None  # Decision.id
    reason: str | None = None  # a code or a sentence without patient data
    details: tuple[tuple[str, str], ...] = field(default=())  # few, small, no free text of a chart


def leaf_bytes(event: AuditEvent, *, tenant: str) -> bytes:
    """The canonical bytes that the ledger's tree holds for this event: fields that say nothing
    are left out, so that a field added later changes no old leaf."""
    record: dict[str, object] = {
        "recorded": event.recorded.isoformat(timespec="microseconds"),
        "action": event.action,
        "agent": event.agent,
        "outcome": event.outcome.value,
        "tenant": tenant,
    }
    for name in SPARSE_FIELDS:
        value = getattr(event, name)
        if value is not None:
            record[name] = value
    if event.entities:
        record["entities"] = event.entities
    if event.details:
        record["details"] = dict(event.details)
    return canonical_bytes(record)
