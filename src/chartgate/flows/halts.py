"""Stopping new writes, going on, and moving a charter along its rollout.

A halt is a row that every worker looks up at the last line before it writes, so that it acts
everywhere as soon as it is committed. Clients can do none of this: no rule permits it to them.
"""

from chartgate.errors import Denied, Invalid, NotFound
from chartgate.flows import changes
from chartgate.flows.decided import note
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.charter import STAGES, Charter
from chartgate.model.decision import Decision, Request
from chartgate.model.principal import Principal
from chartgate.policy.decide import decide
from chartgate.store.changes import Change
from chartgate.store.halts import EVERYTHING, Halt, HaltStore
from chartgate.store.proposals import ProposalStore
from chartgate.store.stages import StageStore

REASON_MAX = 500  # characters


async def halt(gate: Gate, who: Principal, *, scope: str = EVERYTHING, reason: str) -> None:
    """No new write goes out under `scope` (a charter, or "*") from now on.

    Raises Denied, NotFound, Invalid. The reason is kept in the audit: no patient data.
    """
    words = _checked_reason(reason)
    decision = await _check(gate, who, "halt", scope)
    in_force = Halt(scope=scope, reason=words, halted_by=who.agent, halted_at=gate.clock())
    async with gate.database.change(_event(gate, who, "halt", scope, decision, words)) as change:
        await HaltStore(gate.database).insert(change, in_force)


async def resume(gate: Gate, who: Principal, *, scope: str = EVERYTHING, reason: str) -> None:
    """Ends the halt on exactly this scope. What waited is checked anew before it is written.
    Raises as `halt`, and NotFound if there is no such halt."""
    words = _checked_reason(reason)
    decision = await _check(gate, who, "resume", scope)
    async with gate.database.change(_event(gate, who, "resume", scope, decision, words)) as change:
        if not await HaltStore(gate.database).delete(change, scope):
            raise NotFound(f"there is no halt on {scope}")
        await ProposalStore(gate.database).wake(change, scope)


async def set_stage(
    gate: Gate, who: Principal, charter: Charter | str, stage: str
) -> Change | None:
    """Moves a charter to a stage of its rollout; or the change that waits for two people, where
    they are needed for a step forward. Raises Denied, NotFound, Invalid."""
    name = charter if isinstance(charter, str) else charter.name
    known = [s.name for s in gate.charters.get(name).rollout] or list(STAGES)
    if stage not in known:
        raise Invalid(f"the rollout of {name} has no stage {stage}; it has {', '.join(known)}")
    decision = await _check(gate, who, "promote", name)
    if await _is_forward(gate, name, stage) and await changes.two_people_needed(gate):
        return await changes.ask_stage(gate, name, stage, asked_by=who.agent)
    event = _event(gate, who, "promote", name, decision, stage)
    async with gate.database.change(event) as change:
        await StageStore(gate.database).put(change, name, stage, set_by=who.agent, at=gate.clock())
    return None


async def _is_forward(gate: Gate, charter: str, stage: str) -> bool:
    current = await StageStore(gate.database).current(gate.charters.get(charter))
    return STAGES.index(stage) > STAGES.index(current)


async def _check(gate: Gate, who: Principal, action: str, scope: str) -> Decision:
    if scope != EVERYTHING:
        gate.charters.get(scope)
    request = Request(principal=who, action=action, charter=scope, site="")
    decision = note(decide(gate.charters, request))
    if not decision.permitted:
        event = _event(gate, who, action, scope, decision, "policy", outcome=Outcome.DENIED)
        await gate.audit.record(event)
        raise Denied(decision.sentence)
    return decision


def _event(
    gate: Gate,
    who: Principal,
    action: str,
    scope: str,
    decision: Decision,
    reason: str,
    *,
    outcome: Outcome = Outcome.SUCCESS,
) -> AuditEvent:
    charter = gate.charters.charters.get(scope)
    return AuditEvent(
        recorded=gate.clock(),
        action=f"charter.{action}",
        agent=who.agent,
        outcome=outcome,
        entities=(f"Charter/{scope}",),
        charter=charter.name if charter else None,
        charter_digest=charter.digest if charter else None,
        rule=decision.rule,
        decision=decision.id,
        reason=reason,
    )


def _checked_reason(reason: str) -> str:
    words = reason.strip()
    if not words or len(words) > REASON_MAX or not words.isprintable():
        raise Invalid(f"say why, in one line of at most {REASON_MAX} characters")
    return words
