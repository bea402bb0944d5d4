"""Reading: what a server may say, and what is not believed."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web

from chartgate.adapters.fhir_r4.adapter import FhirR4
from chartgate.demo.hospital.server import Hospital
from chartgate.errors import NotFound, SourceUnreachable
from chartgate.model.resource import Copy, NotModified
from chartgate.testing.builders import task

Opener = Callable[..., Awaitable[FhirR4]]
Server = Callable[..., Awaitable[str]]
RESOURCE: dict[str, Any] = {**task(), "id": "1", "meta": {"versionId": "7"}}


def entry(number: int, **more: Any) -> dict[str, Any]:
    return {"resource": {**RESOURCE, "id": str(number)}, **more}


def bundle(*entries: Any, kind: str = "searchset", next_url: str = "") -> dict[str, Any]:
    link = [{"relation": "next", "url": next_url}] if next_url else []
    return {"resourceType": "Bundle", "type": kind, "link": link, "entry": list(entries)}


@pytest.mark.parametrize(
    ("headers", "version"),
    [({"ETag": 'W/"9"'}, "9"), ({"ETag": '"9"'}, "9"), ({}, "7"), ({"ETag": "a b"}, "7")],
)
async def test_version_is_the_etags_or_the_bodys(
    headers: dict[str, str], version: str, open_ehr: Opener, serve: Server
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(RESOURCE, headers=headers)

    ehr = await open_ehr(await serve(handler))
    copy = await ehr.read("Task/1")
    assert isinstance(copy, Copy)
    assert copy.version == version
    assert copy.reference == "Task/1"


async def test_conditional_read_asks_by_weak_etag(open_ehr: Opener, serve: Server) -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.headers["If-None-Match"] == 'W/"7"'
        return web.Response(status=304)

    ehr = await open_ehr(await serve(handler))
    answer = await ehr.read("Task/1", if_none_match="7")
    assert isinstance(answer, NotModified)
    assert answer.version == "7"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>login</html>",
        b"[]",
        orjson.dumps({**RESOURCE, "id": "2"}),
        orjson.dumps({**RESOURCE, "resourceType": "Patient"}),
        orjson.dumps({"resourceType": "Task"}),
        b'{"resourceType":"Task","id":"1","a":' + b"[" * 80 + b"]" * 80 + b"}",
    ],
)
async def test_another_answer_than_asked_for_is_not_believed(
    body: bytes, open_ehr: Opener, serve: Server
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=body)

    ehr = await open_ehr(await serve(handler))
    with pytest.raises(SourceUnreachable, match="not FHIR R4") as caught:
        await ehr.read("Task/1")
    assert "login" not in caught.value.operator_detail


@pytest.mark.parametrize(
    "reference", ["Task/../Patient/1", "Task/1?_x=1", "task/1", "Task", "Task/", "/Task/1"]
)
async def test_path_that_is_no_reference_is_never_asked_for(
    reference: str, ehr: FhirR4, hospital: Hospital
) -> None:
    with pytest.raises(NotFound):
        await ehr.read(reference)
    with pytest.raises(NotFound):
        await ehr.history(reference, count_max=1)
    assert not hospital.journal.counts


@pytest.mark.parametrize("status", [404, 410])
async def test_gone_is_not_found(status: int, open_ehr: Opener, serve: Server) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status)

    ehr = await open_ehr(await serve(handler))
    with pytest.raises(NotFound):
        await ehr.read("Task/1")


async def test_search_takes_matches_alone_and_each_once(open_ehr: Opener, serve: Server) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(
            bundle(
                entry(1, search={"mode": "match"}),
                entry(1, search={"mode": "match"}),
                entry(2),
                entry(3, search={"mode": "include"}),
                {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}},
                {"resource": {"resourceType": "OperationOutcome"}},
                {"resource": {"resourceType": "Patient", "id": "9"}},
                "junk",
            )
        )

    ehr = await open_ehr(await serve(handler))
    page = await ehr.search("Task", [("status", "draft")], count_max=10)
    assert [copy.reference for copy in page.copies] == ["Task/1", "Task/2"]
    assert page.complete


async def test_search_that_finds_another_type_is_not_believed(
    open_ehr: Opener, serve: Server
) -> None:
    async def handler(request: web.Request) -> web.Response:
        patient = {"resourceType": "Patient", "id": "9"}
        return web.json_response(bundle({"resource": patient, "search": {"mode": "match"}}))

    ehr = await open_ehr(await serve(handler))
    with pytest.raises(SourceUnreachable, match="not FHIR R4"):
        await ehr.search("Task", [], count_max=10)


@pytest.mark.parametrize(
    "elsewhere",
    [
        "http://127.0.0.1:1/fhir/Task?page=2",
        "https://evil.test/fhir/Task?page=2",
        "/admin?page=2",
        "../../admin?page=2",
        "/fhirx/Task?page=2",
        "http://[bad",
    ],
)
async def test_next_page_elsewhere_is_not_followed_and_the_search_is_not_complete(
    elsewhere: str, open_ehr: Opener, serve: Server
) -> None:
    """Our token goes to the configured server alone."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return web.json_response(bundle(entry(1), next_url=elsewhere))

    ehr = await open_ehr(await serve(handler))
    page = await ehr.search("Task", [], count_max=10)
    assert not page.complete
    assert len(asked) == 1


@pytest.mark.parametrize("relative", ["Task?page=2", "/fhir/Task?page=2", "/fhir?page=2"])
async def test_next_page_may_be_relative(relative: str, open_ehr: Opener, serve: Server) -> None:
    async def handler(request: web.Request) -> web.Response:
        if "page" in request.query:
            return web.json_response(bundle(entry(2)))
        return web.json_response(bundle(entry(1), next_url=relative))

    ehr = await open_ehr(await serve(handler))
    page = await ehr.search("Task", [], count_max=10)
    assert [copy.reference for copy in page.copies] == ["Task/1", "Task/2"]
    assert page.complete


async def test_endless_pages_end(open_ehr: Opener, serve: Server) -> None:
    asked = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response(bundle(entry(1), next_url=f"Task?page={asked}"))

    ehr = await open_ehr(await serve(handler), search_pages_max=4)
    page = await ehr.search("Task", [], count_max=10)
    assert asked == 4
    assert not page.complete


async def test_search_values_arrive_as_they_were_meant(hospital: Hospital, ehr: FhirR4) -> None:
    value = "a&b=c d+e%2F|ü"
    mark = {"system": "urn:test", "value": value}
    hospital.edit({**task(), "id": "1", "identifier": [mark]})
    hospital.edit({**task(), "id": "2"})
    escaped = value.replace("|", "\\|")
    page = await ehr.search("Task", [("identifier", f"urn:test|{escaped}")], count_max=10)
    assert [copy.reference for copy in page.copies] == ["Task/1"]


async def test_search_by_post_keeps_values_out_of_the_url(
    open_ehr: Opener, serve: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.path_qs))
        assert (await request.post())["identifier"] == "urn:test|1"
        return web.json_response(bundle(entry(1)))

    ehr = await open_ehr(await serve(handler))
    monkeypatch.setattr(ehr._reader, "_search_by_post", True)
    page = await ehr.search("Task", [("identifier", "urn:test|1")], count_max=10)
    assert len(page.copies) == 1
    assert seen == [("POST", "/fhir/Task/_search")]


async def test_history_leaves_out_deletions_and_minds_the_limit(
    open_ehr: Opener, serve: Server
) -> None:
    def version(number: int) -> dict[str, Any]:
        resource = {**RESOURCE, "meta": {"versionId": str(number)}}
        return {"resource": resource, "response": {"etag": f'W/"{number}"'}}

    async def handler(request: web.Request) -> web.Response:
        gone = {"request": {"method": "DELETE", "url": "Task/1"}}
        return web.json_response(bundle(gone, version(3), version(2), version(1), kind="history"))

    ehr = await open_ehr(await serve(handler))
    versions = await ehr.history("Task/1", count_max=2)
    assert [copy.version for copy in versions] == ["3", "2"]


@pytest.mark.parametrize("kind", ["searchset", "collection"])
async def test_bundle_of_another_kind_is_not_believed(
    kind: str, open_ehr: Opener, serve: Server
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(bundle(entry(1), kind=kind))

    ehr = await open_ehr(await serve(handler))
    with pytest.raises(SourceUnreachable, match="not FHIR R4"):
        await ehr.history("Task/1", count_max=2)
