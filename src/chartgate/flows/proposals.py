"""Proposals as their author and their readers meet them: submit, list, show, withdraw.

Their way on is in reviews.py (a person decides), commits.py (the write and its read-back),
rollbacks.py (taking it back), deadlines.py and handoffs.py (staff do it by hand).
A halt stops writes only: proposals may still be submitted and reviewed while one is in force.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from chartgate.errors import ChartgateError, Denied, Invalid, NotFound, Throttled, VersionConflict
from chartgate.failpoints import failpoint
from chartgate.flows import at_once
from chartgate.flows.conflicts import replaced_by, replaced_event, withdraw_replaced
from chartgate.flows.consented import why_not_consented
from chartgate.flows.contexts import in_context, is_bound, proposal_for
from chartgate.flows.decided import note
from chartgate.flows.drafts import draft, stand_ins_of
from chartgate.flows.grounds import grounds_of, patient_in
from chartgate.flows.guards import GuardResult, cannot_tell, look_bounded
from chartgate.flows.handoffs import details_of, opened
from chartgate.flows.mentions import mentioned
from chartgate.flows.permissions import Permission, permissions
from chartgate.flows.permits import (
    check_permitted,
    record_denied,
    relationship_on,
    request_on,
)
from chartgate.flows.proposal_events import event_of
from chartgate.flows.review_care import ReviewStanding, show_recorded
from chartgate.flows.seeded import put_seed
from chartgate.flows.seen_views import SeenResource, as_seen, changed_since
from chartgate.flows.telling import check_tellable
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.charter import STAGES, ActionRule, Charter
from chartgate.model.decision import Decision, Request
from chartgate.model.handoff import Cause, Handoff
from chartgate.model.interaction import Interaction
from chartgate.model.principal import Client, Person, Principal
from chartgate.model.proposal import Content, Difference, Proposal, Status, moved
from chartgate.model.resource import Resource
from chartgate.policy.coded import is_number
from chartgate.policy.decide import decide
from chartgate.policy.seen_proposed_now import SeenProposedNow, seen_proposed_now
from chartgate.store.database import Connection
from chartgate.store.handoffs import HandoffStore
from chartgate.store.interactions import InteractionStore
from chartgate.store.proposals import ProposalStore, notify_work
from chartgate.store.stages import StageStore

RULE_AUTO = "rule:auto"
SAY_NOT_FOUND = "there is no such proposal"
SHADOW = STAGES[0]
RATIONALE_MAX = 4_000  # characters: what a reviewer reads, not a second chart
KEY_MAX = 200  # characters of an idempotency key
LIST_MAX = 500
RETRY_AFTER_S = 30.0
LOOK_TIMEOUT_S = 3.0  # a page waits no longer for the guards
LOOKED_AT = frozenset({Status.PENDING_REVIEW, Status.APPROVED, Status.VERIFIED})
SAY_CANNOT_TELL = "the system of record did not answer in time, so it cannot be told"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What an AI client sends. `changes` is raw JSON."""

    site: str
    action: str
    changes: Any
    confidence: float
    rationale: str
    interaction: str
    idempotency_key: str | None = None
    charter: str | None = None  # must be the token's own, if given
    replaces: str | None = None  # a proposal of its own that met a conflict


@dataclass(frozen=True, kw_only=True)
class ProposalView:
    """Everything that it takes to decide on a proposal."""

    proposal: Proposal
    read_set: tuple[SeenResource, ...]
    mentions: Mapping[str, Resource]  # for a person: named in it, but not read by the AI
    guards: tuple[GuardResult, ...]  # as they stand now; empty where nobody is to decide
    changed_since: tuple[Difference, ...]  # in what is changed or guarded, since the AI read it
    three_way: tuple[SeenProposedNow, ...] | None  # None: nobody is to decide, or it cannot be told
    permissions: tuple[Permission, ...]
    handoff: Handoff | None
    contents: tuple[Content, ...]  # every version of what was proposed
    review: ReviewStanding | None  # for a person, where it waits for a decision


async def submit(gate: Gate, client: Client, submission: Submission) -> Proposal:
    """Takes a proposal, or the one that was taken before under the same idempotency key.

    Raises Denied, Invalid, Unprocessable, Throttled, VersionConflict (another content under the
    same key), Unavailable. A refusal is audited.
    """
    decision = await check_permitted(
        gate,
        Request(
            principal=client,
            action="submit",
            charter=submission.charter or client.charter,
            site=submission.site,
            proposes=submission.action,
        ),
    )
    failpoint("c01")
    try:
        taken = await _submit(gate, client, submission, decision)
    except ChartgateError as error:
        await gate.audit.record(_refusal(gate, client, submission, decision, error))
        raise
    failpoint("c02")
    await put_seed(gate, taken)
    return taken


async def listed(
    gate: Gate, principal: Principal, *, status: Status | None = None, limit: int = 100
) -> tuple[Proposal, ...]:
    """What this principal may see, newest first: a client its own, a person those of their roles
    and sites. What runs in shadow is shown to no person. Raises Denied."""
    client = isinstance(principal, Client)
    allowed = [
        name
        for name in gate.charters.charters
        if decide(
            gate.charters, Request(principal=principal, action="list", charter=name, site="")
        ).permitted
    ]
    found = await ProposalStore(gate.database).listed(
        statuses=None if status is None else [status],
        author=principal.agent if client else None,
        charters=allowed,
        sites=principal.sites if isinstance(principal, Person) else None,
        limit=LIST_MAX if is_bound(principal) else min(limit, LIST_MAX),
    )
    seen = [p for p in found if _may_see(gate, principal, p)]
    shown = tuple([p for p in seen if in_context(principal, p)][:limit])
    event = AuditEvent(
        recorded=gate.clock(),
        action="proposal.list",
        agent=principal.agent,
        entities=tuple(f"Proposal/{p.id}" for p in shown),
    )
    await gate.audit.record(event)
    return shown


async def show(gate: Gate, principal: Principal, id_: str) -> ProposalView:
    """One proposal with all that it takes to decide on it. A person's view looks at the live
    system, for a bounded time. Raises NotFound, also for what this principal may not see."""
    proposal = await _visible(gate, principal, id_)
    charter = gate.charters.get(proposal.charter)
    action = charter.proposes.get(proposal.action)
    content = proposal.content
    grounds = await grounds_of(gate, proposal.connection, proposal.interaction)
    based = await grounds_of(gate, proposal.connection, proposal.interaction, content.base)
    results: tuple[GuardResult, ...] = ()
    changed: tuple[Difference, ...] = ()
    three_way: tuple[SeenProposedNow, ...] | None = None
    mentions: Mapping[str, Resource] = {}
    if isinstance(principal, Person):
        looking = mentioned(gate, proposal, charter, grounds, timeout_s=LOOK_TIMEOUT_S)
        if action and proposal.status in LOOKED_AT:
            mentions, standing = await asyncio.gather(
                looking, look_bounded(gate, proposal, action, based, timeout_s=LOOK_TIMEOUT_S)
            )
            results = standing.results if standing else cannot_tell(action, SAY_CANNOT_TELL)
            changed = changed_since(charter, grounds, standing) if standing else ()
            three_way = seen_proposed_now(content.differences, changed) if standing else None
        else:
            mentions = await looking
    event = event_of(gate, proposal, "proposal.show", principal.agent, at=gate.clock())
    related = await relationship_on(gate, proposal, principal)
    handoff = await HandoffStore(gate.database).of_proposal(proposal.id)
    contents = await ProposalStore(gate.database).contents(proposal.id)
    review = await show_recorded(gate, principal, proposal, event)
    return ProposalView(
        proposal=proposal,
        read_set=as_seen(charter, grounds),
        mentions=mentions,
        guards=results,
        changed_since=changed,
        three_way=three_way,
        permissions=permissions(
            gate,
            principal,
            proposal,
            results,
            now=gate.clock(),
            relationship=related,
            hindrance=review.hindrance if review else None,
        ),
        handoff=handoff,
        contents=contents,
        review=review,
    )


async def withdraw(gate: Gate, client: Client, id_: str) -> Proposal:
    """Its author takes it back before anybody decided. Raises NotFound, Denied,
    InvalidTransition, VersionConflict."""
    proposal = await _visible(gate, client, id_)
    decision = await check_permitted(
        gate, request_on(proposal, client, "withdraw"), proposal=proposal.id
    )
    after = moved(proposal, Status.WITHDRAWN)
    at = gate.clock()
    event = event_of(gate, after, "proposal.withdraw", client.agent, at=at, decision=decision)
    async with gate.database.change(event) as transaction:
        await ProposalStore(gate.database).move(transaction, proposal, after, at=at)
    return after


async def _submit(
    gate: Gate, client: Client, submission: Submission, decision: Decision
) -> Proposal:
    _check_plain(client, submission)
    charter = gate.charters.get(client.charter)
    action = charter.proposes[submission.action]
    connection = charter.sites[submission.site]
    interaction = await _own_interaction(gate, client, submission)
    grounds = await grounds_of(gate, connection, interaction.id)
    stage = await StageStore(gate.database).current(charter)
    stop: at_once.Stop | None = None
    try:
        stand_ins = stand_ins_of(gate, connection)
        content = draft(action, submission.changes, grounds, stand_ins=stand_ins)
        check_tellable(gate, action, submission.site, content.changes, grounds.bodies)
        await at_once.check_not_staffs(gate, connection, content)
    except Invalid:
        if not at_once.takes(action, Cause.INVALID, stage=stage):
            raise
        content, stop = at_once.NOTHING, at_once.INVALID
    proposal = Proposal(
        id=str(uuid4()),
        charter=charter.name,
        charter_digest=charter.digest,
        action=action.name,
        site=submission.site,
        connection=connection,
        author=client.agent,
        interaction=interaction.id,
        stage=stage,
        status=Status.PENDING_REVIEW,
        content=content,
        confidence=submission.confidence,
        rationale=submission.rationale,
        created_at=gate.clock(),
        due_at=gate.clock() + timedelta(seconds=action.review_within_s),
        patient=at_once.only_patient(grounds) if stop else patient_in(content, grounds.bodies),
        replaces=submission.replaces,
    )
    if earlier := await _submitted_before(gate, submission, proposal):
        return earlier
    if hindrance := await why_not_consented(gate, proposal, grounds.bodies):
        raise Denied(hindrance)
    failpoint("c03")
    stop = stop or at_once.stop_for(gate, proposal, charter, action)
    try:
        return await _store(gate, proposal, submission, charter, decision, stop)
    except Throttled:
        if stop or not at_once.takes(action, Cause.OVER_BUDGET, stage=stage):
            raise
    return await _store(gate, proposal, submission, charter, decision, at_once.OVER_BUDGET)


async def _store(
    gate: Gate,
    proposal: Proposal,
    submission: Submission,
    charter: Charter,
    decision: Decision,
    stop: at_once.Stop | None,
) -> Proposal:
    """Stores it where the stage, the charter's rule, or what stopped it, put it."""
    action = charter.proposes[proposal.action]
    proposal = _first_status(proposal, action, stop)
    handoff, item = None, None
    if stop is not None:
        at, said = proposal.created_at, stop.sentence
        handoff, item = opened(gate, proposal, action, cause=stop.cause, reason=said, at=at)
    events = _events(gate, proposal, decision, handoff)
    store = ProposalStore(gate.database)
    # What staff get at once takes nobody's place: what it would replace still waits for a decision.
    replaced = await replaced_by(gate, action, proposal) if stop is None else None
    if replaced is not None:
        events.append(await replaced_event(gate, replaced, proposal))
    try:
        async with gate.database.change(*events) as transaction:
            if replaced is not None:
                await withdraw_replaced(gate, transaction, replaced, proposal)
            if stop is None or stop.cause not in at_once.BEYOND:
                await _check_budget(store, transaction, proposal, charter)
            if stop is not None:
                await at_once.check_room(gate, transaction, proposal, charter)
            await store.insert(transaction, proposal, idempotency_key=submission.idempotency_key)
            if handoff:
                await HandoffStore(gate.database).insert(transaction, handoff, item)
            if proposal.status is Status.APPROVED:
                await notify_work(transaction, "commit")
    except VersionConflict:
        # The same key came twice at once, and the other one was first.
        earlier = await _submitted_before(gate, submission, proposal)
        if earlier is None:
            raise
        return earlier
    return proposal


def _first_status(proposal: Proposal, action: ActionRule, stop: at_once.Stop | None) -> Proposal:
    if stop is not None:
        return moved(proposal, Status.HANDED_OFF, reason=stop.sentence)
    if proposal.stage == SHADOW:
        return replace(proposal, status=Status.SHADOWED)
    if can_decide_itself(action, stage=proposal.stage, confidence=proposal.confidence):
        return moved(
            proposal,
            Status.APPROVED,
            decided_by=RULE_AUTO,
            decided_at=proposal.created_at,
            decided_digest=proposal.content.digest,
        )
    return proposal


def can_decide_itself(action: ActionRule, *, stage: str, confidence: float) -> bool:
    """Whether the charter's explicit rule stands in for a person."""
    rule = action.auto
    return (
        rule is not None
        and confidence >= rule.min_confidence
        and STAGES.index(stage) >= STAGES.index(rule.from_stage)
    )


def _events(
    gate: Gate,
    proposal: Proposal,
    decision: Decision,
    handoff: Handoff | None,
) -> list[AuditEvent]:
    at = proposal.created_at
    confidence = (("confidence", f"{proposal.confidence:.3f}"), ("stage", proposal.stage))
    events = [
        event_of(
            gate,
            proposal,
            "proposal.submit",
            proposal.author,
            at=at,
            decision=decision,
            details=confidence,
        )
    ]
    if proposal.status is Status.APPROVED:
        events.append(event_of(gate, proposal, "proposal.review", RULE_AUTO, at=at))
    if handoff is not None:
        events.append(
            event_of(
                gate,
                proposal,
                "handoff.open",
                RULE_AUTO,
                at=at,
                reason=handoff.reason,
                details=details_of(handoff),
            )
        )
    return events


async def _check_budget(
    store: ProposalStore, transaction: Connection, proposal: Proposal, charter: Charter
) -> None:
    open_max = charter.budgets.get("open_proposals")
    if open_max is None or proposal.status is Status.SHADOWED:
        return
    count = await store.count_open(transaction, author=proposal.author, charter=proposal.charter)
    if count >= open_max:
        raise Throttled(
            f"{count} proposals of this charter are open, and its budget is {open_max}; "
            "wait until some are decided",
            retry_after_s=RETRY_AFTER_S,
        )


def _check_plain(client: Client, submission: Submission) -> None:
    """What needs no look at anything else."""
    if submission.charter not in (None, client.charter):
        raise Invalid(f"this token acts under {client.charter}, not under {submission.charter}")
    confidence = submission.confidence
    if not (is_number(confidence) and 0 <= confidence <= 1):
        raise Invalid("confidence must be a number from 0 to 1")
    if not isinstance(submission.rationale, str) or len(submission.rationale) > RATIONALE_MAX:
        raise Invalid(f"rationale must be a text of at most {RATIONALE_MAX} characters")
    if "\0" in submission.rationale:
        raise Invalid("rationale must not hold a NUL character")
    key = submission.idempotency_key
    if key is not None and not (0 < len(key) <= KEY_MAX and key.isprintable()):
        raise Invalid(f"an idempotency key is 1 to {KEY_MAX} printable characters")


async def _own_interaction(gate: Gate, client: Client, submission: Submission) -> Interaction:
    """Raises Invalid: one sentence for "not there" and "not yours"."""
    try:
        id_ = str(UUID(submission.interaction))
    except (ValueError, AttributeError, TypeError):
        raise Invalid("interaction must be the UUID that your reads were answered with") from None
    found = await InteractionStore(gate.database).get(id_)
    if found is None or (found.client, found.charter, found.site) != (
        client.id,
        client.charter,
        submission.site,
    ):
        raise Invalid("there is no such interaction of this client at this site")
    return found


async def _submitted_before(
    gate: Gate, submission: Submission, proposal: Proposal
) -> Proposal | None:
    """What came under this key before. Raises VersionConflict if it was something else."""
    key = submission.idempotency_key
    store = ProposalStore(gate.database)
    earlier = await store.by_key(proposal.author, key) if key else None
    if earlier is None:
        return None
    id_, digest = earlier
    found = await store.get(id_)
    if digest != proposal.content.digest or found.action != proposal.action:
        raise VersionConflict("this idempotency key was used for another proposal; take a new one")
    return found


def _refusal(
    gate: Gate, client: Client, submission: Submission, decision: Decision, error: ChartgateError
) -> AuditEvent:
    """The event of a submission that was not taken. It holds nothing of what was sent."""
    charter = gate.charters.charters.get(client.charter)
    return AuditEvent(
        recorded=gate.clock(),
        action="proposal.submit",
        agent=client.agent,
        outcome=Outcome.DENIED if isinstance(error, Denied) else Outcome.FAILED,
        site=submission.site,
        charter=client.charter,
        charter_digest=charter.digest if charter else None,
        purpose=charter.purpose_of_use if charter else None,
        rule=decision.rule,
        decision=decision.id,
        reason=error.issue,
    )


async def _visible(gate: Gate, principal: Principal, id_: str) -> Proposal:
    proposal = await proposal_for(gate, principal, id_)
    if not _may_see(gate, principal, proposal):
        request = request_on(proposal, principal, "show")
        await record_denied(gate, request, decide(gate.charters, request), proposal=proposal.id)
        raise NotFound(SAY_NOT_FOUND)
    return proposal


def _may_see(gate: Gate, principal: Principal, proposal: Proposal) -> bool:
    """Shadow is silent: who could act on a proposal must not be swayed by it."""
    if proposal.status is Status.SHADOWED and isinstance(principal, Person):
        return False
    if proposal.seed and isinstance(principal, Client):
        return False  # its author never made it
    return note(decide(gate.charters, request_on(proposal, principal, "show"))).permitted
