"""Handoffs as FHIR Tasks in the EHR: the `Worklist` that every FHIR connection has.

A Task says what is to be done, why the AI did not, until when, for which patient, and where to
read more; never what the AI read or proposed, which is on the page for who may see it.
Source: https://hl7.org/fhir/R4/task.html
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson

from chartgate.errors import NotFound, OutcomeUnknown, WriteRefused
from chartgate.model.handoff import HandoffStatus, Listed, Shown
from chartgate.model.ports import LastLook, Sink, Source
from chartgate.model.resource import Copy, Resource
from chartgate.model.write import Change, Write

TYPE = "Task"
CODE_SYSTEM = "http://hl7.org/fhir/CodeSystem/task-code"
CODE_DEFAULT = f"{CODE_SYSTEM}|fulfill"
CAUSES = "urn:chartgate:handoff-cause"
WORKLISTS = "urn:chartgate:worklist"
LINK_INPUT = "link"
STATUSES = {  # ours, as a Task's
    HandoffStatus.OPEN: "requested",
    HandoffStatus.TAKEN: "accepted",
    HandoffStatus.CLOSED: "completed",
}
TAKEN = frozenset({"accepted", "in-progress"})
CLOSED = frozenset({"completed", "cancelled"})
REFUSED = frozenset({"rejected", "failed", "entered-in-error"})
STAFF = ("Practitioner/", "PractitionerRole/", "Organization/", "CareTeam/")
ORDER = tuple(HandoffStatus)
OUTCOME_MAX = 1_500  # characters that are taken over


class TaskWorklist:
    """The Tasks of one connection."""

    def __init__(self, source: Source, sink: Sink) -> None:
        self._source = source
        self._sink = sink

    async def put(self, shown: Shown, *, tried: bool, last_look: LastLook | None = None) -> Listed:
        """As Worklist.put."""
        change = Change(interaction="create", resource_type=TYPE, resource=task_of(shown))
        write = Write(marker=shown.marker, changes=(change,))
        receipt = await self._sink.resolve(write) if tried else None
        if receipt is None:
            receipt = await self._sink.commit(write, last_look=last_look)
        copy = await self._source.read(receipt.effects[0].reference)
        assert isinstance(copy, Copy), "not modified, without a version asked about"
        return _listed(copy, self._sink.differences(write, receipt, [copy]))

    async def look(self, reference: str, *, version: str | None) -> Listed | None:
        """As Worklist.look."""
        copy = await self._source.read(reference, if_none_match=version)
        return _listed(copy) if isinstance(copy, Copy) else None

    async def show(
        self, listed: Listed, shown: Shown, *, last_look: LastLook | None = None
    ) -> Listed | None:
        """As Worklist.show."""
        assert listed.body is not None, "it was looked at"
        operations = tuple(_operations(listed.body, listed, shown))
        if not operations:
            return None
        change = Change(
            interaction="patch",
            resource_type=TYPE,
            reference=listed.reference,
            patch=operations,
            if_match=listed.version,
        )
        write = Write(marker=f"{shown.marker}.{listed.version}", changes=(change,))
        await self._sink.commit(write, last_look=last_look)
        try:
            after = await self.look(listed.reference, version=None)
        except NotFound:
            after = None
        if after is None:
            raise OutcomeUnknown("the Task was changed, and then it was not there any more")
        left = tuple(o["path"] for o in _operations(after.body or {}, after, shown))
        if "/status" in left:
            raise WriteRefused("the list outside took the change and did not keep it")
        return replace(after, differs=left)


def task_of(shown: Shown) -> Resource:
    """The Task of a handoff, without its marker, which the sink adds."""
    system, _, code = (shown.code or CODE_DEFAULT).partition("|")
    task: Resource = {
        "resourceType": TYPE,
        "status": STATUSES[shown.status],
        "intent": "order",
        "priority": shown.priority,
        "code": {"coding": [{"system": system, "code": code}]},
        "description": shown.title,
        "authoredOn": _instant(shown.opened_at),
        "performerType": _performer(shown.worklist),
        "reasonCode": {"coding": [{"system": CAUSES, "code": shown.cause.value}]},
        "restriction": {"period": {"end": _instant(shown.due_at)}},
        "input": [{"type": {"text": LINK_INPUT}, "valueUrl": shown.link}],
    }
    if shown.patient:
        task["for"] = {"reference": shown.patient}
    if shown.owner:
        task["owner"] = {"reference": shown.owner}
    return task


def _operations(task: Resource, listed: Listed, shown: Shown) -> Iterator[dict[str, Any]]:
    """What of it is not in line (RFC 6902; "add" on a member that exists replaces it)."""
    ahead = ORDER.index(shown.status) > ORDER.index(listed.status)
    if ahead and not listed.refused:
        yield {"op": "add", "path": "/status", "value": STATUSES[shown.status]}
        if shown.outcome:
            notes = [*_items(task.get("note")), {"text": shown.outcome}]
            yield {"op": "add", "path": "/note", "value": notes}
    if listed.refused or HandoffStatus.CLOSED in (shown.status, listed.status):
        return
    if task.get("performerType") != _performer(shown.worklist):
        yield {"op": "add", "path": "/performerType", "value": _performer(shown.worklist)}
    if shown.owner and shown.owner != listed.owner and listed.status is HandoffStatus.OPEN:
        yield {"op": "add", "path": "/owner", "value": {"reference": shown.owner}}


def _listed(copy: Copy, differs: list[str] | None = None) -> Listed:
    task: Resource = orjson.loads(copy.body)
    status = task.get("status")
    known = HandoffStatus.OPEN
    if status in TAKEN:
        known = HandoffStatus.TAKEN
    elif status in CLOSED or status in REFUSED:
        known = HandoffStatus.CLOSED
    return Listed(
        reference=copy.reference,
        version=copy.version,
        status=known,
        refused=status in REFUSED,
        owner=_owner(task),
        outcome=_outcome(task),
        differs=tuple(differs or ()),
        body=task,
    )


def _owner(task: Resource) -> str | None:
    """A patient may own a Task as well; those are nobody's staff."""
    owner = task.get("owner")
    reference = owner.get("reference") if isinstance(owner, dict) else None
    return reference if isinstance(reference, str) and reference.startswith(STAFF) else None


def _outcome(task: Resource) -> str | None:
    """What staff wrote of it: the last note, else the reason of the status."""
    reason = task.get("statusReason")
    said = [reason.get("text")] if isinstance(reason, dict) else []
    said += [note.get("text") for note in _items(task.get("note"))]
    texts = [text.replace("\0", "").strip() for text in said if isinstance(text, str)]
    words = [text for text in texts if text]
    return words[-1][:OUTCOME_MAX] if words else None


def _performer(worklist: str) -> list[dict[str, Any]]:
    return [{"coding": [{"system": WORKLISTS, "code": worklist}], "text": worklist}]


def _items(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _instant(at: Any) -> str:
    return str(at.isoformat(timespec="seconds"))
