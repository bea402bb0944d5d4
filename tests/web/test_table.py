"""Which route a path finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from chartgate.errors import NotAllowed, NotFound
from chartgate.web.routes import Call, Guard, Route
from chartgate.web.table import Table


async def endpoint(call: Call) -> Response:
    return Response()


def route(method: str, path: str) -> Route:
    return Route(
        method=method, path=path, endpoint=endpoint, guard=Guard.PUBLIC, name=f"{method} {path}"
    )


TABLE = Table(
    [
        route("GET", "/"),
        route("GET", "/fhir/{site}/{type}/{id}"),
        route("GET", "/fhir/{site}/metadata"),
        route("GET", "/fhir/{site}/{type}"),
        route("POST", "/fhir/{site}/{type}/_search"),
        route("POST", "/fhir/{site}/{rest:path}"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "found", "parameters"),
    [
        ("GET", b"/", "GET /", {}),
        ("GET", b"/fhir/a/metadata", "GET /fhir/{site}/metadata", {"site": "a"}),
        ("HEAD", b"/fhir/a/Slot", "GET /fhir/{site}/{type}", {"site": "a", "type": "Slot"}),
        ("GET", b"/fhir/a/Slot/%31", "GET /fhir/{site}/{type}/{id}",
         {"site": "a", "type": "Slot", "id": "1"}),
        ("POST", b"/fhir/a/Slot/_search", "POST /fhir/{site}/{type}/_search",
         {"site": "a", "type": "Slot"}),
        ("POST", b"/fhir/a/Slot/1/$x", "POST /fhir/{site}/{rest:path}",
         {"site": "a", "rest": "Slot/1/$x"}),
        ("POST", b"/fhir/a", "POST /fhir/{site}/{rest:path}", {"site": "a", "rest": ""}),
    ],
)  # fmt: skip
def test_path_finds_its_route(
    method: str, path: bytes, found: str, parameters: dict[str, str]
) -> None:
    route, given_ = TABLE.find(method, path)
    assert (route.name, given_) == (found, parameters)


@pytest.mark.parametrize(
    "path",
    [b"/x", b"/fhir", b"/fhir/a", b"/fhir//Slot", b"/fhir/a/Slot/1/2", b"/fhir/a/Slot%2F1",
     b"/fhir/a/Slot/%00", b"/fhir/a/Slot/%0A", b"/fhir/a/Slot/%ff", b"/fhir/a/Slot/"],
)  # fmt: skip
def test_path_that_is_nothing_is_not_found_for_reading(path: bytes) -> None:
    with pytest.raises((NotFound, NotAllowed)):
        TABLE.find("GET", path)


def test_other_method_names_those_that_stand() -> None:
    with pytest.raises(NotAllowed) as refused:
        TABLE.find("DELETE", b"/fhir/a/metadata")
    assert refused.value.allow == "GET, POST, HEAD"


@given(st.binary(max_size=60))
def test_any_path_is_found_or_refused_and_never_breaks(path: bytes) -> None:
    try:
        TABLE.find("GET", b"/fhir/" + path)
    except (NotFound, NotAllowed):
        return
