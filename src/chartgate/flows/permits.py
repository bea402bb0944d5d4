"""Asks policy on behalf of a walk; a no is audited before it is raised."""

from chartgate.errors import Denied, TooLarge, Unprocessable
from chartgate.flows.decided import note
from chartgate.flows.relationships import relationships_of
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.charter import ActionRule
from chartgate.model.decision import Decision, Request
from chartgate.model.principal import Client, Person, Principal
from chartgate.model.proposal import Proposal
from chartgate.policy.bounds import check_unchanged
from chartgate.policy.content import check_changes
from chartgate.policy.decide import decide

SAY_PERSON = "only a person may do this, with a session of their own"


def request_on(
    proposal: Proposal,
    principal: Principal,
    action: str,
    *,
    relationship: frozenset[str] | None = None,
) -> Request:
    """The question whether `principal` may do `action` on this proposal."""
    return Request(
        principal=principal,
        action=action,
        charter=proposal.charter,
        site=proposal.site,
        proposes=proposal.action,
        stage=proposal.stage,
        relationship=relationship,
        context=(("author", proposal.author),),
    )


async def relationship_on(
    gate: Gate, proposal: Proposal, principal: Principal
) -> frozenset[str] | None:
    """How the principal is known to the proposal's patient, where its charter asks for that."""
    action = running_action(gate, proposal)
    if action is None or not action.review_relationship:
        return None
    patient = proposal.patient
    if patient is None:
        return frozenset()
    kinds = action.review_relationship
    return await relationships_of(gate, proposal.connection, patient, principal, kinds)


def running_action(gate: Gate, proposal: Proposal) -> ActionRule | None:
    """The rule that the running charter has for it; None: the charter proposes this no more."""
    charter = gate.charters.charters.get(proposal.charter)
    return charter.proposes.get(proposal.action) if charter else None


def can_write(gate: Gate, proposal: Proposal, action: ActionRule) -> bool:
    """Whether the running charter still lets exactly this be written, and there."""
    charter = gate.charters.get(proposal.charter)
    if charter.sites.get(proposal.site) != proposal.connection:
        return False
    try:
        check_changes(action, proposal.content.changes)
        check_unchanged(action, proposal.content.changes, proposal.content.differences)
    except (Unprocessable, TooLarge):
        return False
    return True


async def check_permitted(gate: Gate, request: Request, *, proposal: str | None = None) -> Decision:
    """Raises Denied with the policy's sentence, audited."""
    decision = note(decide(gate.charters, request))
    if not decision.permitted:
        await record_denied(gate, request, decision, proposal=proposal)
        raise Denied(decision.sentence)
    return decision


async def check_person(
    gate: Gate, principal: Principal, request: Request, *, proposal: str
) -> tuple[Person, Decision]:
    """As `check_permitted`, for what only people may do: their type says it, beside the policy."""
    decision = await check_permitted(gate, request, proposal=proposal)
    if not isinstance(principal, Person):
        raise Denied(SAY_PERSON)
    return principal, decision


async def record_denied(
    gate: Gate, request: Request, decision: Decision, *, proposal: str | None = None
) -> None:
    """Notes a refusal, without anything of what was asked for but its kind."""
    known = gate.charters.charters.get(request.charter)
    event = AuditEvent(
        recorded=gate.clock(),
        action=f"proposal.{request.action}",
        agent=request.principal.agent,
        outcome=Outcome.DENIED,
        entities=(f"Proposal/{proposal}",) if proposal else (),
        site=request.site,
        charter=known.name if known else None,
        charter_digest=known.digest if known else None,
        purpose=known.purpose_of_use if known else None,
        rule=decision.rule,
        decision=decision.id,
        reason="policy",
    )
    await gate.audit.record(event)


def is_author(principal: Principal, proposal: Proposal) -> bool:
    """Whether this client submitted it."""
    return isinstance(principal, Client) and principal.agent == proposal.author
