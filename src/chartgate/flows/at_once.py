"""What goes to staff as it is submitted: nobody reviews it first, or the AI would be refused.

Each cause but low confidence and closing time is an option of the charter; without it the client
is refused as ever. What broke a rule is not kept and shown to nobody, only that it came and why.
"""

from dataclasses import dataclass

from chartgate.errors import Throttled, Unprocessable
from chartgate.flows.grounds import Grounds
from chartgate.formats.compartment import PREFIX, patient_of
from chartgate.gate import Gate
from chartgate.model.charter import STAGES, ActionRule, Charter
from chartgate.model.handoff import Cause
from chartgate.model.proposal import Content, Proposal, content_digest
from chartgate.policy.hours import covers
from chartgate.store.database import Connection
from chartgate.store.handoffs import HandoffStore

SAY_LOW_CONFIDENCE = "the AI's confidence is below what the charter asks for"
SAY_OUT_OF_HOURS = "it came outside the hours in which the charter lets it be reviewed"
SAY_BREAKER_OPEN = "the system of record cannot be reached, so nothing can be written there"
SAY_OVER_BUDGET = "more proposals wait for a decision than the charter lets wait"
SAY_INVALID = "what the AI proposed broke a rule and was refused; it is not kept"
BEYOND = (Cause.INVALID, Cause.OVER_BUDGET)  # what the budget for proposals does not count
AT_ONCE = (*BEYOND, Cause.LOW_CONFIDENCE, Cause.OUT_OF_HOURS, Cause.BREAKER_OPEN)
RETRY_AFTER_S = 60.0
NOTHING = Content(version=1, changes=(), differences=(), digest=content_digest((), ()))


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Why staff get it at once."""

    cause: Cause
    sentence: str  # without patient data


INVALID = Stop(cause=Cause.INVALID, sentence=SAY_INVALID)
OVER_BUDGET = Stop(cause=Cause.OVER_BUDGET, sentence=SAY_OVER_BUDGET)


def stop_for(gate: Gate, proposal: Proposal, charter: Charter, action: ActionRule) -> Stop | None:
    """Why staff get this well-made proposal at once; None: it may go on."""
    if proposal.stage == STAGES[0]:
        return None
    if proposal.confidence < action.handoff_below:
        return Stop(cause=Cause.LOW_CONFIDENCE, sentence=SAY_LOW_CONFIDENCE)
    hours = charter.hours
    if hours is not None and not covers(hours.hours, hours.calendar, proposal.created_at):
        return Stop(cause=Cause.OUT_OF_HOURS, sentence=SAY_OUT_OF_HOURS)
    if Cause.BREAKER_OPEN.value in action.handoff_when and is_away(gate, proposal.connection):
        return Stop(cause=Cause.BREAKER_OPEN, sentence=SAY_BREAKER_OPEN)
    return None


def takes(action: ActionRule, cause: Cause, *, stage: str) -> bool:
    """Whether staff get this, by the charter, instead of a refusal; in shadow they get nothing."""
    return cause.value in action.handoff_when and stage != STAGES[0]


def is_away(gate: Gate, connection: str) -> bool:
    """Whether the circuit breaker of this connection is open, as far as this process knows."""
    breakers = gate.connections.breakers if gate.connections else {}
    return connection in breakers and breakers[connection].state == "open"


def only_patient(grounds: Grounds) -> str | None:
    """The one patient whom an interaction read of; None: none, or more than one."""
    met = {patient for body in grounds.bodies.values() if (patient := patient_of(body))}
    met |= {reference for reference in grounds.bodies if reference.startswith(PREFIX)}
    return met.pop() if len(met) == 1 else None


async def check_not_staffs(gate: Gate, connection: str, content: Content) -> None:
    """Raises Unprocessable for a change of an item that hands work to staff: an AI, or a rule in
    its favour, must not close what was taken from it."""
    changed = [change.reference for change in content.changes if change.reference]
    if await HandoffStore(gate.database).are_items(connection, changed):
        raise Unprocessable("what hands work to staff is changed by staff alone")


async def check_room(
    gate: Gate, transaction: Connection, proposal: Proposal, charter: Charter
) -> None:
    """Raises Throttled where staff got as many at once from this client already, and have them
    still, as its budget for proposals is: an AI must not be able to flood them."""
    most = charter.budgets.get("open_proposals")
    if most is None:
        return
    count = await HandoffStore(gate.database).count_open_of(
        transaction, author=proposal.author, charter=charter.name, causes=AT_ONCE
    )
    if count >= most:
        raise Throttled(
            f"staff have {count} pieces of work from this client already; "
            "wait until some are closed",
            retry_after_s=RETRY_AFTER_S,
        )
