"""The Provenance in the system of record, where an action asks for it: after the write, and apart
from it.

Made due in the transaction that verifies the write, and written once: a conditional create by a
marker of its own, looked for first where an answer was lost. Whatever becomes of it, the write that
it tells of stands; a system that does not take it is noted, audited and not asked again.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from chartgate.errors import (
    InvalidTransition,
    NotFound,
    OutcomeUnknown,
    SourceRefused,
    VersionConflict,
    WriteRefused,
)
from chartgate.flows.proposal_events import event_of
from chartgate.flows.review_care import approvers_of
from chartgate.flows.sending import NOTHING_SENT, Held, retry_at
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.charter import ActionRule
from chartgate.model.proposal import Proposal
from chartgate.model.write import Change, Receipt, Write
from chartgate.store.halts import HaltStore
from chartgate.store.proposals import ProposalStore
from chartgate.store.provenance import Due, Ended, ProvenanceStore, due_step
from chartgate.transform.write_provenance import write_provenance

SAY_ERASED = "the proposal was erased, or is not kept any more"
SAY_CANNOT_TELL = "whether the system of record took it could not be found out"
REASON_MAX = 1_000  # characters

__all__ = ["due_steps", "write_next"]


def due_steps(
    action: ActionRule | None, proposal: Proposal, *, at: datetime
) -> tuple[tuple[str, Sequence[Any]], ...]:
    """What goes with the move to verified; empty where the charter asks for none."""
    return (due_step(proposal.id, at=at),) if action and action.provenance else ()


async def write_next(gate: Gate, worker: str) -> bool:
    """Takes one Provenance as far as it will go now. False: there was none."""
    now = gate.clock()
    until = now + timedelta(seconds=gate.config.worker.lease_s)
    store = ProvenanceStore(gate.database)
    due = await store.claim(now=now, lease_until=until)
    if due is None:
        return False
    agent = f"process:{worker}"
    try:
        proposal = await ProposalStore(gate.database).get(due.proposal)
    except NotFound:
        await _give_up(gate, due, None, agent, SAY_ERASED)
        return True
    try:
        receipt = await _write(gate, proposal, due)
    except (VersionConflict, WriteRefused, SourceRefused) as error:
        await _give_up(gate, due, proposal, agent, str(error))
    except NOTHING_SENT:
        await store.postpone(due, until=retry_at(gate, due.attempts))
    except OutcomeUnknown:
        if due.attempts + 1 < gate.config.worker.attempts_max:
            await store.postpone(due, until=retry_at(gate, due.attempts))
        else:
            await _give_up(gate, due, proposal, agent, SAY_CANNOT_TELL)
    else:
        await _end(gate, due, proposal, agent, "written", reference=receipt.effects[0].reference)
    return True


async def _write(gate: Gate, proposal: Proposal, due: Due) -> Receipt:
    """One conditional create; what an earlier try left is found first."""
    charter = gate.charters.charters.get(proposal.charter)
    change = Change(
        interaction="create",
        resource_type="Provenance",
        resource=write_provenance(proposal, charter, approvers=await approvers_of(gate, proposal)),
    )
    write = Write(marker=f"{proposal.id}.provenance", changes=(change,))
    sink = gate.sink(proposal.connection)
    try:
        async with asyncio.timeout(gate.config.worker.lease_s):
            if due.attempts and (found := await sink.resolve(write)) is not None:
                return found

            async def last_look() -> None:
                if await HaltStore(gate.database).in_force(proposal.charter):
                    raise Held("a halt is in force; nothing was sent")

            return await sink.commit(write, last_look=last_look)
    except TimeoutError:
        raise OutcomeUnknown("the system of record did not answer in time") from None


async def _give_up(
    gate: Gate, due: Due, proposal: Proposal | None, agent: str, reason: str
) -> None:
    await _end(gate, due, proposal, agent, "refused", reason=reason[:REASON_MAX])


async def _end(
    gate: Gate,
    due: Due,
    proposal: Proposal | None,
    agent: str,
    status: Ended,
    *,
    reference: str | None = None,
    reason: str | None = None,
) -> None:
    at = gate.clock()
    event = await _event(gate, due, proposal, agent, reference, reason)
    try:
        async with gate.database.change(event) as transaction:
            await ProvenanceStore(gate.database).end(
                transaction, due, status, at=at, reference=reference, reason=reason
            )
    except InvalidTransition:
        pass  # another worker ended it meanwhile, and said so


async def _event(
    gate: Gate,
    due: Due,
    proposal: Proposal | None,
    agent: str,
    reference: str | None,
    reason: str | None,
) -> AuditEvent:
    at = gate.clock()
    outcome = Outcome.SUCCESS if reference else Outcome.FAILED
    if proposal is None:
        return AuditEvent(
            recorded=at,
            action="proposal.provenance",
            agent=agent,
            outcome=outcome,
            entities=(f"Proposal/{due.proposal}",),
            reason=reason,
        )
    return event_of(
        gate,
        proposal,
        "proposal.provenance",
        agent,
        at=at,
        outcome=outcome,
        reason=reason,
        details=(("provenance", reference),) if reference else (),
    )
