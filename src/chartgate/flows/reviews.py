"""A person decides on exactly what they were shown, or edits it first.

One decision wins: it is an update of the row as it was shown, and whoever comes second is told.
"""

from dataclasses import replace
from typing import Any, Literal

from chartgate.errors import ChartgateError, Denied, Invalid, InvalidTransition, VersionConflict
from chartgate.failpoints import failpoint
from chartgate.flows.contexts import proposal_for
from chartgate.flows.drafts import draft
from chartgate.flows.grounds import grounds_of, patient_in, patient_of_proposal
from chartgate.flows.handoffs import hand_off
from chartgate.flows.permissions import POLICY_ACTIONS, SAY_TAMPERED, Verb, why_not
from chartgate.flows.permits import (
    check_person,
    relationship_on,
    request_on,
    running_action,
)
from chartgate.flows.proposal_events import event_of
from chartgate.flows.proposals import SAY_NOT_FOUND
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.decision import Decision
from chartgate.model.principal import Person, Principal
from chartgate.model.proposal import Proposal, Status, moved
from chartgate.store.proposals import ProposalStore, notify_work

Verdict = Literal["approve", "refuse", "hand-back"]

REASON_MAX = 2_000  # characters
SAY_STALE = "the proposal was changed after you opened it; look at it again before you decide"
SAY_HANDED_BACK = "its reviewer handed it back; the proposal says why"


async def review(
    gate: Gate,
    principal: Principal,
    id_: str,
    *,
    verdict: Verdict,
    digest: str,
    reason: str | None = None,
) -> Proposal:
    """The decision on the content with this digest. A refusal needs a reason.

    Raises NotFound, Denied, Invalid, VersionConflict (it changed after it was shown, or another
    decision was first), InvalidTransition (it waits for no decision, or not any more).
    """
    if verdict not in ("approve", "refuse", "hand-back"):
        raise Invalid("verdict must be approve, refuse or hand-back")
    before, person, decision = await _open(gate, principal, id_, verdict=verdict, digest=digest)
    words = _checked_reason(reason)
    if verdict == "refuse" and words is None:
        raise Invalid("say why it is refused: its author and the scorecard learn from it")
    decided = {
        "decided_by": person.agent,
        "decided_at": gate.clock(),
        "decided_digest": digest,
        "reason": words,
    }
    if verdict == "hand-back":
        decided["reason"] = words or SAY_HANDED_BACK
        after = moved(before, Status.HANDED_OFF, **decided)
        return await hand_off(
            gate,
            before,
            after,
            running_action(gate, before),
            agent=person.agent,
            say=SAY_HANDED_BACK,
            events=[await _decided(gate, after, person, decision, verdict)],
        )
    after = moved(before, Status.APPROVED if verdict == "approve" else Status.REJECTED, **decided)
    event = await _decided(gate, after, person, decision, verdict)
    failpoint("c04")
    async with gate.database.change(event) as transaction:
        await ProposalStore(gate.database).move(transaction, before, after, at=event.recorded)
        if after.status is Status.APPROVED:
            await notify_work(transaction, "commit")
        failpoint("c05")
    return after


async def edit(
    gate: Gate, principal: Principal, id_: str, *, changes_raw: Any, digest: str
) -> Proposal:
    """Replaces what is proposed by a reviewer's version of it, which must pass the same checks
    and stay with the same patient. Whoever decides must have seen the new version.

    Raises as `review`, and Unprocessable.
    """
    before, person, decision = await _open(gate, principal, id_, verdict="edit", digest=digest)
    action = running_action(gate, before)
    assert action is not None, "policy permits nothing of what no charter proposes"
    content = before.content
    grounds = await grounds_of(gate, before.connection, before.interaction, content.base)
    edited = draft(
        action,
        changes_raw,
        grounds,
        version=content.version + 1,
        edited_by=person.agent,
        base=content.base,
    )
    patient = patient_in(edited, grounds.bodies)
    if patient != patient_in(content, grounds.bodies):
        raise Invalid("an edit may not move the proposal to another patient; refuse it instead")
    after = replace(before, content=edited, reason=None)
    at = gate.clock()
    event = event_of(
        gate,
        after,
        "proposal.edit",
        person.agent,
        at=at,
        patient=patient,
        decision=decision,
        details=(("before", content.digest),),
    )
    async with gate.database.change(event) as transaction:
        await ProposalStore(gate.database).move(transaction, before, after, at=at)
    return after


async def _open(
    gate: Gate, principal: Principal, id_: str, *, verdict: Verb, digest: str
) -> tuple[Proposal, Person, Decision]:
    """The proposal, if this person may do it now, on what they were shown."""
    proposal = await proposal_for(gate, principal, id_)
    related = await relationship_on(gate, proposal, principal)
    request = request_on(proposal, principal, POLICY_ACTIONS[verdict], relationship=related)
    person, decision = await check_person(gate, principal, request, proposal=proposal.id)
    if proposal.status is Status.SHADOWED:
        raise Denied(SAY_NOT_FOUND)
    if digest != proposal.content.digest:
        raise VersionConflict(SAY_STALE)
    if hindrance := why_not(proposal, verdict, now=gate.clock()):
        error: ChartgateError = InvalidTransition(hindrance)
        if hindrance == SAY_TAMPERED:
            error = VersionConflict(hindrance)
        event = event_of(
            gate,
            proposal,
            f"proposal.{POLICY_ACTIONS[verdict]}",
            person.agent,
            at=gate.clock(),
            patient=await patient_of_proposal(gate, proposal),
            outcome=Outcome.FAILED,
            decision=decision,
            reason=error.issue,
        )
        await gate.audit.record(event)
        raise error
    return proposal, person, decision


async def _decided(
    gate: Gate, after: Proposal, person: Person, decision: Decision, verdict: Verdict
) -> AuditEvent:
    return event_of(
        gate,
        after,
        "proposal.review",
        person.agent,
        at=gate.clock(),
        patient=await patient_of_proposal(gate, after),
        decision=decision,
        details=(("verdict", verdict),),
    )


def _checked_reason(reason: str | None) -> str | None:
    words = (reason or "").strip()
    if len(words) > REASON_MAX or "\0" in words:
        raise Invalid(f"a reason has at most {REASON_MAX} characters")
    return words or None
