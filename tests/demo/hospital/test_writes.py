"""Create, update, patch, delete and their preconditions, over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chartgate.demo.hospital import Hospital

Call = Callable[..., Awaitable[Any]]
PATIENT = {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "1"}]}
SLOT = {
    "resourceType": "Slot",
    "schedule": {"reference": "Schedule/1"},
    "status": "free",
    "start": "2026-03-02T09:00:00Z",
    "end": "2026-03-02T09:30:00Z",
}
TO_BUSY = [{"op": "replace", "path": "/status", "value": "busy"}]


async def test_create_gives_id_version_and_location(call: Call) -> None:
    reply = await call("POST", "Patient", {**PATIENT, "id": "mine"})
    assert reply.status == 201
    assert reply.json["id"] != "mine"
    assert reply.json["meta"]["versionId"] == "1"
    assert reply.etag == 'W/"1"'
    assert reply.headers["Location"].endswith(f"/Patient/{reply.json['id']}/_history/1")


@pytest.mark.parametrize(("wish", "body"), [("minimal", None), ("representation", "Patient")])
async def test_create_returns_what_prefer_asks_for(call: Call, wish: str, body: str | None) -> None:
    reply = await call("POST", "Patient", PATIENT, Prefer=f"return={wish}")
    assert (reply.json and reply.json["resourceType"]) == body


async def test_conditional_create_with_none_one_and_many_matches(
    call: Call, hospital: Hospital
) -> None:
    condition = "identifier=urn:mrn|1"
    first = await call("POST", "Patient", PATIENT, If_None_Exist=condition)
    again = await call("POST", "Patient", PATIENT, If_None_Exist=condition)
    assert (first.status, again.status) == (201, 200)
    assert again.json["id"] == first.json["id"]
    await call("POST", "Patient", PATIENT)
    many = await call("POST", "Patient", PATIENT, If_None_Exist=condition)
    assert many.status == 412
    assert hospital.chart.types() == {"Patient": 2}


async def test_conditional_create_without_criteria_is_refused(call: Call) -> None:
    assert (await call("POST", "Patient", PATIENT, If_None_Exist="_count=1")).status == 412


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_stale_if_match_answers_412_and_changes_nothing(
    call: Call, hospital: Hospital, method: str
) -> None:
    made = (await call("POST", "Slot", SLOT)).json
    await call("PATCH", f"Slot/{made['id']}", TO_BUSY, If_Match='W/"1"')
    body = {"PUT": {**SLOT, "id": made["id"]}, "PATCH": TO_BUSY, "DELETE": None}[method]
    reply = await call(method, f"Slot/{made['id']}", body, If_Match='W/"1"')
    assert reply.status == 412
    assert reply.json["resourceType"] == "OperationOutcome"
    assert hospital.resource(f"Slot/{made['id']}")["meta"]["versionId"] == "2"


async def test_a_holding_if_match_is_applied(call: Call) -> None:
    made = (await call("POST", "Slot", SLOT)).json
    patched = await call("PATCH", f"Slot/{made['id']}", TO_BUSY, If_Match='W/"1"')
    assert (patched.status, patched.json["status"], patched.etag) == (200, "busy", 'W/"2"')
    put = await call("PUT", f"Slot/{made['id']}", patched.json, If_Match='W/"2"')
    assert (put.status, put.etag) == (200, 'W/"3"')


async def test_update_never_creates(call: Call) -> None:
    assert (await call("PUT", "Patient/new", {**PATIENT, "id": "new"})).status == 405


async def test_update_with_another_id_in_the_body_is_refused(call: Call) -> None:
    made = (await call("POST", "Patient", PATIENT)).json
    assert (await call("PUT", f"Patient/{made['id']}", {**PATIENT, "id": "x"})).status == 400


@pytest.mark.parametrize(
    ("patch", "status"),
    [
        ([{"op": "test", "path": "/meta/versionId", "value": "9"}], 409),
        ([{"op": "remove", "path": "/nowhere"}], 422),
        ([{"op": "replace", "path": "/status", "value": "nonsense"}], 422),
        ([{"op": "replace", "path": "/id", "value": "other"}], 422),
        ([{"op": "dance"}], 400),
        ({"op": "remove"}, 400),
        ([1], 400),
    ],
)
async def test_a_patch_that_does_not_hold_is_refused(
    call: Call, hospital: Hospital, patch: Any, status: int
) -> None:
    made = (await call("POST", "Slot", SLOT)).json
    assert (await call("PATCH", f"Slot/{made['id']}", patch)).status == status
    assert hospital.resource(f"Slot/{made['id']}") == made


async def test_a_test_on_the_version_that_holds_lets_the_patch_through(call: Call) -> None:
    made = (await call("POST", "Slot", SLOT)).json
    guard = {"op": "test", "path": "/meta/versionId", "value": "1"}
    assert (await call("PATCH", f"Slot/{made['id']}", [guard, *TO_BUSY])).status == 200


async def test_what_is_deleted_is_gone_and_may_come_back(call: Call) -> None:
    made = (await call("POST", "Patient", PATIENT)).json
    path = f"Patient/{made['id']}"
    assert (await call("DELETE", path, If_Match='W/"1"')).status == 204
    assert (await call("GET", path)).status == 410
    assert (await call("GET", "Patient?identifier=urn:mrn|1")).json["total"] == 0
    assert (await call("PATCH", path, [])).status == 410
    assert (await call("DELETE", path)).status == 204
    assert (await call("PUT", path, made)).status == 201


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        ({"resourceType": "Slot"}, 400),
        ({"resourceType": "Patient", "gender": "f"}, 422),
        ({"resourceType": "Patient", "name": []}, 422),
        ({"resourceType": "Patient", "name": None}, 422),
        ({"resourceType": "Patient", "identifier": {"value": "1"}}, 422),
    ],
)
async def test_nonsense_is_refused_with_an_outcome(call: Call, body: Any, status: int) -> None:
    reply = await call("POST", "Patient", body)
    assert reply.status == status
    assert reply.json["issue"][0]["severity"] == "error"


@pytest.mark.parametrize(
    "change",
    [
        {"start": "tomorrow"},
        {"start": "2026-03-02"},
        {"end": "2026-03-02T08:00:00Z"},
        {"status": None},
    ],
)
async def test_a_slot_with_impossible_times_is_refused(call: Call, change: Any) -> None:
    assert (await call("POST", "Slot", {**SLOT, **change})).status == 422


@pytest.mark.parametrize(
    "participants", [[], [{"status": "accepted"}], [{"actor": {"reference": "Patient/1"}}]]
)
async def test_an_appointment_without_proper_participants_is_refused(
    call: Call, participants: Any
) -> None:
    body = {"resourceType": "Appointment", "status": "proposed", "participant": participants}
    assert (await call("POST", "Appointment", body)).status == 422


async def test_another_content_type_is_refused(call: Call) -> None:
    assert (await call("POST", "Patient", b"<x/>", Content_Type="text/xml")).status == 415
    assert (await call("PATCH", "Patient/1", [], Content_Type="application/json")).status == 415


async def test_a_type_the_hospital_does_not_keep_is_not_found(call: Call) -> None:
    assert (await call("POST", "Spaceship", {"resourceType": "Spaceship"})).status == 404
