"""The worklist: what was given back to staff, and all there is to know of one piece of it."""

from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from chartgate.flows import break_glass, handoffs, proposals
from chartgate.flows.proposals import ProposalView
from chartgate.model.handoff import Cause, HandoffItem, HandoffStatus, ItemState
from chartgate.web.console.inbox import action_words, due_in
from chartgate.web.console.pages import page, see
from chartgate.web.console.present import DiffGroup, groups_of
from chartgate.web.console.seen import About, SeenPart, about, bodies_of, seen_part
from chartgate.web.console.wording import names_of, visible
from chartgate.web.routes import Call

CAUSES = {
    Cause.LOW_CONFIDENCE: "the AI was not sure",
    Cause.INVALID: "it broke a rule",
    Cause.CONFLICT: "the chart had changed",
    Cause.MISMATCH: "the chart says something else",
    Cause.AMBIGUOUS: "nobody knows whether it was written",
    Cause.PARTLY: "written or taken back in part",
    Cause.DEADLINE: "nobody decided in time",
    Cause.BREAKER_OPEN: "the EHR is away",
    Cause.OVER_BUDGET: "too many at once",
    Cause.OUT_OF_HOURS: "out of hours",
    Cause.HANDED_BACK: "handed back by its reviewer",
    Cause.REFUSED: "refused",
}


@dataclass(frozen=True, kw_only=True)
class Button:
    """May it be pressed, and the policy's sentence for it."""

    permitted: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Item:
    """One handoff."""

    id: str
    proposal: str
    action: str
    worklist: str
    site: str
    reason: str
    status: str
    taken_by: str
    due: str
    overdue: bool
    opened_at: datetime
    take: Button
    close: Button
    cause: str  # in words
    asked: str  # who is on call for it; empty: everybody of the worklist
    escalated: int  # how often it went on because nobody took it
    outside: str  # where else it stands, in words; empty: only here
    outcome: str


@dataclass(frozen=True, kw_only=True)
class WorklistPage:
    """The page."""

    items: tuple[Item, ...]
    glasses: int  # break-glasses that wait for this person's review
    glasses_overdue: int


@dataclass(frozen=True, kw_only=True)
class HandoffPage:
    """One handoff: what the AI knew, what it proposed, and why it stopped."""

    item: Item
    charter: str
    author: str
    confidence: int  # percent
    rationale: str  # the AI's own words, untrusted
    about: About | None
    groups: tuple[DiffGroup, ...]
    seen: SeenPart
    waiting: bool  # for a decision: never
    may: dict[str, Button]


async def worklist(call: Call) -> Response:
    """GET /worklist"""
    now = call.gate.clock()
    found = await handoffs.waiting(call.gate, call.person)
    glasses = await break_glass.tasks(call.gate, call.person)
    context = WorklistPage(
        items=tuple(_item(w, now) for w in found),
        glasses=len(glasses),
        glasses_overdue=sum(glass.overdue(now) for glass in glasses),
    )
    return page(call, "worklist.html", context)


async def show(call: Call) -> Response:
    """GET /worklist/{id}"""
    waiting = await handoffs.show(call.gate, call.person, call.parameters["id"])
    view = await proposals.show(call.gate, call.person, waiting.handoff.proposal)
    return page(call, "handoff.html", _page(waiting, view, call.gate.clock()))


async def take(call: Call) -> Response:
    """POST /worklist/{id}/take"""
    await handoffs.take(call.gate, call.person, call.parameters["id"])
    return see("/worklist", done="taken")


async def close(call: Call) -> Response:
    """POST /worklist/{id}/close"""
    outcome = call.form().get("outcome", "")
    await handoffs.close(call.gate, call.person, call.parameters["id"], outcome)
    return see("/worklist", done="closed")


def _page(waiting: handoffs.Waiting, view: ProposalView, now: datetime) -> HandoffPage:
    names = names_of(bodies_of(view).values())
    proposal = view.proposal
    return HandoffPage(
        item=_item(waiting, now),
        charter=proposal.charter,
        author=proposal.author.removeprefix("client:"),
        confidence=round(100 * proposal.confidence),
        rationale=visible(proposal.rationale),
        about=about(view, names, now=now),
        groups=groups_of(proposal.content.differences, names),
        seen=seen_part(view, names),
        waiting=False,
        may={},
    )


def _outside(item: HandoffItem | None) -> str:
    """Where else staff find it, and what is wrong with that."""
    if item is None:
        return ""
    if item.state is ItemState.WAITING:
        why = f": {item.last_error}" if item.last_error else ""
        return f"not in {item.connection} yet{why}"
    if item.state is ItemState.GONE:
        return f"no longer in {item.connection}: {item.last_error}"
    return f"{item.reference} in {item.connection}"


def _item(waiting: handoffs.Waiting, now: datetime) -> Item:
    handoff = waiting.handoff
    return Item(
        id=handoff.id,
        proposal=handoff.proposal,
        action=action_words(waiting.proposal.action),
        worklist=handoff.worklist,
        site=handoff.site,
        reason=handoff.reason,
        status=handoff.status.value,
        taken_by=(handoff.taken_by or "").removeprefix("person:"),
        due=due_in(handoff.due_at, now),
        overdue=handoff.due_at < now,
        opened_at=handoff.opened_at,
        take=Button(
            permitted=waiting.take.permitted and handoff.status is HandoffStatus.OPEN,
            sentence=waiting.take.sentence,
        ),
        close=Button(
            permitted=waiting.close.permitted and handoff.status is not HandoffStatus.CLOSED,
            sentence=waiting.close.sentence,
        ),
        cause=CAUSES[handoff.cause],
        asked=handoff.assigned_to or "",
        escalated=handoff.step,
        outside=_outside(waiting.item),
        outcome=visible(handoff.outcome or ""),
    )
