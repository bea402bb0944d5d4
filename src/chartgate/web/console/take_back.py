"""Taking back many writes: whose and of when, what of them could be undone now, and then the reason."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from starlette.responses import Response

from chartgate.flows import bulk_rollbacks
from chartgate.flows.undo_lists import BULK_MAX, SELECTING, Item, Plan, selection_of
from chartgate.model.charter import STAGES
from chartgate.web.console.inbox import action_words
from chartgate.web.console.pages import page, see
from chartgate.web.routes import Call

PATH = "/take-back"
SAY_NONE = "nothing in this list can be taken back now"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One write. It names no patient, as in the inbox."""

    id: str
    action: str
    charter: str
    site: str
    author: str
    written_at: datetime
    undo: bool
    why: str


@dataclass(frozen=True, kw_only=True)
class TakeBackPage:
    """The page."""

    clients: tuple[str, ...]
    charters: tuple[str, ...]
    stages: tuple[str, ...]
    said: dict[str, str]  # what was selected by, as it was typed
    listed: bool
    lines: tuple[Line, ...]
    undo: int
    under_way: int
    complete: bool
    most: int
    list_digest: str
    may_not: str  # the sentence for the disabled button


async def show(call: Call) -> Response:
    """GET /take-back: with a selection, the dry run of it."""
    query = dict(call.query)
    said = {name: query.get(name, "").strip() for name in SELECTING}
    made = None
    if any(said.values()):
        selection = selection_of(said, now=call.gate.clock())
        made = await bulk_rollbacks.plan(call.gate, call.person, selection)
    return page(call, "take_back.html", _page(call, said, made))


async def ask(call: Call) -> Response:
    """POST /take-back: of exactly the list that was shown."""
    fields = call.form()
    said = {name: text for name in SELECTING if (text := fields.get(name, "").strip())}
    await bulk_rollbacks.roll_back(
        call.gate,
        call.person,
        selection_of(said, now=call.gate.clock()),
        shown=fields.get("list", ""),
        reason=fields.get("reason", ""),
    )
    return see(f"{PATH}?{urlencode({**said, 'done': 'rolling-back-many'})}")


def _page(call: Call, said: dict[str, str], made: Plan | None) -> TakeBackPage:
    charters = call.gate.charters.charters
    undo = made.count("undo") if made else 0
    return TakeBackPage(
        clients=tuple(sorted({client for c in charters.values() for client in c.clients})),
        charters=tuple(sorted(charters)),
        stages=STAGES,
        said=said,
        listed=made is not None,
        lines=tuple(_line(item) for item in made.items) if made else (),
        undo=undo,
        under_way=made.under_way if made else 0,
        complete=made.complete if made else True,
        most=BULK_MAX,
        list_digest=made.digest if made else "",
        may_not="" if undo else SAY_NONE,
    )


def _line(item: Item) -> Line:
    proposal = item.proposal
    return Line(
        id=proposal.id,
        action=action_words(proposal.action),
        charter=proposal.charter,
        site=proposal.site,
        author=proposal.author.removeprefix("client:"),
        written_at=item.written_at,
        undo=item.verdict == "undo",
        why=item.why,
    )
