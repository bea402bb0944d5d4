"""A system of record that shows less than it showed before: nothing is written on such ground.

It may be a replica that lags behind, so it is looked at again a few times. If it stays so, the system
was most likely restored from a backup: an alarm is raised and the work goes to staff. What was lost
there is for people to find; Chartgate writes nothing anew by itself.
"""

import orjson

from chartgate.flows.grounds import Grounds
from chartgate.flows.guards import Standing
from chartgate.flows.handoffs import hand_off
from chartgate.flows.permits import running_action
from chartgate.flows.proposal_events import event_of
from chartgate.flows.sending import LOOKS, open_attempts, postpone
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.proposal import Proposal, Status, moved
from chartgate.policy.regress import is_before

__all__ = ["LOOKS", "SAY_WENT_BACK", "alarm", "hold", "older_than_seen"]

SAY_WENT_BACK = (
    "the system of record shows an older version than it showed before, as after a restore from a "
    "backup; compare what it holds with the audit before anything is written there"
)


def older_than_seen(grounds: Grounds, standing: Standing) -> tuple[str, ...]:
    """What stands before the version that the AI client, or a reviewer, was shown."""
    return tuple(
        reference
        for reference, copy in standing.live.items()
        if reference in grounds.seen
        and copy.digest != grounds.seen[reference].digest
        and is_before(
            grounds.seen[reference].version,
            grounds.bodies.get(reference),
            copy.version,
            orjson.loads(copy.body),
        )
    )


async def hold(gate: Gate, proposal: Proposal, references: tuple[str, ...], agent: str) -> None:
    """Nothing is written: looked at again later, in the end with an alarm and to staff."""
    if proposal.attempts < LOOKS:
        await postpone(gate, proposal)
        return
    attempts = await open_attempts(gate, proposal, "commit")
    after = moved(proposal, Status.HANDED_OFF, reason=SAY_WENT_BACK)
    await hand_off(
        gate,
        proposal,
        after,
        running_action(gate, proposal),
        agent=agent,
        events=[await alarm(gate, proposal, references, agent)],
        direction="commit" if attempts else None,
        verdict="cannot-tell" if attempts else None,
    )


async def alarm(
    gate: Gate, proposal: Proposal, references: tuple[str, ...], agent: str
) -> AuditEvent:
    """The event that operators watch for."""
    return event_of(
        gate,
        proposal,
        "connection.regress",
        agent,
        at=gate.clock(),
        outcome=Outcome.FAILED,
        reason=SAY_WENT_BACK,
        details=(("connection", proposal.connection), ("resources", " ".join(references))),
    )
