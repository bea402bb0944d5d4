"""Audit events of proposals: who did what to which one, about which patient, under which rules."""

from collections.abc import Sequence
from datetime import datetime

from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.decision import Decision
from chartgate.model.proposal import Proposal
from chartgate.model.write import Change, Receipt

Details = tuple[tuple[str, str], ...]


def event_of(
    gate: Gate,
    proposal: Proposal,
    action: str,
    agent: str,
    *,
    at: datetime,
    decision: Decision | None = None,
    outcome: Outcome = Outcome.SUCCESS,
    reason: str | None = None,
    details: Details = (),
) -> AuditEvent:
    """The event of one step of a proposal's walk; `reason` without patient data."""
    charter = gate.charters.charters.get(proposal.charter)
    effects = proposal.receipt.effects if proposal.receipt else ()
    references = [c.reference for c in proposal.content.changes if c.reference]
    references += [e.reference for e in effects if "?" not in e.reference]
    return AuditEvent(
        recorded=at,
        action=action,
        agent=agent,
        outcome=outcome,
        entities=(f"Proposal/{proposal.id}", *dict.fromkeys(references)),
        patient=proposal.patient,
        site=proposal.site,
        charter=proposal.charter,
        charter_digest=charter.digest if charter else proposal.charter_digest,
        purpose=charter.purpose_of_use if charter else None,
        interaction=proposal.interaction,
        rule=decision.rule if decision else None,
        decision=decision.id if decision else None,
        reason=reason,
        details=(
            ("status", proposal.status.value),
            ("content", proposal.content.digest),
            *details,
        ),
    )


def written(receipt: Receipt, changes: Sequence[Change] = ()) -> Details:
    """What was written and how, for the audit: verbs and versions in the same order."""
    asked: list[str] = [change.interaction for change in changes] or [""] * len(receipt.effects)
    verbs = []
    for effect, interaction in zip(receipt.effects, asked, strict=False):
        if effect.version_after is None:
            verbs.append("delete")
        else:
            verbs.append("create" if effect.version_before is None else interaction or "update")
    said = (("acknowledged", receipt.said),) if receipt.said else ()
    return (
        ("writes", " ".join(verbs)),
        ("versions", " ".join(f"{e.reference}/{e.version_after}" for e in receipt.effects)),
        *said,
    )
