"""Reads, versions, history and paging, over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chartgate.demo.hospital import Hospital

Call = Callable[..., Awaitable[Any]]


async def test_a_read_names_its_version_and_time(call: Call, hospital: Hospital) -> None:
    hospital.edit({"resourceType": "Patient", "id": "a"})
    reply = await call("GET", "Patient/a")
    assert (reply.status, reply.etag) == (200, 'W/"1"')
    assert reply.headers["Content-Type"].startswith("application/fhir+json")
    assert reply.headers["Last-Modified"].endswith("GMT")


@pytest.mark.parametrize("known", ['W/"1"', 'W/"7", W/"1"'])
async def test_a_conditional_read_of_the_same_version_costs_no_body(
    call: Call, hospital: Hospital, known: str
) -> None:
    hospital.edit({"resourceType": "Patient", "id": "a"})
    reply = await call("GET", "Patient/a", If_None_Match=known)
    assert (reply.status, reply.json, reply.etag) == (304, None, 'W/"1"')
    hospital.edit({"resourceType": "Patient", "id": "a", "active": True})
    assert (await call("GET", "Patient/a", If_None_Match=known)).status == 200


async def test_what_is_not_there_is_not_found(call: Call) -> None:
    assert (await call("GET", "Patient/nobody")).status == 404
    assert (await call("GET", "Spaceship/1")).status == 404
    assert (await call("GET", "Patient/1/2/3/4")).status == 404
    assert (await call("PUT", "Patient", {})).status == 405


async def test_history_is_newest_first_and_each_version_can_be_read(
    call: Call, hospital: Hospital
) -> None:
    for active in (True, False):
        hospital.edit({"resourceType": "Patient", "id": "a", "active": active})
    await call("DELETE", "Patient/a")
    history = (await call("GET", "Patient/a/_history")).json
    assert [e["request"]["method"] for e in history["entry"]] == ["DELETE", "PUT", "PUT"]
    assert [e["response"]["etag"] for e in history["entry"]] == ['W/"3"', 'W/"2"', 'W/"1"']
    assert (await call("GET", "Patient/a/_history/1")).json["active"] is True
    assert (await call("GET", "Patient/a/_history/3")).status == 410
    assert (await call("GET", "Patient/a/_history/4")).status == 404
    assert (await call("GET", "Patient/b/_history")).status == 404


async def test_history_is_paged(call: Call, hospital: Hospital) -> None:
    for _ in range(5):
        hospital.edit({"resourceType": "Patient", "id": "a"})
    seen, url = [], "Patient/a/_history?_count=2"
    while url:
        page = (await call("GET", url)).json
        seen += [e["resource"]["meta"]["versionId"] for e in page["entry"]]
        url = next((n["url"] for n in page["link"] if n["relation"] == "next"), "")
    assert seen == ["5", "4", "3", "2", "1"]


async def test_pages_show_each_match_once_although_the_chart_changes(
    call: Call, hospital: Hospital
) -> None:
    for number in range(7):
        hospital.edit({"resourceType": "Patient", "id": f"p{number}"})
    seen, url, sizes = [], "Patient?_count=3&_sort=_id", []
    while url:
        page = await call("GET", url)
        assert page.json["total"] == 7
        seen += page.found
        sizes.append(len(page.found))
        url = next((n["url"] for n in page.json["link"] if n["relation"] == "next"), "")
        hospital.edit({"resourceType": "Patient", "id": f"a-new-{len(seen)}"})
    assert seen == [f"p{number}" for number in range(7)]
    assert sizes == [3, 3, 1]
    assert (await call("GET", "Patient?_cursor=made-up")).status == 410


async def test_metadata_tells_what_there_is(call: Call, hospital: Hospital) -> None:
    statement = (await call("GET", "metadata")).json
    rest = statement["rest"][0]
    slot = next(r for r in rest["resource"] if r["type"] == "Slot")
    assert {"name": "start", "type": "date"} in slot["searchParam"]
    assert slot["updateCreate"] is False
    smart = (await call("GET", ".well-known/smart-configuration")).json
    assert smart["token_endpoint"] == hospital.token_url


async def test_the_request_id_comes_back(call: Call, hospital: Hospital) -> None:
    reply = await call("POST", "Patient", {"resourceType": "Patient"}, X_Request_ID="r-1")
    assert reply.headers["X-Request-ID"] == "r-1"
    assert hospital.journal.effects[0].request_id == "r-1"


async def test_a_request_that_breaks_off_applies_nothing(hospital: Hospital) -> None:
    _, writer = await asyncio.open_connection(hospital.host, hospital.port)
    body = b'{"resourceType":"Patient"}'
    head = f"POST /fhir/Patient HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body) + 9}\r\n"
    writer.write(head.encode() + b"content-type: application/json\r\n\r\n" + body)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert hospital.journal.effects == []


async def test_head_answers_like_get_without_a_body(call: Call, hospital: Hospital) -> None:
    hospital.edit({"resourceType": "Patient", "id": "a"})
    reply = await call("HEAD", "Patient/a")
    assert (reply.status, reply.json, reply.etag) == (200, None, 'W/"1"')
