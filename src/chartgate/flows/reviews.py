"""A person decides on exactly what they were shown, or edits it first.

One decision wins: it is an update of the row as it was shown, and whoever comes second is told.
Where the charter asks for several people, each decides alone, all on the same content, and it is
approved with the last of them. What it takes to approve is in review_care.py.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

from chartgate.errors import (
    ChartgateError,
    Denied,
    Invalid,
    InvalidTransition,
    Throttled,
    Unprocessable,
    VersionConflict,
)
from chartgate.failpoints import failpoint
from chartgate.flows.contexts import proposal_for
from chartgate.flows.drafts import draft
from chartgate.flows.entries import kept_changes
from chartgate.flows.grounds import grounds_of, patient_in
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
from chartgate.flows.review_care import check_approval, decided_otherwise, roles_in
from chartgate.flows.seeded import ended
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.decision import Decision
from chartgate.model.principal import Person, Principal
from chartgate.model.proposal import Proposal, Status, moved
from chartgate.policy.reviewing import Missing
from chartgate.store.database import Connection
from chartgate.store.proposals import ProposalStore, notify_work
from chartgate.store.reviews import ReviewStore

Verdict = Literal["approve", "refuse", "hand-back"]

REASON_MAX = 2_000  # characters
Detail = tuple[str, str]
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
    acknowledged: Collection[str] = (),
    each: Sequence[str] = (),
) -> Proposal:
    """The decision on the content with this digest. A refusal needs a reason; an approval the keys
    of the differences that the charter wants acknowledged, and time to have looked. `each` holds a
    verdict on each change, where the charter asks for one: what is refused is left out, and what
    remains waits to be approved as it then is.

    It comes back still waiting where others must approve too, and withdrawn where it was a
    known-bad one. Raises NotFound, Denied, Invalid, Throttled (too early), VersionConflict (it
    changed after it was shown, or another decision was first), InvalidTransition (it waits for no
    decision, or not for theirs), Unprocessable (something was not acknowledged).
    """
    if verdict not in ("approve", "refuse", "hand-back"):
        raise Invalid("verdict must be approve, refuse or hand-back")
    before, person, decision = await _open(gate, principal, id_, verdict=verdict, digest=digest)
    words = _checked_reason(reason)
    if verdict == "refuse" and words is None:
        raise Invalid("say why it is refused: its author and the scorecard learn from it")
    walk = _Walk(gate=gate, before=before, person=person, decision=decision, words=words)
    try:
        kept = []
        if verdict == "approve":
            kept = kept_changes(running_action(gate, before), before.content, each)
        if not kept:
            return await _decide(walk, verdict, acknowledged)
    except (Throttled, VersionConflict, InvalidTransition, Unprocessable) as error:
        await _fail(walk, verdict, error)
    return await edit(gate, principal, id_, changes_raw=kept, digest=digest)


@dataclass(frozen=True, kw_only=True)
class _Walk:
    """One decision on its way."""

    gate: Gate
    before: Proposal
    person: Person
    decision: Decision
    words: str | None  # the person's own

    @property
    def decided(self) -> dict[str, Any]:
        """What the proposal says of it."""
        return {
            "decided_by": self.person.agent,
            "decided_at": self.gate.clock(),
            "decided_digest": self.before.content.digest,
            "reason": self.words,
        }

    def event(self, after: Proposal, verdict: str, *more: Detail) -> AuditEvent:
        """What the audit says of it."""
        known_bad = (("known-bad", self.before.seed),) if self.before.seed else ()
        return event_of(
            self.gate,
            after,
            "proposal.review",
            self.person.agent,
            at=self.gate.clock(),
            decision=self.decision,
            details=(("verdict", verdict), *more, *known_bad),
        )


async def _decide(walk: _Walk, verdict: Verdict, acknowledged: Collection[str]) -> Proposal:
    if verdict == "approve":
        return await _approve(walk, acknowledged)
    if verdict == "refuse" or walk.before.seed:
        return await _refuse(walk, verdict)
    return await _hand_back(walk)


async def _approve(walk: _Walk, acknowledged: Collection[str]) -> Proposal:
    """This person's approval, and with the last one that is asked for the proposal's."""
    gate, before, person = walk.gate, walk.before, walk.person
    action = running_action(gate, before)
    assert action is not None, "policy permits nothing of what no charter proposes"
    at = gate.clock()
    failpoint("c04")
    async with gate.database.change_found() as (transaction, events):
        decided, missing = await check_approval(
            gate, transaction, before, person, action, acknowledged, at=at
        )
        after = _approved(walk, missing)
        of = f"{action.review_people - missing.people} of {action.review_people}"
        several = (("approvals", of),) if action.review_people > 1 else ()
        looked = (("looked_s", f"{decided.dwell_s:.0f}"), ("floor_s", f"{decided.floor_s:.0f}"))
        events.append(walk.event(after, "approve", *looked, *several))
        await ReviewStore(gate.database).decide(transaction, before, decided)
        if after is not before:
            await ProposalStore(gate.database).move(transaction, before, after, at=at)
        if after.status is Status.APPROVED:
            await notify_work(transaction, "commit")
        failpoint("c05")
    gate.metrics.reviewed(decided)
    return after


def _approved(walk: _Walk, missing: Missing) -> Proposal:
    before = walk.before
    if before.seed:
        return ended(before, walk.person, caught=False, gate=walk.gate)
    return moved(before, Status.APPROVED, **walk.decided) if missing.none else before


async def _refuse(walk: _Walk, verdict: str) -> Proposal:
    """One refusal ends it, whoever has approved before."""
    gate, before = walk.gate, walk.before
    if before.seed:
        after = ended(before, walk.person, caught=True, gate=gate)
    else:
        after = moved(before, Status.REJECTED, **walk.decided)
    event = walk.event(after, verdict)
    async with gate.database.change(event) as transaction:
        await ProposalStore(gate.database).move(transaction, before, after, at=event.recorded)
        decided = await decided_otherwise(
            gate, transaction, before, walk.person, verdict, at=event.recorded
        )
    gate.metrics.reviewed(decided)
    return after


async def _hand_back(walk: _Walk) -> Proposal:
    gate, before = walk.gate, walk.before
    decided = walk.decided
    decided["reason"] = walk.words or SAY_HANDED_BACK
    after = moved(before, Status.HANDED_OFF, **decided)

    async def noted(transaction: Connection) -> None:
        gate.metrics.reviewed(
            await decided_otherwise(
                gate, transaction, before, walk.person, "hand-back", at=gate.clock()
            )
        )

    return await hand_off(
        gate,
        before,
        after,
        running_action(gate, before),
        agent=walk.person.agent,
        say=SAY_HANDED_BACK,
        events=[walk.event(after, "hand-back")],
        also=noted,
    )


async def _fail(walk: _Walk, verdict: Verb, error: ChartgateError) -> NoReturn:
    """Notes a decision that could not be, and says why."""
    gate, before = walk.gate, walk.before
    event = event_of(
        gate,
        before,
        f"proposal.{POLICY_ACTIONS[verdict]}",
        walk.person.agent,
        at=gate.clock(),
        outcome=Outcome.FAILED,
        decision=walk.decision,
        reason=error.issue,
    )
    async with gate.database.change(event) as transaction:
        if isinstance(error, Throttled):
            await ReviewStore(gate.database).note_early(transaction, before, walk.person.agent)
            roles = roles_in(running_action(gate, before), walk.person)
            gate.metrics.review.too_early(before.charter, roles)
    raise error


async def edit(
    gate: Gate, principal: Principal, id_: str, *, changes_raw: Any, digest: str
) -> Proposal:
    """Replaces what is proposed by a reviewer's version of it, which must pass the same checks
    and stay with the same patient. Whoever decides must have seen the new version.

    Raises as `review`, and Unprocessable.
    """
    before, person, decision = await _open(gate, principal, id_, verdict="edit", digest=digest)
    if before.seed:
        walk = _Walk(gate=gate, before=before, person=person, decision=decision, words=None)
        return await _refuse(walk, "edit")
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
    if patient_in(edited, grounds.bodies) != before.patient:
        raise Invalid("an edit may not move the proposal to another patient; refuse it instead")
    after = replace(before, content=edited, reason=None)
    at = gate.clock()
    event = event_of(
        gate,
        after,
        "proposal.edit",
        person.agent,
        at=at,
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
    walk = _Walk(gate=gate, before=proposal, person=person, decision=decision, words=None)
    if digest != proposal.content.digest:
        await _fail(walk, verdict, VersionConflict(SAY_STALE))
    if hindrance := why_not(proposal, verdict, now=gate.clock()):
        tampered = hindrance == SAY_TAMPERED
        error = VersionConflict(hindrance) if tampered else InvalidTransition(hindrance)
        await _fail(walk, verdict, error)
    return proposal, person, decision


def _checked_reason(reason: str | None) -> str | None:
    words = (reason or "").strip()
    if len(words) > REASON_MAX or "\0" in words:
        raise Invalid(f"a reason has at most {REASON_MAX} characters")
    return words or None
