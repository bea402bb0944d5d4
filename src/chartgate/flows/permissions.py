"""What somebody may do with one proposal now, each with the sentence that says why or why not.

A page shows what may not be done as disabled, with that sentence. The walks check again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from chartgate.flows.guards import GuardResult
from chartgate.flows.permits import is_author, request_on
from chartgate.gate import Gate
from chartgate.model.decision import Request
from chartgate.model.principal import Person, Principal
from chartgate.model.proposal import Proposal, Status, is_intact
from chartgate.policy.decide import decide

Verb = Literal["approve", "refuse", "hand-back", "edit", "withdraw", "rollback"]

POLICY_ACTIONS: dict[Verb, str] = {
    "approve": "review",
    "refuse": "review",
    "hand-back": "hand-back",
    "edit": "edit",
    "withdraw": "withdraw",
    "rollback": "rollback",
}
SAY_TAMPERED = "what is stored is not what its digest says; nobody may decide on it"
SAY_EXPIRED = "the time to decide has ended"


@dataclass(frozen=True, kw_only=True)
class Permission:
    """May it be done, and the sentence for it."""

    action: Verb
    permitted: bool
    sentence: str


def permissions(
    gate: Gate,
    principal: Principal,
    proposal: Proposal,
    guards: Sequence[GuardResult],
    *,
    now: datetime,
    relationship: frozenset[str] | None = None,
    hindrance: str | None = None,
) -> tuple[Permission, ...]:
    """For each verb that a principal of this kind could ever use. `hindrance` is what the review
    so far has against one more approval of theirs."""
    verbs: tuple[Verb, ...] = ()
    if isinstance(principal, Person):
        verbs = ("approve", "refuse", "hand-back", "edit", "rollback")
    elif is_author(principal, proposal):
        verbs = ("withdraw",)
    return tuple(
        _permission(
            gate,
            request_on(proposal, principal, POLICY_ACTIONS[verb], relationship=relationship),
            proposal,
            verb,
            guards,
            now=now,
            hindrance=hindrance if verb == "approve" else None,
        )
        for verb in verbs
    )


def _permission(
    gate: Gate,
    request: Request,
    proposal: Proposal,
    verb: Verb,
    guards: Sequence[GuardResult],
    *,
    now: datetime,
    hindrance: str | None,
) -> Permission:
    decision = decide(gate.charters, request)
    if not decision.permitted:
        return Permission(action=verb, permitted=False, sentence=decision.sentence)
    hindrance = why_not(proposal, verb, now=now) or hindrance
    if hindrance is None and verb == "approve":
        broken = [g.sentence for g in guards if g.holds is False]
        hindrance = f"{broken[0]}; edit it, refuse it or hand it back" if broken else None
    if hindrance is not None:
        return Permission(action=verb, permitted=False, sentence=hindrance)
    return Permission(action=verb, permitted=True, sentence=decision.sentence)


def why_not(proposal: Proposal, verb: Verb, *, now: datetime) -> str | None:
    """What the proposal's own state has against it; None: nothing."""
    wanted = Status.VERIFIED if verb == "rollback" else Status.PENDING_REVIEW
    if proposal.status is not wanted:
        return f"the proposal is {proposal.status.value}, not {wanted.value}"
    if wanted is Status.PENDING_REVIEW and now >= proposal.due_at:
        return SAY_EXPIRED
    if verb in ("approve", "edit") and not is_intact(proposal.content):
        return SAY_TAMPERED
    return None
