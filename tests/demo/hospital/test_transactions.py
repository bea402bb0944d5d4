"""Transactions are all or nothing, in FHIR's order; batches are not."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from chartgate.demo.hospital import Hospital

Call = Callable[..., Awaitable[Any]]
TO_BUSY = [{"op": "replace", "path": "/status", "value": "busy"}]


@pytest.fixture
def slot(hospital: Hospital) -> str:
    """A free slot."""
    times = {"start": "2026-03-02T09:00:00Z", "end": "2026-03-02T09:30:00Z"}
    schedule = {"reference": "Schedule/1"}
    hospital.edit(
        {"resourceType": "Slot", "id": "s", "status": "free", "schedule": schedule, **times}
    )
    return "Slot/s"


def bundle(*entries: Any, kind: str = "transaction") -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def create(resource: Any, full_url: str = "", **request: str) -> dict[str, Any]:
    url = resource["resourceType"]
    named = {"fullUrl": full_url} if full_url else {}
    return {**named, "resource": resource, "request": {"method": "POST", "url": url, **request}}


def patch(url: str, operations: Any, **request: str) -> dict[str, Any]:
    data = base64.b64encode(orjson.dumps(operations)).decode()
    kind = "application/json-patch+json"
    binary = {"resourceType": "Binary", "contentType": kind, "data": data}
    return {"resource": binary, "request": {"method": "PATCH", "url": url, **request}}


def booking(slot: str, patient: str = "Patient/p") -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "status": "booked",
        "identifier": [{"system": "urn:chartgate:proposal", "value": "p-1"}],
        "slot": [{"reference": slot}],
        "start": "2026-03-02T09:00:00Z",
        "end": "2026-03-02T09:30:00Z",
        "participant": [{"actor": {"reference": patient}, "status": "accepted"}],
    }


async def test_a_transaction_does_all_in_order_and_answers_in_place(
    call: Call, hospital: Hospital, slot: str
) -> None:
    patient = {"resourceType": "Patient", "name": [{"family": "New"}]}
    reply = await call(
        "POST",
        "",
        bundle(
            {"request": {"method": "GET", "url": slot}},
            patch(slot, TO_BUSY, ifMatch='W/"1"'),
            create(booking(slot, "urn:uuid:1"), ifNoneExist="identifier=x|y"),
            create(patient, "urn:uuid:1"),
        ),
    )
    assert reply.status == 200
    entries = reply.json["entry"]
    assert [e["response"]["status"] for e in entries] == ["200", "200", "201", "201"]
    assert entries[0]["resource"]["status"] == "busy"  # GET comes last
    made = entries[3]["response"]["location"].rsplit("/_history", 1)[0]
    actor = entries[2]["resource"]["participant"][0]["actor"]["reference"]
    assert actor == made == f"Patient/{entries[3]['resource']['id']}"
    assert [e.interaction for e in hospital.journal.effects[1:]] == ["create", "create", "patch"]
    assert len(hospital.journal.effects_of("p-1")) == 1


@pytest.mark.parametrize(
    "spoiler",
    [
        patch("Slot/s", TO_BUSY, ifMatch='W/"7"'),
        patch("Slot/s", [{"op": "test", "path": "/status", "value": "busy"}]),
        patch("Slot/none", TO_BUSY),
        create({"resourceType": "Observation"}),
        {"request": {"method": "DELETE", "url": "Slot/none"}},
        {"request": {"method": "GET", "url": "Slot/none"}},
        create({"resourceType": "Basic", "code": {"text": "x"}}, ifNoneExist="colour=red"),
    ],
)
async def test_a_transaction_that_fails_anywhere_leaves_nothing(
    call: Call, hospital: Hospital, slot: str, spoiler: Any
) -> None:
    before = hospital.chart.types()
    effects = len(hospital.journal.effects)
    put = {**hospital.resource(slot), "comment": "changed"}
    change = {"resource": put, "request": {"method": "PUT", "url": slot}}
    first = [] if "Slot/s" in spoiler["request"]["url"] else [change]
    reply = await call("POST", "", bundle(create(booking(slot)), *first, spoiler))
    assert reply.status in (400, 404, 409, 412, 422)
    assert "entry[" in reply.json["issue"][0]["diagnostics"]
    assert hospital.chart.types() == before
    assert hospital.resource(slot)["meta"]["versionId"] == "1"
    assert len(hospital.journal.effects) == effects
    assert (await call("GET", "Appointment?identifier=urn:chartgate:proposal|p-1")).found == []


async def test_if_none_exist_in_a_transaction_finds_what_was_made(
    call: Call, hospital: Hospital, slot: str
) -> None:
    marker = "identifier=urn:chartgate:proposal|p-1"
    again = bundle(create(booking(slot), ifNoneExist=marker))
    statuses = [
        (await call("POST", "", again)).json["entry"][0]["response"]["status"] for _ in range(2)
    ]
    assert statuses == ["201", "200"]
    assert len(hospital.journal.effects_of("p-1")) == 1


async def test_conditional_references_are_looked_up(call: Call, hospital: Hospital) -> None:
    mrn = [{"system": "urn:mrn", "value": "1"}]
    hospital.edit({"resourceType": "Patient", "id": "p", "identifier": mrn})
    condition = {"resourceType": "Condition", "subject": {"reference": "Patient?identifier=1"}}
    reply = await call("POST", "", bundle(create(condition)))
    assert reply.json["entry"][0]["resource"]["subject"]["reference"] == "Patient/p"
    condition["subject"] = {"reference": "Patient?identifier=2"}
    assert (await call("POST", "", bundle(create(condition)))).status == 412


async def test_two_entries_on_one_resource_are_refused(call: Call, slot: str) -> None:
    assert (await call("POST", "", bundle(patch(slot, []), patch(slot, [])))).status == 400


@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "Patient"},
        bundle(kind="collection"),
        {**bundle(), "entry": {}},
        bundle({}),
        bundle({"request": {"method": "DANCE", "url": "Slot/s"}}),
        bundle({"request": {"method": "PUT", "url": "Slot?status=free"}}),
        bundle(create({"resourceType": "Spaceship"})),
        bundle(
            {"resource": {"resourceType": "Slot"}, "request": {"method": "PATCH", "url": "Slot/s"}}
        ),
    ],
)
async def test_a_bundle_that_is_none_is_refused(call: Call, slot: str, body: Any) -> None:
    assert (await call("POST", "", body)).status in (400, 404)


async def test_a_batch_does_what_it_can(call: Call, hospital: Hospital, slot: str) -> None:
    bad = patch("Slot/none", TO_BUSY)
    reply = await call("POST", "", bundle(create(booking(slot)), bad, kind="batch"))
    assert [e["response"]["status"] for e in reply.json["entry"]] == ["201", "404"]
    assert reply.json["type"] == "batch-response"
    assert hospital.chart.types()["Appointment"] == 1


async def test_a_delete_within_a_transaction_comes_first(
    call: Call, hospital: Hospital, slot: str
) -> None:
    remove = {"request": {"method": "DELETE", "url": slot, "ifMatch": 'W/"1"'}}
    reply = await call("POST", "", bundle(create(booking(slot)), remove))
    assert [e["response"]["status"] for e in reply.json["entry"]] == ["201", "204"]
    assert [e.interaction for e in hospital.journal.effects[1:]] == ["delete", "create"]
