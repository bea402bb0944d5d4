"""Undoing: in reverse order, on the version that we left, never more than what we did."""

from datetime import UTC, datetime

import orjson
import pytest

from chartgate.adapters.fhir_r4.compensate import can_undo_create, compensation
from chartgate.adapters.fhir_r4.dialect import PROBED, Habits, load_dialect
from chartgate.errors import WriteRefused
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.model.resource import Copy
from chartgate.model.write import Change, Effect, Receipt, Write

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DIALECT = load_dialect("generic")
ALL = Habits(DIALECT, {line: (True, "") for line in PROBED})
NO_DELETE = Habits(DIALECT, {line: (line != "if_match_on_delete", "") for line in PROBED})
BEFORE = {
    "resourceType": "Slot",
    "id": "12",
    "meta": {"versionId": "3", "lastUpdated": "2026", "profile": ["http://x"]},
    "status": "free",
}
WRITE = Write(
    marker="p-1",
    changes=(
        Change(
            interaction="create",
            resource_type="Appointment",
            resource={"resourceType": "Appointment"},
        ),
        Change(
            interaction="patch",
            resource_type="Slot",
            reference="Slot/12",
            patch=({"op": "replace", "path": "/status", "value": "busy"},),
            if_match="3",
        ),
    ),
)
RECEIPT = Receipt(
    effects=(
        Effect(reference="Appointment/9", version_before=None, version_after="1"),
        Effect(reference="Slot/12", version_before="3", version_after="4"),
    ),
    at=NOW,
)


def preimage() -> Copy:
    body = canonical_bytes(BEFORE)
    return Copy(reference="Slot/12", version="3", digest=digest(body), body=body, as_of=NOW)


def test_undoing_stands_on_what_we_left_and_runs_backwards() -> None:
    undo = compensation(WRITE, RECEIPT, [preimage()], ALL)
    assert undo.marker == "p-1.rollback"
    restore, cancel = undo.changes
    assert (restore.interaction, restore.reference, restore.if_match) == ("update", "Slot/12", "4")
    assert restore.resource == {**BEFORE, "meta": {"profile": ["http://x"]}}
    assert (cancel.interaction, cancel.reference, cancel.if_match) == (
        "patch",
        "Appointment/9",
        "1",
    )


@pytest.mark.parametrize("habits", [ALL, NO_DELETE], ids=["can-delete", "cannot"])
def test_cancelling_stands_in_for_deleting_so_that_our_marker_stays(habits: Habits) -> None:
    cancel = compensation(WRITE, RECEIPT, [preimage()], habits).changes[1]
    assert (cancel.interaction, cancel.if_match) == ("patch", "1")
    assert orjson.dumps(cancel.patch) == orjson.dumps(
        [{"op": "add", "path": "/status", "value": "cancelled"}]
    )


def test_what_has_no_status_to_stand_in_is_deleted() -> None:
    basic = Write(
        marker="p-1",
        changes=(Change(interaction="create", resource_type="Basic", resource={}),),
    )
    made = Effect(reference="Basic/1", version_before=None, version_after="1")
    (remove,) = compensation(basic, Receipt(effects=(made,), at=NOW), (), ALL).changes
    assert (remove.interaction, remove.reference, remove.if_match) == ("delete", "Basic/1", "1")


def test_create_without_delete_or_stand_in_cannot_be_undone() -> None:
    assert can_undo_create("Basic", ALL)
    assert can_undo_create("Task", NO_DELETE)
    assert not can_undo_create("Basic", NO_DELETE)
    basic = Write(
        marker="p-1",
        changes=(Change(interaction="create", resource_type="Basic", resource={}),),
    )
    made = Effect(reference="Basic/1", version_before=None, version_after="1")
    with pytest.raises(WriteRefused):
        compensation(basic, Receipt(effects=(made,), at=NOW), (), NO_DELETE)
