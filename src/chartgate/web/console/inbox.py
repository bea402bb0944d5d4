"""The inbox: what waits for this person's decision, the most urgent first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from chartgate.flows import handoffs, proposals
from chartgate.model.handoff import HandoffStatus
from chartgate.model.proposal import Proposal, Status
from chartgate.web.console.pages import page
from chartgate.web.routes import Call

RECENT_MAX = 25


@dataclass(frozen=True, kw_only=True)
class Item:
    """One line. It names no patient: the list may stand open on a desk."""

    id: str
    action: str
    charter: str
    site: str
    author: str
    confidence: int  # percent
    status: str
    due: str
    overdue: bool
    created_at: datetime
    returned: bool  # it was approved once, and the chart had moved on


@dataclass(frozen=True, kw_only=True)
class InboxPage:
    """The page."""

    waiting: tuple[Item, ...]
    recent: tuple[Item, ...]
    handoffs_open: int


async def inbox(call: Call) -> Response:
    """GET /"""
    now = call.gate.clock()
    waiting = await proposals.listed(call.gate, call.person, status=Status.PENDING_REVIEW)
    everything = await proposals.listed(call.gate, call.person, limit=RECENT_MAX)
    open_ = [
        h
        for h in await handoffs.listed(call.gate, call.person)
        if h.status is not HandoffStatus.CLOSED
    ]
    context = InboxPage(
        waiting=_items(sorted(waiting, key=lambda p: p.due_at), now),
        recent=_items([p for p in everything if p.status is not Status.PENDING_REVIEW], now),
        handoffs_open=len(open_),
    )
    return page(call, "inbox.html", context)


def _items(found: Sequence[Proposal], now: datetime) -> tuple[Item, ...]:
    return tuple(
        Item(
            id=p.id,
            action=p.action.replace("-", " "),
            charter=p.charter,
            site=p.site,
            author=p.author.removeprefix("client:"),
            confidence=round(100 * p.confidence),
            status=p.status.value,
            due=due_in(p.due_at, now),
            overdue=p.due_at < now,
            created_at=p.created_at,
            returned=p.status is Status.PENDING_REVIEW and p.content.version > 1,
        )
        for p in found
    )


def due_in(due_at: datetime, now: datetime) -> str:
    """ "in 12 min", "3 h overdue"."""
    minutes = round((due_at - now).total_seconds() / 60)
    size = abs(minutes)
    text = (
        f"{size} min" if size < 120 else f"{size // 60} h" if size < 2880 else f"{size // 1440} d"
    )
    return f"in {text}" if minutes >= 0 else f"{text} overdue"
