"""The walk of a search: guard → the live system of record → each match as in a read → page.

What may not be seen leaves no trace: not in the matches, not in the total, not in the length of a
page. A page that is not the last names a cursor, which holds for its own client and decision only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import orjson

from chartgate.errors import ChartgateError, Gone
from chartgate.flows.patient_budgets import spend
from chartgate.flows.read_walk import (
    Walk,
    check_still,
    enter,
    record,
    record_failure,
    with_decision,
)
from chartgate.flows.reads import Answer, check_names
from chartgate.flows.visibility import Visible, consent_digest, look, notice_of
from chartgate.gate import Gate
from chartgate.model.audit import Outcome
from chartgate.model.disclosure import Piece, Shown
from chartgate.model.interaction import Seen
from chartgate.model.label import codes_of, high_water, security_of
from chartgate.model.ports import Criteria
from chartgate.model.principal import Client
from chartgate.model.resource import SearchPage
from chartgate.policy.search_guard import check_search
from chartgate.store.cursors import Cursor, CursorStore
from chartgate.store.governance import current_epoch
from chartgate.store.record import RecordStore

SEARCH_KEPT_MAX = 500  # characters of a search in the read set
SAY_NO_PAGE = "there is no such page any more; search again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What one answer shows of the matches, and whether there is more."""

    visible: Sequence[Visible]
    position: int  # of the first match that was not gone through
    after: str  # reference of the last one that was
    more: bool
    truncated: bool  # there is more than any page may show
    withheld: bool  # a match cannot be shown safely, which is no secret
    found: SearchPage


async def search(
    gate: Gate,
    client: Client,
    site: str,
    resource_type: str,
    criteria: Criteria,
    *,
    interaction: str | None,
    count: int | None = None,
) -> Answer:
    """FHIR type search; a page holds at most `count` matches, and at most what the config
    allows. Raises Denied, and as `reads.read`."""
    check_names(resource_type)
    epoch = await current_epoch(gate.database)
    walk = await enter(gate, client, site, "search", resource_type, interaction)
    await _check_search(walk, resource_type, criteria)
    count_max = gate.config.web.search_count_max
    start = _cursor(walk, resource_type, criteria, min(count or count_max, count_max))
    return await _answer(walk, start, epoch)


async def search_on(
    gate: Gate, client: Client, site: str, resource_type: str, text: str, *, interaction: str | None
) -> Answer:
    """The page that a cursor names. Raises Gone for one that expired, was given to another, or
    whose decision would be another one now; and as `search`."""
    check_names(resource_type)
    epoch = await current_epoch(gate.database)
    cursor = await CursorStore(gate.database).get(text, now=gate.clock())
    asked = interaction or (cursor.interaction if cursor else None)
    walk = await enter(gate, client, site, "search", resource_type, asked)
    if cursor is None or cursor != replace(
        cursor,
        client=client.id,
        charter=walk.charter.name,
        site=site,
        resource_type=resource_type,
        decision=walk.decision.id,
    ):
        await record(walk, walk.event(resource_type, outcome=Outcome.DENIED, reason="cursor"))
        raise with_decision(Gone(SAY_NO_PAGE), walk)
    await _check_search(walk, resource_type, cursor.criteria)
    return await _answer(walk, cursor, epoch)


async def _answer(walk: Walk, cursor: Cursor, epoch: int) -> Answer:
    page = await _page(walk, cursor, epoch)
    await spend(walk, cursor.resource_type, {p for v in page.visible for p in v.shown.patients})
    following = None
    if page.more:
        rest = replace(cursor, position=page.position, after=page.after)
        following = await CursorStore(walk.gate.database).put(rest, now=walk.at)
    sent = Shown(connection=walk.connection, pieces=_bundle(walk, cursor, page, following))
    check_still(walk, epoch, await _record_shown(walk, cursor, page, sent))
    return Answer(
        body=sent.answer,
        etag="",
        as_of=page.found.as_of,
        interaction=walk.interaction.id,
        not_modified=False,
        decision=walk.decision.id,
        stale=False,
        notice=notice_of(page.visible),
    )


def _cursor(walk: Walk, resource_type: str, criteria: Criteria, page_size: int) -> Cursor:
    """Where a search begins."""
    return Cursor(
        client=walk.client.id,
        charter=walk.charter.name,
        site=walk.site,
        decision=walk.decision.id,
        interaction=walk.interaction.id,
        resource_type=resource_type,
        criteria=tuple((name, value) for name, value in criteria),
        page_size=page_size,
        position=0,
        after="",
    )


async def _page(walk: Walk, cursor: Cursor, epoch: int) -> Page:
    """Asks for as many matches as it takes to fill the page with what may be seen."""
    most = walk.gate.config.web.search_count_max
    wanted = min(cursor.position + cursor.page_size, most)
    while True:
        found = await _search_live(walk, cursor, wanted)
        page = await _cut(walk, cursor, found, epoch)
        ended = found.complete or len(page.visible) == cursor.page_size
        if ended or wanted >= most or len(found.copies) < wanted:
            return replace(page, truncated=not page.more and not found.complete)
        wanted = min(wanted * 2, most)


async def _cut(walk: Walk, cursor: Cursor, found: SearchPage, epoch: int) -> Page:
    copies = [c for c in found.copies if c.resource_type == cursor.resource_type]
    references = [c.reference for c in copies]
    start = cursor.position
    if cursor.after in references:  # what came or went meanwhile moves nothing
        start = references.index(cursor.after) + 1
    looked = await look(walk, [(c.reference, c) for c in copies[start:]], epoch=epoch)
    shown: list[Visible] = []
    position, withheld = start, False
    for visible in looked:
        if len(shown) == cursor.page_size:
            break
        position += 1
        withheld = withheld or visible.hidden == "minimise"
        if not visible.hidden:
            shown.append(visible)
    full = len(shown) == cursor.page_size
    rest = any(not v.hidden for v in looked[position - start :])
    below = position < walk.gate.config.web.search_count_max
    return Page(
        visible=shown,
        position=position,
        after=references[position - 1] if position else "",
        more=rest or (full and not found.complete and below),
        truncated=False,
        withheld=withheld,
        found=found,
    )


async def _search_live(walk: Walk, cursor: Cursor, count_max: int) -> SearchPage:
    try:
        found = await walk.gate.source(walk.connection).search(
            cursor.resource_type, cursor.criteria, count_max=count_max
        )
    except ChartgateError as error:
        await record_failure(walk, cursor.resource_type, error)
        raise
    copies = [c for c in found.copies if c.resource_type == cursor.resource_type]
    await RecordStore(walk.gate.database).keep(walk.connection, copies)
    return found


async def _check_search(walk: Walk, resource_type: str, criteria: Criteria) -> None:
    """What may not be read may not be searched by. Raises Denied, audited."""
    try:
        check_search(walk.rule, resource_type, criteria)
    except ChartgateError as error:
        names = ",".join(sorted({name for name, _ in criteria}))[:SEARCH_KEPT_MAX]
        details = (("parameters", names),)  # their values may be about a patient
        denied = walk.event(
            resource_type, outcome=Outcome.DENIED, reason="search-guard", details=details
        )
        await record(walk, denied)
        with_decision(error, walk)
        raise


async def _record_shown(walk: Walk, cursor: Cursor, page: Page, sent: Shown) -> int:
    """The read set, what is sent and one event for all of it, durable; the epoch then."""
    asked = _search_text(cursor.resource_type, cursor.criteria)
    seen = [
        Seen(
            reference=v.reference,
            version=v.shown.version,
            digest=v.shown.digest,
            as_of=v.as_of,
            search=asked,
        )
        for v in page.visible
    ]
    patients = frozenset[str]().union(*(v.shown.patients for v in page.visible))
    references = [v.reference for v in page.visible]
    event = walk.event(
        cursor.resource_type,
        *references,
        patients=patients,
        labels=codes_of(high_water(v.shown.labels for v in page.visible)),
        disclosed=sent.digest.hex(),
        consent=consent_digest(page.visible),
    )
    return await record(walk, event, seen, disclosed=sent)


def _search_text(resource_type: str, criteria: Criteria) -> str:
    query = "&".join(f"{name}={value}" for name, value in criteria)
    return f"{resource_type}?{query}"[:SEARCH_KEPT_MAX]


def _bundle(
    walk: Walk, cursor: Cursor, page: Page, following: str | None
) -> tuple[bytes | Piece, ...]:
    """A searchset, in pieces: the minimised bytes as they are, and what stands around them. A
    total is given only where all is here; meta.security is that of the most sensitive match."""
    base = f"{walk.gate.config.web.url}/fhir/{walk.site}"
    url = f"{base}/{cursor.resource_type}?"
    links = [{"relation": "self", "url": url + urlencode(cursor.criteria)}]
    if following is not None:
        links.append({"relation": "next", "url": url + urlencode({"_cursor": following})})
    bundle: dict[str, object] = {"resourceType": "Bundle", "type": "searchset", "link": links}
    security = security_of(high_water(v.shown.labels for v in page.visible))
    if security:
        bundle["meta"] = {"security": security}
    incomplete = page.truncated or page.withheld
    if not incomplete and following is None and cursor.position == 0:
        bundle["total"] = len(page.visible)
    head = orjson.dumps(bundle)[:-1]
    if not page.visible and not incomplete:  # FHIR has no empty arrays
        return (head + b"}",)
    pieces: list[bytes | Piece] = [head + b',"entry":[']
    for number, visible in enumerate(page.visible):
        name = b'"fullUrl":' + orjson.dumps(f"{base}/{visible.reference}") + b","
        if walk.rule.view != "identified":
            name = b""  # it would say which one it is
        pieces.append((b"," if number else b"") + b"{" + name + b'"resource":')
        pieces.append(visible.shown.piece)
        pieces.append(b',"search":{"mode":"match"}}')
    if incomplete:
        entry = orjson.dumps({"resource": INCOMPLETE, "search": {"mode": "outcome"}})
        pieces.append((b"," if page.visible else b"") + entry)
    pieces.append(b"]}")
    return tuple(pieces)


INCOMPLETE = {
    "resourceType": "OperationOutcome",
    "issue": [
        {
            "severity": "warning",
            "code": "too-costly",
            "diagnostics": "there are more matches than may be shown in one answer; "
            "narrow the search",
        }
    ],
}
