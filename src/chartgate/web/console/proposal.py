"""One proposal: what the AI saw, what would change, whether it still holds, and the buttons."""

import base64
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

from starlette.responses import Response

from chartgate.errors import Invalid
from chartgate.flows import proposals, reviews, rollbacks
from chartgate.flows.guards import GuardResult
from chartgate.flows.permissions import Permission
from chartgate.flows.permits import running_action
from chartgate.flows.proposals import ProposalView
from chartgate.flows.review_care import ReviewStanding
from chartgate.flows.reviews import Verdict
from chartgate.model.handoff import Handoff
from chartgate.model.proposal import Content, Difference, Proposal, Status
from chartgate.model.resource import Resource
from chartgate.model.review import Approval
from chartgate.model.write import change_json
from chartgate.policy.content import CHANGES_MAX
from chartgate.policy.differences import labels
from chartgate.policy.model_file import NOT_PROVIDED, source_attributes
from chartgate.policy.reviewing import whole_seconds
from chartgate.web.console.inbox import action_words, due_in
from chartgate.web.console.pages import page, refresh_after, see
from chartgate.web.console.present import (
    DiffGroup,
    attachment_text,
    groups_of,
    is_plain_text,
    ticked,
)
from chartgate.web.console.seen import About, SeenPart, about, bodies_of, seen_part
from chartgate.web.console.three_way import ThreeGroup, three_groups
from chartgate.web.console.wording import names_of, state_text, visible
from chartgate.web.routes import Call

VERDICTS = {"approve": "approved", "refuse": "refused", "hand-back": "handed-back"}
UNDER_WAY = frozenset({Status.APPROVED, Status.COMMITTING, Status.COMMITTED, Status.ROLLING_BACK})
WAIT_MAX_S = 9_999  # four digits; the flow itself knows how long it really is
NOTHING = object()  # unlike anything in a chart
REFRESH_S = 2
REFRESHES_MAX = 15  # a write takes well under a second; after that the page says where it stands


@dataclass(frozen=True, kw_only=True)
class ProposalPage:
    """The page."""

    proposal: Proposal
    action: str
    state: str  # the status in words
    author: str
    rationale: str
    confidence: int
    due: str
    overdue: bool
    waiting: bool
    renewed: bool  # it was approved, the chart had moved on, and it was computed anew
    verified: bool
    under_way: bool
    about: About | None
    groups: tuple[DiffGroup, ...]
    changed_since: tuple[DiffGroup, ...]
    three_way: tuple[ThreeGroup, ...]  # of what changed, while it waits
    each: tuple[str, ...]  # the changes, where each is decided on by itself
    guards: tuple[GuardResult, ...]
    seen: SeenPart
    may: dict[str, Permission]
    note: str | None  # text of a proposed note, for editing
    attributes: tuple[tuple[str, str, str], ...]
    attributes_given: int
    handoff: Handoff | None
    contents: tuple[Content, ...]
    review: ReviewStanding | None
    approved_by: str  # "dr-osei (physician)", of those who approved so far
    wait: int  # seconds until this person may approve
    wait_digits: str  # the same, as classes of the stylesheet


async def show(call: Call) -> Response:
    """GET /proposals/{id}"""
    view = await proposals.show(call.gate, call.person, call.parameters["id"])
    refresh = ""
    if view.proposal.status in UNDER_WAY:
        refresh = refresh_after(call, every_s=REFRESH_S, times_max=REFRESHES_MAX)
    return page(call, "proposal.html", _page(call, view), refresh=refresh)


async def decide(call: Call) -> Response:
    """POST /proposals/{id}/review"""
    fields = call.form()
    id_ = call.parameters["id"]
    verdict = cast(Verdict, fields.get("verdict", ""))  # the flow refuses any other
    after = await reviews.review(
        call.gate,
        call.person,
        id_,
        verdict=verdict,
        digest=fields.get("digest", ""),
        reason=fields.get("reason") or None,
        acknowledged=ticked(fields),
        each=_each(fields),
    )
    done = VERDICTS[verdict] if after.content.digest == fields.get("digest") else "edited"
    return see(f"/proposals/{id_}", done=_done(after, done))


async def edit(call: Call) -> Response:
    """POST /proposals/{id}/edit: another text for the note that is proposed."""
    fields = call.form()
    id_ = call.parameters["id"]
    view = await proposals.show(call.gate, call.person, id_)
    changes = with_note(view.proposal.content, fields.get("note", "").replace("\r\n", "\n"))
    digest = fields.get("digest", "")
    after = await reviews.edit(call.gate, call.person, id_, changes_raw=changes, digest=digest)
    return see(f"/proposals/{id_}", done=_done(after, "edited"))


def _done(after: Proposal, done: str) -> str:
    """What to say of a decision: others may have to approve too, or it was a known-bad one."""
    if after.status is Status.WITHDRAWN:
        return "known-bad"
    waits = done == "approved" and after.status is Status.PENDING_REVIEW
    return "approved-in-part" if waits else done


async def roll_back(call: Call) -> Response:
    """POST /proposals/{id}/rollback"""
    id_ = call.parameters["id"]
    reason = call.form().get("reason", "")
    await rollbacks.request_rollback(call.gate, call.person, id_, reason=reason)
    return see(f"/proposals/{id_}", done="rolling-back")


def with_note(content: Content, text: str) -> list[dict[str, Any]]:
    """The proposed changes with another text in their first plain-text attachment."""
    if not text.strip():
        raise Invalid("the note is empty; to drop it, refuse the proposal")
    changes = [change_json(change) for change in content.changes]
    for change in changes:
        resource = change.get("resource")
        if resource is not None and attachment_text(resource) is not None:
            change["resource"] = _with_text(resource, text)
            return changes
    raise Invalid("there is no note text in this proposal that could be edited")


def _with_text(resource: Resource, text: str) -> Resource:
    edited = deepcopy(resource)
    attachments = (c["attachment"] for c in edited["content"] if "attachment" in c)
    attachment = next(a for a in attachments if is_plain_text(a))
    attachment["data"] = base64.b64encode(text.encode()).decode()
    for stale in ("size", "hash"):
        attachment.pop(stale, None)
    return edited


def _page(call: Call, view: ProposalView) -> ProposalPage:
    proposal = view.proposal
    now = call.gate.clock()
    charter = call.gate.charters.charters.get(proposal.charter)
    attributes = source_attributes(charter) if charter else ()
    names = names_of(bodies_of(view).values())
    review = view.review
    wait = min(WAIT_MAX_S, whole_seconds(review.wait_s)) if review else 0
    notes = (attachment_text(change.resource) for change in proposal.content.changes)
    waiting = proposal.status is Status.PENDING_REVIEW
    return ProposalPage(
        proposal=proposal,
        action=action_words(proposal.action),
        state=state_text(proposal),
        author=proposal.author.removeprefix("client:"),
        rationale=visible(proposal.rationale),
        confidence=round(100 * proposal.confidence),
        due=due_in(proposal.due_at, now),
        overdue=proposal.due_at < now,
        waiting=waiting,
        renewed=bool(proposal.content.base) and proposal.content.edited_by is None,
        verified=proposal.status is Status.VERIFIED,
        under_way=proposal.status in UNDER_WAY,
        about=about(view, names, now=now),
        groups=groups_of(
            proposal.content.differences, names, acknowledge=review.acknowledge if review else ()
        ),
        changed_since=groups_of(_changed_by_others(view), names),
        three_way=three_groups(view.three_way, names) if waiting else (),
        each=_titles(call, proposal) if waiting else (),
        # Once it is written the guards have done their work: its own change would break them.
        guards=() if proposal.status is Status.VERIFIED else view.guards,
        seen=seen_part(view, names),
        may={permission.action: permission for permission in view.permissions},
        note=next((text for text in notes if text is not None), None),
        attributes=tuple(attributes),
        attributes_given=sum(text != NOT_PROVIDED for _, _, text in attributes),
        handoff=view.handoff,
        contents=view.contents,
        review=review,
        approved_by=", ".join(_approver(a) for a in review.approvals) if review else "",
        wait=wait,
        wait_digits=" ".join(f"{p}-{d}" for p, d in zip("khto", f"{wait:04}", strict=False)),
    )


def _approver(approval: Approval) -> str:
    roles = f" ({', '.join(approval.roles)})" if approval.roles else ""
    return approval.person.removeprefix("person:") + roles


def _titles(call: Call, proposal: Proposal) -> tuple[str, ...]:
    """What each change is about, where the charter wants each decided on; else none."""
    action = running_action(call.gate, proposal)
    if action is None or not action.review_each or len(proposal.content.changes) < 2:
        return ()
    return tuple(labels(proposal.content.changes))


def _each(fields: Mapping[str, str]) -> tuple[str, ...]:
    """The verdicts on single changes, in their order."""
    found = (fields.get(f"each-{index}") for index in range(CHANGES_MAX))
    return tuple(verdict for verdict in found if verdict)


def _changed_by_others(view: ProposalView) -> tuple[Difference, ...]:
    """Without what this proposal itself wrote."""
    content = view.proposal.content
    written = view.proposal.status is Status.VERIFIED
    own = {(d.reference, d.path): d.after for d in content.differences} if written else {}
    return tuple(
        d for d in view.changed_since if own.get((d.reference, d.path), NOTHING) != d.after
    )
