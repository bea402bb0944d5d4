"""Known-bad proposals among the real ones, to see whether the review catches them.

One is made from a real proposal by a template (policy/seeds.py) when that goes to review, for the
share that the charter says. It looks like any other until somebody decides on it; then they are
told. It can never be written: its status may only become withdrawn, which model, store and commit
each hold for themselves. Its author is not shown it, and no budget counts it.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

from chartgate.errors import ChartgateError, Invalid, VersionConflict
from chartgate.flows.grounds import Grounds, grounds_of
from chartgate.flows.permits import running_action
from chartgate.flows.proposal_events import event_of
from chartgate.gate import Gate
from chartgate.model.principal import Person
from chartgate.model.proposal import Content, Proposal, Status, moved
from chartgate.model.write import Change
from chartgate.policy.content import check_resource
from chartgate.policy.differences import after_images, content_of
from chartgate.policy.seeds import SENTENCES, bad_versions
from chartgate.store.proposals import ProposalStore

RULE_SEEDS = "rule:seeds"
SAY_SEED = "it is a known-bad proposal, which is never written"
SAY_LAPSED = "it was a known-bad proposal, and nobody decided on it in time"

Chance = Callable[[], float]
_chance: Chance = random.SystemRandom().random


async def put_seed(gate: Gate, proposal: Proposal, *, chance: Chance = _chance) -> Proposal | None:
    """Now and then, beside a proposal that went to review, a known-bad one. That fails in
    silence: a test of the review is no reason to refuse what was just taken."""
    action = running_action(gate, proposal)
    if action is None or proposal.status is not Status.PENDING_REVIEW:
        return None
    if chance() >= action.review_seeds:
        return None
    with suppress(ChartgateError):
        grounds = await grounds_of(gate, proposal.connection, proposal.interaction)
        seed = _drawn(proposal, grounds, chance)
        if seed is not None:
            await _put(gate, seed)
            return seed
    return None


def ended(proposal: Proposal, person: Person, *, caught: bool, gate: Gate) -> Proposal:
    """What a known-bad proposal becomes with a decision on it, and what its reviewer is told."""
    assert proposal.seed is not None
    mistake = SENTENCES.get(proposal.seed, "something in it was wrong")
    found = "you caught it" if caught else "it was not caught"
    return moved(
        proposal,
        Status.WITHDRAWN,
        decided_by=person.agent,
        decided_at=gate.clock(),
        decided_digest=proposal.content.digest,
        reason=f"this was a known-bad proposal, put here to see whether the review catches it: "
        f"{mistake}, and {found}; nothing was written",
    )


async def lapse(gate: Gate, proposal: Proposal, agent: str) -> None:
    """Takes back one that nobody decided on in time."""
    at = gate.clock()
    after = moved(proposal, Status.WITHDRAWN, reason=SAY_LAPSED)
    event = event_of(gate, after, "proposal.expire", agent, at=at)
    # Somebody may decide at the last moment, or another worker be quicker.
    with suppress(VersionConflict):
        await ProposalStore(gate.database).move_at_once(event, proposal, after, at=at)


def _drawn(proposal: Proposal, grounds: Grounds, chance: Chance) -> Proposal | None:
    """A known-bad version of it. None: no template fits it."""
    candidates = list(bad_versions(proposal.content.changes))
    while candidates:
        seed = candidates.pop(int(chance() * len(candidates)))
        with suppress(Invalid):
            content = _content(seed.changes, grounds)
            if content.differences and content.digest != proposal.content.digest:
                # A while older, so that the two do not stand together in a list.
                back = (proposal.due_at - proposal.created_at) * (chance() / 2)
                return replace(
                    proposal,
                    id=str(uuid4()),
                    content=content,
                    created_at=proposal.created_at - back,
                    due_at=proposal.due_at - back,
                    seed=seed.name,
                )
    return None


async def _put(gate: Gate, seed: Proposal) -> None:
    event = event_of(gate, seed, "proposal.seed", RULE_SEEDS, at=gate.clock())
    async with gate.database.change(event) as transaction:
        await ProposalStore(gate.database).insert(transaction, seed, idempotency_key=None)


def _content(changes: tuple[Change, ...], grounds: Grounds) -> Content:
    """Raises Invalid for what no EHR would take, which needs nobody to catch it."""
    for after in after_images(changes, grounds.bodies):
        if after is not None:
            before = grounds.bodies.get(f"{after['resourceType']}/{after.get('id', '')}")
            check_resource(after, before=before)
    return content_of(changes, grounds.bodies, version=1)
