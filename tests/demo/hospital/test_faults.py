"""Each fault does what its line in the table says, and no more."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from chartgate.demo.hospital import Hospital

Call = Callable[..., Awaitable[Any]]
MARKER = "urn:chartgate:proposal"
NOTE = {
    "resourceType": "Basic",
    "code": {"text": "note"},
    "identifier": [{"system": MARKER, "value": "p-1"}, {"system": "urn:mrn", "value": "1"}],
}
TO_OTHER = [{"op": "replace", "path": "/code/text", "value": "other"}]


@pytest.fixture
def note(hospital: Hospital) -> str:
    """A Basic in its second version."""
    for text in ("first", "second"):
        hospital.edit({"resourceType": "Basic", "id": "n", "code": {"text": text}})
    return "Basic/n"


async def test_latency_waits_for_the_named_interactions_only(
    call: Call, hospital: Hospital, note: str
) -> None:
    hospital.faults.switch("latency_s", 0.15, interactions=["search"])
    started = time.perf_counter()
    await call("GET", note)
    assert time.perf_counter() - started < 0.1
    await call("GET", "Basic")
    assert time.perf_counter() - started >= 0.15


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [("down", "503", 503), ("unauthorised", True, 401), ("throttle", {}, 429)],
)
async def test_a_refusing_fault_does_nothing(
    call: Call, hospital: Hospital, name: str, value: Any, status: int
) -> None:
    hospital.faults.switch(name, value, times=1)
    assert (await call("POST", "Basic", NOTE)).status == status
    assert hospital.journal.effects == []
    assert (await call("POST", "Basic", NOTE)).status == 201


async def test_down_by_reset_cuts_the_connection(call: Call, hospital: Hospital) -> None:
    hospital.faults.switch("down", "reset", times=1)
    with pytest.raises(aiohttp.ClientError):
        await call("POST", "Basic", NOTE)
    assert hospital.journal.effects == []


@pytest.mark.parametrize(
    ("setting", "header", "value"),
    [
        ({"retry_after_s": 7}, "Retry-After", "7"),
        ({"rate_limit_s": 9}, "RateLimit", '"fhirInteractions";r=0;t=9'),
    ],
)
async def test_throttle_says_when_to_come_back(
    call: Call, hospital: Hospital, note: str, setting: Any, header: str, value: str
) -> None:
    hospital.faults.switch("throttle", setting)
    reply = await call("GET", note)
    assert (reply.status, reply.headers[header]) == (429, value)
    assert ("Retry-After" in reply.headers) != ("RateLimit" in reply.headers)


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_error_after_applying_has_applied(
    call: Call, hospital: Hospital, status: int
) -> None:
    hospital.faults.switch("error_after_applying", status, interactions=["create"], times=1)
    assert (await call("POST", "Basic", NOTE)).status == status
    assert len(hospital.journal.effects_of("p-1")) == 1


async def test_reset_after_applying_has_applied(call: Call, hospital: Hospital) -> None:
    hospital.faults.switch("reset_after_applying", times=1)
    with pytest.raises(aiohttp.ClientError):
        await call("POST", "Basic", NOTE)
    assert len(hospital.journal.effects_of("p-1")) == 1


async def test_hang_after_applying_answers_late(call: Call, hospital: Hospital) -> None:
    hospital.faults.switch("hang_after_applying_s", 0.1)
    started = time.perf_counter()
    assert (await call("POST", "Basic", NOTE)).status == 201
    assert time.perf_counter() - started >= 0.1


async def test_apply_late_says_504_and_applies_afterwards(call: Call, hospital: Hospital) -> None:
    hospital.faults.switch("apply_late_s", 0.05, times=1)
    assert (await call("POST", "Basic", NOTE)).status == 504
    assert hospital.journal.effects == []
    while not hospital.journal.effects_of("p-1"):
        await call("GET", "Basic")
    assert len(hospital.journal.effects) == 1


async def test_stale_reads_lag_by_versions_or_seconds(
    call: Call, hospital: Hospital, note: str
) -> None:
    for setting, texts in (({"versions": 1}, ["first"]), ({"seconds": 3600}, [])):
        hospital.faults.switch("stale_reads", setting)
        reply = await call("GET", note)
        assert reply.status == (200 if texts else 404)
        found = (await call("GET", "Basic")).json.get("entry", [])
        assert [e["resource"]["code"]["text"] for e in found] == texts
        hospital.faults.clear()
    assert (await call("GET", note)).json["code"]["text"] == "second"


async def test_if_match_can_be_ignored_for_patch_alone(
    call: Call, hospital: Hospital, note: str
) -> None:
    hospital.faults.switch("ignore_if_match", interactions=["patch"])
    assert (await call("PATCH", note, TO_OTHER, If_Match='W/"1"')).status == 200
    body = hospital.resource(note)
    assert (await call("PUT", note, body, If_Match='W/"1"')).status == 412


async def test_if_none_exist_can_be_ignored(call: Call, hospital: Hospital) -> None:
    hospital.faults.switch("ignore_if_none_exist")
    for _ in range(2):
        await call("POST", "Basic", NOTE, If_None_Exist=f"identifier={MARKER}|p-1")
    assert len(hospital.journal.effects_of("p-1")) == 2


async def test_content_changes_on_save_as_told(call: Call, hospital: Hospital) -> None:
    hospital.faults.switch(
        "change_on_save",
        {
            "drop": ["/created", "/nowhere"],
            "set": {"/code/text": "ours"},
            "strip_marker": True,
            "reorder": True,
        },
    )
    tags = {"tag": [{"system": MARKER, "code": "p-1"}, {"code": "b"}, {"code": "a"}]}
    stored = (await call("POST", "Basic", {**NOTE, "created": "2026-01-01", "meta": tags})).json
    assert "created" not in stored
    assert stored["code"]["text"] == "ours"
    assert stored["identifier"] == [{"system": "urn:mrn", "value": "1"}]
    assert stored["meta"]["tag"] == [{"code": "b"}, {"code": "a"}]
    assert hospital.journal.effects_of("p-1") == []


@pytest.mark.parametrize(("how", "version"), [("headers", "2"), ("all", None)])
async def test_a_server_without_etags(
    call: Call, hospital: Hospital, note: str, how: str, version: str | None
) -> None:
    hospital.faults.switch("no_etag", how)
    reply = await call("GET", note)
    assert "ETag" not in reply.headers
    assert reply.json["meta"].get("versionId") == version


async def test_a_server_that_is_not_atomic_keeps_what_it_did(
    call: Call, hospital: Hospital
) -> None:
    hospital.faults.switch("batch_partial", 1, times=1)
    request = {"method": "POST", "url": "Basic"}
    entries = [{"resource": NOTE, "request": request}] * 2
    body = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert (await call("POST", "", body)).status == 500
    assert len(hospital.journal.effects_of("p-1")) == 1


async def test_faults_are_switched_narrowed_and_counted_over_http(
    call: Call, hospital: Hospital, note: str
) -> None:
    faults = f"{hospital.control_url}/faults"
    table = {
        "latency_s": [{"value": 0.0, "types": ["Basic"]}],
        "down": {"value": "503", "interactions": ["read"], "times": 2},
        "error_after_applying": 502,
    }
    assert (await call("PUT", faults, table)).status == 200
    assert [(await call("GET", note)).status for _ in range(3)] == [503, 503, 200]
    shown = {row["name"]: row["hits"] for row in (await call("GET", faults)).json}
    assert shown == {"latency_s": 3, "down": 2, "error_after_applying": 0}
    assert (await call("PUT", faults, {"lateness": 1})).status == 400
    assert len(hospital.faults.on) == 3
    await call("DELETE", faults)
    assert hospital.faults.on == []
