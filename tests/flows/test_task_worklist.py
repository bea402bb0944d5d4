"""What a Task says of a handoff, and what is read out of one that staff changed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from chartgate.errors import NotFound, OutcomeUnknown, WriteRefused
from chartgate.flows.task_worklist import TaskWorklist, task_of
from chartgate.formats.canonical import digest
from chartgate.model.handoff import Cause, HandoffStatus, Shown
from chartgate.model.ports import LastLook, Worklist
from chartgate.model.resource import Copy, NotModified
from chartgate.model.write import Effect, Receipt, Write

AT = datetime(2026, 11, 20, 9, tzinfo=UTC)
SHOWN = Shown(
    marker="h1.task",
    status=HandoffStatus.OPEN,
    worklist="front-desk",
    title="Book, by hand: the AI was not sure.",
    cause=Cause.LOW_CONFIDENCE,
    code="",
    priority="routine",
    patient="Patient/7",
    owner=None,
    opened_at=AT,
    due_at=AT + timedelta(minutes=30),
    link="https://gate.example.org/worklist/h1",
)


class OneTask:
    """An EHR with one Task, that keeps what it is sent, or some of it."""

    def __init__(self, task: dict[str, Any], *, keeps: Sequence[str] = ("/",)) -> None:
        self.task, self.version, self.keeps = task, 1, keeps
        self.sent: list[Write] = []
        self.gone = False

    async def read(self, reference: str, *, if_none_match: str | None = None) -> Copy | NotModified:
        if self.gone:
            raise NotFound("it is not there")
        body = orjson.dumps(self.task)
        return Copy(
            reference=reference, version=str(self.version), digest=digest(body), body=body, as_of=AT
        )

    async def commit(self, write: Write, *, last_look: LastLook | None = None) -> Receipt:
        if last_look is not None:
            await last_look()
        self.sent.append(write)
        self.version += 1
        for change in write.changes:
            for operation in change.patch:
                if operation["path"].startswith(tuple(self.keeps)):
                    self.task = {**self.task, operation["path"][1:]: operation["value"]}
        return Receipt(effects=(effect(self.version),), at=AT)


def effect(version: int) -> Effect:
    return Effect(reference="Task/1", version_before=None, version_after=str(version))


def list_of(ehr: Any) -> TaskWorklist:
    return TaskWorklist(ehr, ehr)


def test_tasks_are_one_adapter_of_the_port() -> None:
    assert isinstance(list_of(OneTask({})), Worklist)


def test_code_of_the_charter_stands_in_the_task_else_fhirs_own() -> None:
    own = replace(SHOWN, code="https://codes.example.org|call-back")
    assert task_of(own)["code"]["coding"] == [
        {"system": "https://codes.example.org", "code": "call-back"}
    ]
    (coding,) = task_of(SHOWN)["code"]["coding"]
    assert coding["code"] == "fulfill"
    assert "for" not in task_of(replace(SHOWN, patient=None))
    assert task_of(replace(SHOWN, owner="Practitioner/3"))["owner"]["reference"] == "Practitioner/3"


@pytest.mark.parametrize(
    ("status", "known", "refused"),
    [
        ("draft", HandoffStatus.OPEN, False),
        ("requested", HandoffStatus.OPEN, False),
        ("received", HandoffStatus.OPEN, False),
        ("ready", HandoffStatus.OPEN, False),
        ("on-hold", HandoffStatus.OPEN, False),
        ("accepted", HandoffStatus.TAKEN, False),
        ("in-progress", HandoffStatus.TAKEN, False),
        ("completed", HandoffStatus.CLOSED, False),
        ("cancelled", HandoffStatus.CLOSED, False),
        ("rejected", HandoffStatus.CLOSED, True),
        ("failed", HandoffStatus.CLOSED, True),
        ("entered-in-error", HandoffStatus.CLOSED, True),
        ("nonsense", HandoffStatus.OPEN, False),
        (7, HandoffStatus.OPEN, False),
    ],
)
async def test_every_status_of_a_task_has_a_meaning(
    status: Any, known: HandoffStatus, refused: bool
) -> None:
    listed = await list_of(OneTask({"status": status})).look("Task/1", version=None)
    assert listed is not None
    assert (listed.status, listed.refused) == (known, refused)


@pytest.mark.parametrize(
    ("task", "owner", "outcome"),
    [
        ({"owner": {"reference": "Practitioner/3"}}, "Practitioner/3", None),
        ({"owner": {"reference": "Patient/3"}}, None, None),
        ({"owner": {"display": "Dr. Who"}}, None, None),
        ({"owner": "Practitioner/3"}, None, None),
        ({"note": [{"text": "one"}, {"text": "two"}]}, None, "two"),
        ({"note": "two", "statusReason": {"text": "called"}}, None, "called"),
        ({"note": [{"text": " \0 "}, 7]}, None, None),
        ({"note": [{"text": "x" * 9_000}]}, None, "x" * 1_500),
    ],
)
async def test_owner_and_outcome_are_read_with_care(
    task: dict[str, Any], owner: str | None, outcome: str | None
) -> None:
    listed = await list_of(OneTask(task)).look("Task/1", version=None)
    assert listed is not None
    assert (listed.owner, listed.outcome) == (owner, outcome)


async def shown_on(ehr: OneTask, shown: Shown) -> Any:
    worklist = list_of(ehr)
    listed = await worklist.look("Task/1", version=None)
    assert listed is not None
    return await worklist.show(listed, shown)


async def test_what_is_in_line_is_not_sent_again() -> None:
    ehr = OneTask(task_of(SHOWN))
    assert await shown_on(ehr, SHOWN) is None
    assert ehr.sent == []


async def test_status_only_moves_on() -> None:
    for status in ("accepted", "completed", "rejected"):
        ehr = OneTask(task_of(SHOWN) | {"status": status})
        assert await shown_on(ehr, SHOWN) is None
    ehr = OneTask(task_of(SHOWN) | {"status": "in-progress"})
    closed = replace(SHOWN, status=HandoffStatus.CLOSED, outcome="done")
    after = await shown_on(ehr, closed)
    assert (after.status, ehr.task["note"]) == (HandoffStatus.CLOSED, [{"text": "done"}])
    (write,) = ehr.sent
    assert write.changes[0].if_match == "1"


async def test_another_worklist_and_owner_are_told_while_it_is_open() -> None:
    ehr = OneTask(task_of(SHOWN))
    await shown_on(ehr, replace(SHOWN, worklist="night-desk", owner="Practitioner/3"))
    assert ehr.task["performerType"][0]["text"] == "night-desk"
    assert ehr.task["owner"] == {"reference": "Practitioner/3"}


async def test_list_that_does_not_keep_what_it_is_told_is_found_out() -> None:
    ehr = OneTask(task_of(SHOWN), keeps=("/performerType",))
    with pytest.raises(WriteRefused):
        await shown_on(ehr, replace(SHOWN, status=HandoffStatus.TAKEN))
    ehr = OneTask(task_of(SHOWN), keeps=("/status",))
    told = replace(SHOWN, status=HandoffStatus.TAKEN, worklist="night-desk")
    assert (await shown_on(ehr, told)).differs == ("/performerType",)


async def test_task_that_vanishes_as_it_is_told_leaves_it_open_what_became_of_it() -> None:
    ehr = OneTask(task_of(SHOWN))
    worklist = list_of(ehr)
    listed = await worklist.look("Task/1", version=None)
    assert listed is not None

    async def vanish() -> None:
        ehr.gone = True

    with pytest.raises(OutcomeUnknown):
        await worklist.show(listed, replace(SHOWN, status=HandoffStatus.TAKEN), last_look=vanish)
