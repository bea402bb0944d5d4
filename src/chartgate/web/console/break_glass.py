"""Breaking the glass, ending it, and reviewing what others opened."""

from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from chartgate.errors import Invalid
from chartgate.flows import break_glass
from chartgate.flows.break_glass import Wanted
from chartgate.model.break_glass import CODES, FINDINGS, BreakGlass, State
from chartgate.store.break_glass import BreakGlassStore
from chartgate.web.console.inbox import due_in
from chartgate.web.console.pages import page, see
from chartgate.web.routes import Call

STATES: dict[State, str] = {
    "open": "open",
    "to-review": "waits for review",
    "reviewed": "reviewed",
}


@dataclass(frozen=True, kw_only=True)
class Item:
    """One break-glass, as its person or a privacy officer sees it."""

    id: str
    person: str
    site: str
    patient: str
    code: str
    why: str  # the code in words
    words: str
    sealed: bool
    opened_at: datetime
    ends_at: datetime
    state: State
    state_words: str
    left: str  # while it is open
    due: str  # of its review
    overdue: bool
    seen: int  # answers that the person got under it
    finding: str
    remark: str
    reviewed_by: str
    may_not_review: str  # the sentence for the disabled button


@dataclass(frozen=True, kw_only=True)
class BreakGlassPage:
    """The page."""

    may_not: str  # why this person cannot break the glass
    sites: tuple[str, ...]
    codes: tuple[tuple[str, str], ...]
    minutes_max: int
    own: tuple[Item, ...]
    tasks: tuple[Item, ...]
    officer: bool
    findings: tuple[tuple[str, str], ...]


async def show(call: Call) -> Response:
    """GET /break-glass"""
    gate, person = call.gate, call.person
    context = BreakGlassPage(
        may_not=break_glass.may_not_break(gate, person),
        sites=person.sites,
        codes=tuple(CODES.items()),
        minutes_max=gate.config.people.break_glass_minutes_max,
        own=await _items(call, await break_glass.own(gate, person)),
        tasks=await _items(call, await break_glass.tasks(gate, person)),
        officer=break_glass.is_privacy_officer(person),
        findings=tuple(FINDINGS.items()),
    )
    return page(call, "break_glass.html", context)


async def open_(call: Call) -> Response:
    """POST /break-glass"""
    fields = call.form()
    minutes = fields.get("minutes", "")
    if not (minutes.isascii() and minutes.isdigit() and len(minutes) < 5):
        raise Invalid("minutes must be a number")
    wanted = Wanted(
        site=fields.get("site", ""),
        patient=fields.get("patient", "").strip(),
        code=fields.get("code", ""),
        words=fields.get("words", ""),
        minutes=int(minutes),
    )
    await break_glass.open_glass(call.gate, call.person, wanted)
    return see("/break-glass", done="glass-broken")


async def end(call: Call) -> Response:
    """POST /break-glass/{id}/end"""
    await break_glass.end_glass(call.gate, call.person, call.parameters["id"])
    return see("/break-glass", done="glass-ended")


async def review(call: Call) -> Response:
    """POST /break-glass/{id}/review"""
    fields = call.form()
    await break_glass.review(
        call.gate,
        call.person,
        call.parameters["id"],
        finding=fields.get("finding", ""),
        remark=fields.get("remark", ""),
    )
    return see("/break-glass", done="glass-reviewed")


async def _items(call: Call, found: tuple[BreakGlass, ...]) -> tuple[Item, ...]:
    store = BreakGlassStore(call.gate.database)
    return tuple([_item(call, glass, seen=await store.seen_under(glass)) for glass in found])


def _item(call: Call, glass: BreakGlass, *, seen: int) -> Item:
    now = call.gate.clock()
    state = glass.state(now)
    return Item(
        id=glass.id,
        person=glass.person,
        site=glass.site,
        patient=glass.patient,
        code=glass.code,
        why=CODES[glass.code],
        words=glass.words,
        sealed=glass.sealed,
        opened_at=glass.opened_at,
        ends_at=glass.ended_at or glass.ends_at,
        state=state,
        state_words=STATES[state],
        left=due_in(glass.ends_at, now).removeprefix("in "),
        due=due_in(glass.review_due_at, now),
        overdue=glass.overdue(now),
        seen=seen,
        finding=FINDINGS.get(glass.finding or "", ""),
        remark=glass.remark or "",
        reviewed_by=(glass.reviewed_by or "").removeprefix("person:"),
        may_not_review=break_glass.may_not_review(call.gate, call.person, glass),
    )
