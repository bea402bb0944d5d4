"""Keeps handoffs and the lists outside in line: told there, heard back from there.

An item is put there once, whatever crashes: its marker makes a second create find the first. After
that the two are compared as they stand, not by what was sent: whichever side is further moves the
other, in one transaction here, by one guarded write there. What cannot be reached waits; the
console has it meanwhile.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from chartgate.errors import (
    ChartgateError,
    ConfigError,
    Erased,
    InvalidTransition,
    NotFound,
    OutcomeUnknown,
    VersionConflict,
    WriteRefused,
)
from chartgate.flows.escalations import released
from chartgate.flows.handoffs import closing, event_on, taking
from chartgate.flows.permits import running_action
from chartgate.flows.proposal_events import Details
from chartgate.flows.sending import NOTHING_SENT, Held, retry_at
from chartgate.flows.task_worklist import TaskWorklist
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.handoff import (
    Handoff,
    HandoffItem,
    HandoffStatus,
    ItemState,
    Listed,
    Shown,
)
from chartgate.model.ports import LastLook, Worklist
from chartgate.model.proposal import Proposal
from chartgate.store.database import Connection
from chartgate.store.handoffs import HandoffStore
from chartgate.store.proposals import ProposalStore

LOG = structlog.get_logger()
AT_ONCE_MAX = 8  # items that a worker has in hand; one that hangs holds up no other
SAY_HALTED = "a halt is in force; nothing was sent"
SAY_DIFFERS = "what the list shows is not what was sent, in: "
SAY_ERASED = "the patient was erased here"
SAY_GONE = "it is not on the list outside any more"
SAY_REFUSED = "it was refused on the list outside"
OUTCOME_UNSAID = "closed on the list outside, without a word"
ERROR_MAX = 300  # characters
PAGE = "/worklist/"


@dataclass(frozen=True)
class InHand:
    """An item that a worker holds, and what stands on it."""

    item: HandoffItem
    handoff: Handoff
    proposal: Proposal
    agent: str  # the worker


async def keep_next(gate: Gate, worker: str) -> int:
    """Brings items in line that are due; how many were looked at. Raises Unavailable."""
    now = gate.clock()
    claimed = await HandoffStore(gate.database).claim_items(
        now=now,
        lease_until=now + timedelta(seconds=gate.config.worker.lease_s),
        count_max=AT_ONCE_MAX,
    )
    agent = f"process:{worker}"
    kept = await asyncio.gather(
        *(_keep(gate, item, agent) for item in claimed), return_exceptions=True
    )
    for result in kept:
        if isinstance(result, BaseException):
            raise result  # after all the others have ended
    return len(claimed)


def worklist_of(gate: Gate, item: HandoffItem) -> Worklist:
    """The list outside that an item stands on. Raises ConfigError."""
    if item.kind == "task":
        return TaskWorklist(gate.source(item.connection), gate.sink(item.connection))
    raise ConfigError(f"no adapter has worklists of the kind {item.kind}")


async def _keep(gate: Gate, item: HandoffItem, agent: str) -> None:
    store = HandoffStore(gate.database)
    try:
        async with asyncio.timeout(gate.config.worker.lease_s):
            handoff = await store.get(item.handoff)
            proposal = await ProposalStore(gate.database).get(handoff.proposal)
            await _in_line(gate, InHand(item, handoff, proposal, agent))
    except Erased:
        gone = replace(item, state=ItemState.GONE, last_error=SAY_ERASED)
        await _settle(gate, gone)
    except (VersionConflict, InvalidTransition) as error:
        # Somebody moved it meanwhile, on one of the two sides: look again.
        await store.put_off(item, until=retry_at(gate, 0), error=_said(error))
    except (*NOTHING_SENT, WriteRefused, OutcomeUnknown, ConfigError, TimeoutError) as error:
        if not isinstance(error, Held):
            LOG.warning("handoffs.not_told", connection=item.connection, error=type(error).__name__)
        await store.put_off(item, until=retry_at(gate, item.attempts), error=_said(error))


async def _in_line(gate: Gate, in_hand: InHand) -> None:
    item, handoff = in_hand.item, in_hand.handoff
    worklist = worklist_of(gate, item)
    if item.reference is None:
        await _put(gate, in_hand, worklist)
        return
    told = item.shown == handoff.revision
    try:
        listed = await worklist.look(item.reference, version=item.version if told else None)
    except NotFound:
        await _lost(gate, in_hand, SAY_GONE)
        return
    if listed is None:
        await _settle(gate, item)
    elif listed.refused:
        await _lost(gate, in_hand, SAY_REFUSED)
    elif listed.status is HandoffStatus.CLOSED and handoff.status is not HandoffStatus.CLOSED:
        await _closed_there(gate, in_hand, listed)
    elif listed.status is HandoffStatus.TAKEN and handoff.status is HandoffStatus.OPEN:
        await _taken_there(gate, in_hand, listed)
    else:
        await _show(gate, in_hand, listed, worklist)


async def _put(gate: Gate, in_hand: InHand, worklist: Worklist) -> None:
    """First there. One that was closed here before anything went out is not put there at all;
    where something may have gone out, it is put there closed, so that a late request finds it."""
    tried = in_hand.item.sent_at is not None
    if in_hand.handoff.status is HandoffStatus.CLOSED and not tried:
        ended = replace(in_hand.item, state=ItemState.ENDED, shown=in_hand.handoff.revision)
        await _settle(gate, ended)
        return
    shown = await _shown(gate, in_hand)
    listed = await worklist.put(shown, tried=tried, last_look=_last_look(gate, in_hand))
    # What an earlier try put there may show how it stood then: compared at the next look.
    await _told(gate, in_hand, listed, in_line=not tried)


async def _show(gate: Gate, in_hand: InHand, listed: Listed, worklist: Worklist) -> None:
    """They stand alike, or this side is further."""
    shown = await _shown(gate, in_hand)
    after = await worklist.show(listed, shown, last_look=_last_look(gate, in_hand))
    if after is not None:
        await _told(gate, in_hand, after)
        return
    await _settle(gate, _standing(in_hand.item, listed, in_hand.handoff))


async def _told(gate: Gate, in_hand: InHand, listed: Listed, *, in_line: bool = True) -> None:
    """What was sent stands there, and was read back."""
    error = (SAY_DIFFERS + ", ".join(listed.differs))[:ERROR_MAX] if listed.differs else None
    sent = (("task", listed.reference), ("version", listed.version))
    event = await _event(gate, in_hand, "handoff.tell", reason=error, details=sent)
    after = replace(_standing(in_hand.item, listed, in_hand.handoff), last_error=error)
    if not in_line:
        after = replace(after, state=ItemState.STANDING, shown=0)
    async with gate.database.change(event) as transaction:
        await _settle_in(gate, transaction, after)


async def _taken_there(gate: Gate, in_hand: InHand, listed: Listed) -> None:
    async with taking(
        gate,
        in_hand.handoff,
        in_hand.proposal,
        by=_who(gate, in_hand.item, listed),
        agent=in_hand.agent,
        details=_there(in_hand.item, listed),
    ) as (transaction, after):
        await _settle_in(gate, transaction, _standing(in_hand.item, listed, after))


async def _closed_there(gate: Gate, in_hand: InHand, listed: Listed) -> None:
    async with closing(
        gate,
        in_hand.handoff,
        in_hand.proposal,
        outcome=listed.outcome or OUTCOME_UNSAID,
        by=_who(gate, in_hand.item, listed),
        agent=in_hand.agent,
        details=_there(in_hand.item, listed),
    ) as (transaction, after):
        await _settle_in(gate, transaction, _standing(in_hand.item, listed, after))


async def _lost(gate: Gate, in_hand: InHand, said: str) -> None:
    """They will not do it, or took it off their list: it waits here again, and goes on at once."""
    handoff = in_hand.handoff
    if handoff.status is HandoffStatus.CLOSED:
        await _settle(gate, replace(in_hand.item, state=ItemState.ENDED, last_error=None))
        return
    at = gate.clock()
    after = released(gate, handoff, running_action(gate, in_hand.proposal), at=at)
    event = await _event(gate, in_hand, "handoff.release", reason=said)
    async with gate.database.change(event) as transaction:
        await HandoffStore(gate.database).move(transaction, handoff, after, at=at)
        gone = replace(in_hand.item, state=ItemState.GONE, last_error=said)
        await _settle_in(gate, transaction, gone)


def _standing(item: HandoffItem, listed: Listed, handoff: Handoff) -> HandoffItem:
    ended = handoff.status is HandoffStatus.CLOSED and listed.status is HandoffStatus.CLOSED
    return replace(
        item,
        state=ItemState.ENDED if ended else ItemState.STANDING,
        reference=listed.reference,
        version=listed.version,
        shown=handoff.revision,
    )


async def _settle(gate: Gate, item: HandoffItem) -> None:
    at = gate.clock()
    await HandoffStore(gate.database).settle(item, at=at, next_look_at=_next_look(gate, at))


async def _settle_in(gate: Gate, transaction: Connection, item: HandoffItem) -> None:
    at = gate.clock()
    await HandoffStore(gate.database).settle_in(
        transaction, item, at=at, next_look_at=_next_look(gate, at)
    )


def _next_look(gate: Gate, at: datetime) -> datetime:
    return at + timedelta(seconds=gate.config.worker.worklist_every_s)


async def _shown(gate: Gate, in_hand: InHand) -> Shown:
    handoff, proposal = in_hand.handoff, in_hand.proposal
    action = running_action(gate, proposal)
    who = (handoff.taken_by or handoff.assigned_to or "").removeprefix("person:")
    words = proposal.action.replace("-", " ").capitalize()
    percent = round(100 * proposal.confidence)
    return Shown(
        marker=f"{handoff.id}.task",
        status=handoff.status,
        worklist=handoff.worklist,
        title=f"{words}, by hand: {handoff.reason}. The AI was {percent} % sure.",
        patient=proposal.patient,
        cause=handoff.cause,
        code=action.handoff_code if action else "",
        priority=action.handoff_priority if action else "routine",
        owner=_reference_of(gate, in_hand.item.connection, who),
        opened_at=handoff.opened_at,
        due_at=handoff.due_at,
        link=f"{gate.config.web.url}{PAGE}{handoff.id}",
        outcome=handoff.outcome,
    )


def _reference_of(gate: Gate, connection: str, name: str) -> str | None:
    """By whom the EHR knows a person of ours, or who took it on there."""
    known = f"connection:{connection}/"
    if name.startswith(known):
        return name.removeprefix(known)
    identities = gate.config.people.identities
    given = identities.get(f"{name}@{connection}") or identities.get(name, "")
    return next((each for each in given.split() if each.startswith("Practitioner")), None)


def _last_look(gate: Gate, in_hand: InHand) -> LastLook:
    """Still ours, and no halt; then the intent is durable before anything is sent."""

    async def last_look() -> None:
        event = await _event(gate, in_hand, "handoff.send")
        store = HandoffStore(gate.database)
        async with gate.database.change(event) as transaction:
            charter, at = in_hand.proposal.charter, gate.clock()
            if await store.intend_in(transaction, in_hand.item, charter, at=at):
                raise Held(SAY_HALTED)

    return last_look


def _who(gate: Gate, item: HandoffItem, listed: Listed) -> str:
    """Who took or closed it there: one of our people where the config says who that is."""
    if listed.owner is None:
        return f"connection:{item.connection}"
    for name, references in gate.config.people.identities.items():
        person, _, connection = name.partition("@")
        if listed.owner in references.split() and connection in ("", item.connection):
            return f"person:{person}"
    return f"connection:{item.connection}/{listed.owner}"


def _there(item: HandoffItem, listed: Listed) -> Details:
    by = (("by", listed.owner),) if listed.owner else ()
    return (("connection", item.connection), ("task", listed.reference), *by)


async def _event(
    gate: Gate,
    in_hand: InHand,
    action: str,
    *,
    reason: str | None = None,
    details: Details = (),
) -> AuditEvent:
    return await event_on(
        gate,
        in_hand.handoff,
        in_hand.proposal,
        action,
        in_hand.agent,
        at=gate.clock(),
        reason=reason,
        details=(("connection", in_hand.item.connection), *details),
    )


def _said(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the list outside did not answer in time"
    return (str(error) if isinstance(error, ChartgateError) else type(error).__name__)[:ERROR_MAX]
