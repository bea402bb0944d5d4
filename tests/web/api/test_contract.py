"""openapi.yaml and the routes are one: neither has what the other does not."""

import re
from typing import Any

import jsonschema_rs
import pytest

from chartgate.model.charter import STAGES
from chartgate.model.handoff import HandoffStatus
from chartgate.model.proposal import Status
from chartgate.web import api
from chartgate.web.routes import Guard, Route
from tests.web.api.promised import Api, document, operations, violations

PREFIX = "/v1"
SAFE = ("GET", "HEAD")
ROUTES = {(route.method, route.path): route for route in api.ROUTES}


def security_of(route: Route) -> list[dict[str, list[str]]]:
    """What the contract must say of a route's guard."""
    session: dict[str, list[str]] = {"session": []}
    if route.method not in SAFE:
        session["csrf"] = []
    token: dict[str, list[str]] = {"token": []}
    return {
        Guard.PUBLIC: [],
        Guard.CLIENT: [token],
        Guard.PERSON: [session],
        Guard.PRINCIPAL: [token, session],
        Guard.AUDIT: [token, session],
        Guard.OPERATOR: [session],
    }[route.guard]


def references(value: Any) -> list[str]:
    """Every `$ref`."""
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [r for v in value.values() for r in references(v)]
    return [r for v in value for r in references(v)] if isinstance(value, list) else []


def test_every_route_is_in_the_contract_and_the_other_way_round() -> None:
    assert set(ROUTES) == set(operations())


def test_paths_are_versioned() -> None:
    assert all(path.startswith(f"{PREFIX}/") for _, path in ROUTES)


@pytest.mark.parametrize("route", api.ROUTES, ids=lambda route: route.name)
def test_security_of_each_operation_is_the_guard_of_its_route(route: Route) -> None:
    assert operations()[route.method, route.path]["security"] == security_of(route)


@pytest.mark.parametrize("route", api.ROUTES, ids=lambda route: route.name)
def test_parameters_of_each_path_are_declared(route: Route) -> None:
    named = set(re.findall(r"\{(\w+)\}", route.path))
    declared = document()["paths"][route.path].get("parameters", [])
    assert len(declared) == len(named)


def test_every_operation_that_can_fail_says_how() -> None:
    for (method, path), operation in operations().items():
        if path != "/v1/openapi.yaml":
            assert "default" in operation["responses"], f"{method} {path}"


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for operation in operations().values()]
    assert len(set(ids)) == len(ids)


def test_references_resolve_and_every_component_is_used() -> None:
    found = set(references(document()))
    components = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses", "parameters")
        for name in document()["components"][kind]
    }
    assert found == components


@pytest.mark.parametrize("name", document()["components"]["schemas"])
def test_schema_is_valid_json_schema(name: str) -> None:
    schema = document()["components"]["schemas"][name]
    assert jsonschema_rs.meta.is_valid(schema)


def test_words_of_the_contract_are_those_of_the_records() -> None:
    schemas = document()["components"]["schemas"]
    assert schemas["Status"]["enum"] == [status.value for status in Status]
    assert schemas["ProposalFacts"]["properties"]["stage"]["enum"] == list(STAGES)
    assert schemas["Handoff"]["properties"]["status"]["enum"] == [s.value for s in HandoffStatus]


def test_contract_judges() -> None:
    """A judge that finds nothing wrong with anything would make these tests worthless."""
    review = {"$ref": "#/components/schemas/Review"}
    assert not violations(review, {"verdict": "approve", "digest": "ab"})
    assert violations(review, {"verdict": "maybe", "digest": "ab"})
    assert violations(review, {"verdict": "approve", "digest": "ab", "more": 1})
    assert violations({"$ref": "#/components/schemas/ProposalSummary"}, {"id": "x"})


async def test_contract_is_served_to_anyone_as_it_stands(api: Api) -> None:
    answer = await api("GET", "/v1/openapi.yaml")
    assert answer.status == 200
    assert answer.text.startswith("openapi: 3.1.0")
