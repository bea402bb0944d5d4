"""The inbox: what waits for a decision, the most urgent first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from chartgate.flows import handoffs, proposals
from chartgate.flows.review_care import approvals_so_far
from chartgate.model.proposal import Proposal, Status
from chartgate.web.console.pages import page, refresh_after
from chartgate.web.console.wording import state_text
from chartgate.web.routes import Call

WAITING_MAX = 500
RECENT_MAX = 25
REFRESH_S = 30
REFRESHES_MAX = 20  # ten minutes; then the session may become idle


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
    state: str  # the status in words
    due: str
    overdue: bool
    created_at: datetime
    edited: bool  # by a person
    approvals: str  # "1 of 2 approved", where several people must
    renewed: bool  # computed anew, because the chart had moved on


@dataclass(frozen=True, kw_only=True)
class InboxPage:
    """The page."""

    waiting: tuple[Item, ...]
    waiting_max: int
    recent: tuple[Item, ...]
    handoffs_open: int
    refresh_s: int


async def inbox(call: Call) -> Response:
    """GET /"""
    now = call.gate.clock()
    waiting = await proposals.listed(
        call.gate, call.person, status=Status.PENDING_REVIEW, limit=WAITING_MAX
    )
    everything = await proposals.listed(call.gate, call.person, limit=RECENT_MAX + len(waiting))
    recent = [p for p in everything if p.status is not Status.PENDING_REVIEW][:RECENT_MAX]
    so_far = await approvals_so_far(call.gate, waiting)
    context = InboxPage(
        waiting=_items(sorted(waiting, key=lambda p: p.due_at), now, so_far),
        waiting_max=WAITING_MAX,
        recent=_items(recent, now, {}),
        handoffs_open=len(await handoffs.listed(call.gate, call.person)),
        refresh_s=REFRESH_S,
    )
    refresh = refresh_after(call, every_s=REFRESH_S, times_max=REFRESHES_MAX)
    return page(call, "inbox.html", context, refresh=refresh)


def _items(
    found: Sequence[Proposal], now: datetime, so_far: Mapping[str, tuple[int, int]]
) -> tuple[Item, ...]:
    return tuple(
        Item(
            id=p.id,
            action=action_words(p.action),
            charter=p.charter,
            site=p.site,
            author=p.author.removeprefix("client:"),
            confidence=round(100 * p.confidence),
            status=p.status.value,
            state=state_text(p),
            due=due_in(p.due_at, now),
            overdue=p.due_at < now,
            created_at=p.created_at,
            edited=p.status is Status.PENDING_REVIEW and p.content.edited_by is not None,
            approvals="{} of {} approved".format(*so_far[p.id]) if p.id in so_far else "",
            renewed=p.status is Status.PENDING_REVIEW
            and p.content.version > 1
            and p.content.edited_by is None,
        )
        for p in found
    )


def action_words(action: str) -> str:
    """ "update-status" as "Update status"."""
    return action.replace("-", " ").capitalize()


def due_in(due_at: datetime, now: datetime) -> str:
    """ "in 12 min", "3 h overdue"."""
    minutes = round((due_at - now).total_seconds() / 60)
    size = abs(minutes)
    text = (
        f"{size} min" if size < 120 else f"{size // 60} h" if size < 2880 else f"{size // 1440} d"
    )
    return f"in {text}" if minutes >= 0 else f"{text} overdue"
