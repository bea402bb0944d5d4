"""One proposal: what the AI saw, what would change, whether it still holds, and the buttons."""

import base64
from dataclasses import dataclass
from typing import Any, cast

from starlette.responses import Response

from chartgate.errors import Invalid
from chartgate.flows import proposals, reviews, rollbacks
from chartgate.flows.guards import GuardResult
from chartgate.flows.permissions import Permission
from chartgate.flows.proposals import ProposalView, SeenResource
from chartgate.flows.reviews import Verdict
from chartgate.model.proposal import Content, Proposal, Status
from chartgate.model.write import change_json
from chartgate.policy.model_file import source_attributes
from chartgate.web.console.inbox import due_in
from chartgate.web.console.pages import page, see
from chartgate.web.console.present import (
    DiffGroup,
    Row,
    attachment_text,
    groups_of,
    rows_of,
)
from chartgate.web.routes import Call

VERDICTS = {"approve": "approved", "refuse": "refused", "hand-back": "handed-back"}


@dataclass(frozen=True, kw_only=True)
class SeenPanel:
    """One resource of the read set."""

    reference: str
    version: str
    as_of: Any
    search: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class ProposalPage:
    """The page."""

    proposal: Proposal
    author: str
    confidence: int
    due: str
    waiting: bool
    groups: tuple[DiffGroup, ...]
    changed_since: tuple[DiffGroup, ...]
    guards: tuple[GuardResult, ...]
    seen: tuple[SeenPanel, ...]
    may: dict[str, Permission]
    note: str | None  # text of a proposed note, for editing
    attributes: tuple[tuple[str, str, str], ...]
    attributes_given: int
    handoff: Any
    contents: tuple[Content, ...]


async def show(call: Call) -> Response:
    """GET /proposals/{id}"""
    view = await proposals.show(call.gate, call.person, call.parameters["id"])
    return page(call, "proposal.html", _page(call, view))


async def decide(call: Call) -> Response:
    """POST /proposals/{id}/review"""
    fields = call.form()
    id_ = call.parameters["id"]
    verdict = cast(Verdict, fields.get("verdict", ""))  # the flow refuses any other
    await reviews.review(
        call.gate,
        call.person,
        id_,
        verdict=verdict,
        digest=fields.get("digest", ""),
        reason=fields.get("reason") or None,
    )
    return see(f"/proposals/{id_}", done=VERDICTS[verdict])


async def edit(call: Call) -> Response:
    """POST /proposals/{id}/edit: another text for the note that is proposed."""
    fields = call.form()
    id_ = call.parameters["id"]
    view = await proposals.show(call.gate, call.person, id_)
    changes = with_note(view.proposal.content, fields.get("note", "").replace("\r\n", "\n"))
    digest = fields.get("digest", "")
    await reviews.edit(call.gate, call.person, id_, changes_raw=changes, digest=digest)
    return see(f"/proposals/{id_}", done="edited")


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
    data = base64.b64encode(text.encode()).decode()
    changes = [change_json(change) for change in content.changes]
    for change in changes:
        resource = change.get("resource")
        if resource is None or attachment_text(resource) is None:
            continue
        contents = [dict(c, attachment=dict(c["attachment"])) for c in resource["content"]]
        attachment = next(
            c["attachment"]
            for c in contents
            if str(c["attachment"].get("contentType", "")).startswith("text/plain")
        )
        attachment["data"] = data
        for stale in ("size", "hash"):
            attachment.pop(stale, None)
        change["resource"] = resource | {"content": contents}
        return changes
    raise Invalid("there is no note text in this proposal that could be edited")


def _page(call: Call, view: ProposalView) -> ProposalPage:
    proposal = view.proposal
    charter = call.gate.charters.charters.get(proposal.charter)
    attributes = source_attributes(charter) if charter else ()
    note = next(
        (t for c in proposal.content.changes if (t := attachment_text(c.resource)) is not None),
        None,
    )
    return ProposalPage(
        proposal=proposal,
        author=proposal.author.removeprefix("client:"),
        confidence=round(100 * proposal.confidence),
        due=due_in(proposal.due_at, call.gate.clock()),
        waiting=proposal.status is Status.PENDING_REVIEW,
        groups=groups_of(proposal.content.differences),
        changed_since=groups_of(view.changed_since),
        guards=view.guards,
        seen=tuple(_panel(seen) for seen in view.read_set),
        may={permission.action: permission for permission in view.permissions},
        note=note,
        attributes=tuple(attributes),
        attributes_given=sum(text != "not provided" for _, _, text in attributes),
        handoff=view.handoff,
        contents=view.contents,
    )


def _panel(value: SeenResource) -> SeenPanel:
    return SeenPanel(
        reference=value.seen.reference,
        version=value.seen.version,
        as_of=value.seen.as_of,
        search=value.seen.search or "",
        rows=rows_of(value.resource) if value.resource else (),
    )
