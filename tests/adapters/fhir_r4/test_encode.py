"""Requests as they go out, alone and in a transaction."""

import base64
from typing import Any

import orjson
import pytest

from chartgate.adapters.fhir_r4.dialect import PROBED, Habits, load_dialect
from chartgate.adapters.fhir_r4.encode import encode_alone, encode_transaction
from chartgate.adapters.fhir_r4.marks import MARKER_SYSTEM
from chartgate.model.write import Change, Write, create_marks

DIALECT = load_dialect("generic")
ALL = Habits(DIALECT, {line: (True, "") for line in PROBED})
BY_TEST = Habits(DIALECT, {line: (line != "if_match_on_patch", "") for line in PROBED})
TASK: dict[str, Any] = {"resourceType": "Task", "status": "draft"}
CREATE = Change(interaction="create", resource_type="Task", resource=TASK)
UPDATE = Change(
    interaction="update",
    resource_type="Task",
    reference="Task/1",
    resource={**TASK, "id": "1"},
    if_match="3",
)
OPERATION = {"op": "replace", "path": "/status", "value": "ready"}
PATCH = Change(
    interaction="patch",
    resource_type="Task",
    reference="Task/1",
    patch=(OPERATION,),
    if_match="3",
)
DELETE = Change(interaction="delete", resource_type="Task", reference="Task/1", if_match="3")
GUARD = {"op": "test", "path": "/meta/versionId", "value": "3"}


def test_create_is_marked_and_conditional_on_its_mark() -> None:
    request = encode_alone(CREATE, "p-1", ALL)
    assert (request.method, request.path) == ("POST", "Task")
    assert request.headers["If-None-Exist"] == f"identifier={MARKER_SYSTEM}|p-1"
    assert orjson.loads(request.body or b"")["identifier"] == [
        {"system": MARKER_SYSTEM, "value": "p-1"}
    ]
    assert "identifier" not in TASK, "what was proposed is not changed"


def test_type_without_identifiers_is_marked_by_tag() -> None:
    composition = Change(
        interaction="create",
        resource_type="Composition",
        resource={"resourceType": "Composition", "meta": {"tag": [{"code": "x"}]}},
    )
    request = encode_alone(composition, "p-1", ALL)
    assert request.headers["If-None-Exist"] == f"_tag={MARKER_SYSTEM}|p-1"
    tags = orjson.loads(request.body or b"")["meta"]["tag"]
    assert tags == [{"code": "x"}, {"system": MARKER_SYSTEM, "code": "p-1"}]


@pytest.mark.parametrize(
    ("change", "method"), [(UPDATE, "PUT"), (PATCH, "PATCH"), (DELETE, "DELETE")]
)
def test_every_other_write_names_the_version_it_stands_on(change: Change, method: str) -> None:
    request = encode_alone(change, None, ALL)
    assert (request.method, request.path) == (method, "Task/1")
    assert request.headers["If-Match"] == 'W/"3"'


def test_patch_goes_behind_a_test_where_if_match_does_not_count() -> None:
    request = encode_alone(PATCH, None, BY_TEST)
    assert orjson.loads(request.body or b"") == [GUARD, OPERATION]
    assert "If-Match" not in request.headers
    assert orjson.loads(encode_alone(PATCH, None, ALL).body or b"") == [OPERATION]


def test_transaction_holds_each_change_with_its_precondition() -> None:
    changes = (CREATE, UPDATE, PATCH, DELETE, CREATE)
    marks = create_marks(Write(marker="p-1", changes=changes))
    assert marks == ("p-1", None, None, None, "p-1.2")
    request = encode_transaction(changes, marks, BY_TEST)
    assert (request.method, request.path) == ("POST", "")
    bundle = orjson.loads(request.body or b"")
    assert bundle["type"] == "transaction"
    first, update, patch, delete, second = bundle["entry"]
    assert first["request"]["ifNoneExist"] != second["request"]["ifNoneExist"]
    assert first["fullUrl"] != second["fullUrl"]
    for entry in (update, patch, delete):
        assert entry["request"]["ifMatch"] == 'W/"3"'
    assert patch["resource"]["contentType"] == "application/json-patch+json"
    assert orjson.loads(base64.b64decode(patch["resource"]["data"])) == [GUARD, OPERATION]
    assert "resource" not in delete
