"""Taking back many writes at once: all that a client, a charter or a stage wrote within some time.

First a list, from a look at the live charts: what would be undone, newest first, and what cannot be,
with why. Then, on exactly that list, a person with the right of a reviewer asks for it with a reason:
one transaction moves all of them to ROLLING_BACK with an audit event each and one for the whole, and
workers take them back one by one. A crash leaves all of them moved or none; what was moved goes on.
"""

from collections.abc import Sequence
from datetime import timedelta

from chartgate.errors import Denied, Invalid, VersionConflict
from chartgate.flows.permits import SAY_PERSON
from chartgate.flows.proposal_events import event_of
from chartgate.flows.undo_lists import Plan, Selection, list_writes, rollback_decision
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.principal import Person, Principal
from chartgate.model.proposal import Proposal, Status, moved
from chartgate.store.proposals import ProposalStore, notify_work

REASON_MAX = 2_000  # characters

SAY_OTHER_LIST = (
    "what was written within this selection is not what the list showed; look at it again with a dry "
    "run, and halt the client's charter first if it goes on writing"
)


async def plan(gate: Gate, who: Principal, selection: Selection) -> Plan:
    """The dry run, audited. An operator at the command line sees what a chart permits, a person
    also what their right does. Raises Denied, Invalid."""
    made, denied = await list_writes(gate, who, selection)
    event = _event(gate, who, selection, made, denied=len(denied), moved_=0, dry_run=True)
    await gate.audit.record(event)
    return made


async def roll_back(
    gate: Gate, who: Principal, selection: Selection, *, shown: str, reason: str
) -> Plan:
    """Asks for what the list with the digest `shown` would undo; workers do it, newest first.

    Raises Denied, Invalid, VersionConflict (there is something else to undo than was shown).
    """
    words = reason.strip()
    if not words or len(words) > REASON_MAX or "\0" in words:
        raise Invalid(f"say in 1 to {REASON_MAX} characters why it is rolled back")
    made, denied = await list_writes(gate, who, selection)
    if not isinstance(who, Person):
        await _refuse(gate, who, selection, made)
        raise Denied(SAY_PERSON)
    if made.digest != shown:
        raise VersionConflict(SAY_OTHER_LIST)
    chosen = [item.proposal for item in made.items if item.verdict == "undo"]
    if denied and not chosen:
        await _refuse(gate, who, selection, made)
        raise Denied(denied[0].sentence)
    await _move(gate, who, selection, made, chosen, words, denied=len(denied))
    return made


async def _move(
    gate: Gate,
    person: Person,
    selection: Selection,
    made: Plan,
    chosen: Sequence[Proposal],
    words: str,
    *,
    denied: int,
) -> None:
    """All of them, or none. Whatever moved meanwhile is left out and counted."""
    at = gate.clock()
    store = ProposalStore(gate.database)
    decisions = [await rollback_decision(gate, person, before) for before in chosen]
    done = 0
    async with gate.database.change_found() as (transaction, events):
        for place, before in enumerate(chosen):
            after = moved(before, Status.ROLLING_BACK, reason=words, attempts=0)
            # Workers take what is due for longest first: here the newest write.
            due = at - timedelta(microseconds=len(chosen) - place)
            try:
                await store.move(transaction, before, after, at=at, next_try_at=due)
            except VersionConflict:
                continue
            done += 1
            event = event_of(
                gate,
                after,
                "proposal.rollback",
                person.agent,
                at=at,
                decision=decisions[place],
                details=(("list", made.digest),),
            )
            events.append(event)
        event = _event(gate, person, selection, made, denied=denied, moved_=done, dry_run=False)
        events.append(event)
        await notify_work(transaction, "rollback")


async def _refuse(gate: Gate, who: Principal, selection: Selection, made: Plan) -> None:
    event = _event(
        gate,
        who,
        selection,
        made,
        denied=len(made.items),
        moved_=0,
        dry_run=False,
        outcome=Outcome.DENIED,
    )
    await gate.audit.record(event)


def _event(
    gate: Gate,
    who: Principal,
    selection: Selection,
    made: Plan,
    *,
    denied: int,
    moved_: int,
    dry_run: bool,
    outcome: Outcome = Outcome.SUCCESS,
) -> AuditEvent:
    """Of the whole: whose writes, and counts."""
    charter = gate.charters.charters.get(selection.charter or "")
    said = {
        "client": selection.client,
        "stage": selection.stage,
        "since": selection.since.isoformat() if selection.since else None,
        "until": selection.until.isoformat() if selection.until else None,
    }
    counts = {
        "dry_run": str(dry_run).lower(),
        "listed": str(len(made.items)),
        "undo": str(made.count("undo")),
        "cannot": str(made.count("cannot")),
        "denied": str(denied),
        "moved": str(moved_),
        "list": made.digest,
    }
    return AuditEvent(
        recorded=gate.clock(),
        action="proposal.rollback-many",
        agent=who.agent,
        outcome=outcome,
        charter=selection.charter,
        charter_digest=charter.digest if charter else None,
        reason="policy" if outcome is Outcome.DENIED else None,
        details=tuple((k, v) for k, v in (said | counts).items() if v is not None),
    )
