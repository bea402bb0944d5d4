"""The worklist: what was given back to staff."""

from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from chartgate.flows import break_glass, handoffs
from chartgate.model.handoff import HandoffStatus
from chartgate.web.console.inbox import action_words, due_in
from chartgate.web.console.pages import page, see
from chartgate.web.routes import Call


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


@dataclass(frozen=True, kw_only=True)
class WorklistPage:
    """The page."""

    items: tuple[Item, ...]
    glasses: int  # break-glasses that wait for this person's review
    glasses_overdue: int


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


async def take(call: Call) -> Response:
    """POST /worklist/{id}/take"""
    await handoffs.take(call.gate, call.person, call.parameters["id"])
    return see("/worklist", done="taken")


async def close(call: Call) -> Response:
    """POST /worklist/{id}/close"""
    outcome = call.form().get("outcome", "")
    await handoffs.close(call.gate, call.person, call.parameters["id"], outcome)
    return see("/worklist", done="closed")


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
        close=Button(permitted=waiting.close.permitted, sentence=waiting.close.sentence),
    )
