"""The worklist: what was given back to staff."""

from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from chartgate.flows import handoffs
from chartgate.web.console.inbox import due_in
from chartgate.web.console.pages import page, see
from chartgate.web.routes import Call


@dataclass(frozen=True, kw_only=True)
class Item:
    """One handoff."""

    id: str
    proposal: str
    worklist: str
    site: str
    reason: str
    status: str
    taken_by: str
    due: str
    overdue: bool
    opened_at: datetime


@dataclass(frozen=True, kw_only=True)
class WorklistPage:
    """The page."""

    items: tuple[Item, ...]


async def worklist(call: Call) -> Response:
    """GET /worklist"""
    now = call.gate.clock()
    found = await handoffs.listed(call.gate, call.person)
    items = tuple(
        Item(
            id=h.id,
            proposal=h.proposal,
            worklist=h.worklist,
            site=h.site,
            reason=h.reason,
            status=h.status.value,
            taken_by=(h.taken_by or "").removeprefix("person:"),
            due=due_in(h.due_at, now),
            overdue=h.due_at < now,
            opened_at=h.opened_at,
        )
        for h in found
    )
    return page(call, "worklist.html", WorklistPage(items=items))


async def take(call: Call) -> Response:
    """POST /worklist/{id}/take"""
    await handoffs.take(call.gate, call.person, call.parameters["id"])
    return see("/worklist", done="taken")


async def close(call: Call) -> Response:
    """POST /worklist/{id}/close"""
    outcome = call.form().get("outcome", "")
    await handoffs.close(call.gate, call.person, call.parameters["id"], outcome)
    return see("/worklist", done="closed")
