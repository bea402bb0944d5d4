"""A break-glass: one person sees one patient's chart against the usual rules, for a reason, for an
hour at most, and somebody else looks at it afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

PURPOSE = "BTG"  # HL7 v3 PurposeOfUse of everything that is done under one
# Why, as HL7 v3 PurposeOfUse says it. Source: https://terminology.hl7.org/CodeSystem-v3-ActReason
CODES: Mapping[str, str] = {
    "ETREAT": "emergency treatment",
    "BTG": "another reason to break the glass",
}
FINDINGS: Mapping[str, str] = {
    "justified": "it was justified",
    "not-justified": "it was not justified",
}
State = Literal["open", "to-review", "reviewed"]


@dataclass(frozen=True, kw_only=True)
class BreakGlass:
    """One of them. Nothing prolongs it; `words` may be about the patient and stay in the store."""

    id: str
    person: str  # Person.id
    site: str
    patient: str  # "Patient/7"
    code: str  # a row of CODES
    words: str
    sealed: bool  # by a sealed account
    opened_at: datetime
    ends_at: datetime
    review_due_at: datetime
    ended_at: datetime | None = None
    ended_by: str | None = None
    overdue_at: datetime | None = None
    reviewed_at: datetime | None = None
    reviewed_by: str | None = None  # an agent
    finding: str | None = None  # a row of FINDINGS
    remark: str | None = None

    def holds(self, now: datetime) -> bool:
        """Whether the chart is open to the person now."""
        return self.ended_at is None and self.opened_at <= now < self.ends_at

    def state(self, now: datetime) -> State:
        """Where it stands."""
        if self.reviewed_at is not None:
            return "reviewed"
        return "open" if self.holds(now) else "to-review"

    def overdue(self, now: datetime) -> bool:
        """Whether nobody has looked at it in time."""
        return self.reviewed_at is None and now >= self.review_due_at
