"""What stands around every route: guards, security headers, errors of one shape."""

import re
from typing import Any

import orjson
import pytest

from chartgate.flows import people
from chartgate.store.database import Database
from chartgate.web.app import ROUTES
from chartgate.web.auth import SESSION_COOKIE
from chartgate.web.routes import Guard, Route
from tests.web.serving import Served

PASSWORD = "correct horse battery"
GUARDED = [route for route in ROUTES if route.guard is not Guard.PUBLIC]


def named(route: Route) -> str:
    return route.name


def filled(route: Route) -> str:
    """The route's path with something in the place of each parameter."""
    return re.sub(r"\{\w+(:path)?\}", "x", route.path)


async def audited(database: Database) -> list[dict[str, Any]]:
    rows = await database.fetch("SELECT body FROM audit_event WHERE tenant = $1 ORDER BY id")
    return [orjson.loads(row["body"]) for row in rows]


def test_every_route_has_a_guard_and_a_name_of_its_own() -> None:
    assert all(isinstance(route.guard, Guard) for route in ROUTES)
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


def test_route_without_a_guard_cannot_be_made() -> None:
    with pytest.raises(TypeError):
        Route(method="GET", path="/", endpoint=ROUTES[0].endpoint, name="x")  # type: ignore[call-arg]


def test_public_routes_are_those_that_show_nothing_of_a_patient() -> None:
    """Adding one is a decision: change this list with the reason in the commit."""
    assert {route.name for route in ROUTES if route.guard is Guard.PUBLIC} == {
        "api-contract",
        "api-sign-in",
        "fhir-metadata",
        "health-live",
        "health-ready",
        "metrics",
        "page-from-provider",
        "page-launch",
        "page-launched",
        "page-login",
        "page-sign-in",
        "page-style",
        "page-to-provider",
        "resource-metadata",
        "smart-configuration",
        "token",
    }


async def test_every_guarded_route_refuses_a_stranger_and_leaves_one_audit_event(
    served: Served, database: Database
) -> None:
    """The walk of the route table."""
    assert GUARDED
    for number, route in enumerate(GUARDED, start=1):
        async with served.http.request(
            route.method, served.url + filled(route), allow_redirects=False
        ) as answer:
            assert answer.status in (401, 303), f"{route.name}: {answer.status}"
            assert "Canary" not in await answer.text()
        events = await audited(database)
        assert len(events) == number, route.name
        assert (events[-1]["outcome"], events[-1]["details"]["route"]) == ("denied", route.name)


@pytest.mark.parametrize("credential", ["token", "basic", "garbage", "two", "query", "cookie"])
async def test_every_guarded_route_refuses_a_false_credential(
    served: Served, credential: str
) -> None:
    false = "cg_" + "A" * 43
    headers = {
        "token": {"Authorization": f"Bearer {false}"},
        "basic": {"Authorization": "Basic c2xvdC1waWNrZXI6eA=="},
        "garbage": {"Authorization": "Bearer"},
        "two": {"Authorization": f"Bearer {false}", "Cookie": f"{SESSION_COOKIE}=x"},
        "query": {},
        "cookie": {"Cookie": f"{SESSION_COOKIE}=x; access_token={false}"},
    }[credential]
    query = f"?access_token={false}" if credential == "query" else ""
    for route in GUARDED:
        async with served.http.request(
            route.method, served.url + filled(route) + query, headers=headers, allow_redirects=False
        ) as answer:
            expected = (400,) if credential == "two" else (401, 303)
            assert answer.status in expected, f"{route.name}: {answer.status}"


async def test_agent_credential_opens_no_route_of_people_and_is_named_in_the_audit(
    served: Served, database: Database
) -> None:
    headers = await served.bearer()
    for route in GUARDED:
        if route.guard in (Guard.PERSON, Guard.OPERATOR):
            async with served.http.request(
                route.method, served.url + filled(route), headers=headers, allow_redirects=False
            ) as answer:
                assert answer.status == 403, f"{route.name}: {answer.status}"
            event = (await audited(database))[-1]
            assert (event["agent"], event["outcome"]) == ("client:slot-picker", "denied")


async def test_person_credential_opens_no_route_of_agents(served: Served) -> None:
    await people.add_person(served.gate, "sofia", PASSWORD, ["scheduler"], ["north-clinic"])
    signed_in = await people.sign_in(served.gate, "sofia", PASSWORD)
    headers = {
        "Cookie": f"{SESSION_COOKIE}={signed_in.cookie}",
        "X-CSRF-Token": signed_in.csrf,
        "Origin": served.gate.config.web.url,
    }
    for route in GUARDED:
        if route.guard is Guard.CLIENT:
            async with served.http.request(
                route.method, served.url + filled(route), headers=headers
            ) as answer:
                assert answer.status == 401, f"{route.name}: {answer.status}"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"X-CSRF-Token": "wrong"}, 403),
        ({"X-CSRF-Token": None}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": None}, 200),
    ],
    ids=str,
)
async def test_change_by_a_person_needs_the_secret_of_the_session_and_our_own_origin(
    served: Served, change: dict[str, str | None], status: int
) -> None:
    await people.add_person(served.gate, "sofia", PASSWORD, ["scheduler"], ["north-clinic"])
    signed_in = await people.sign_in(served.gate, "sofia", PASSWORD)
    headers: dict[str, str | None] = {
        "Cookie": f"{SESSION_COOKIE}={signed_in.cookie}",
        "X-CSRF-Token": signed_in.csrf,
        "Origin": served.gate.config.web.url,
        **change,
    }
    sent = {name: value for name, value in headers.items() if value is not None}
    async with served.http.delete(f"{served.url}/v1/session", headers=sent) as answer:
        assert answer.status in ((200, 204) if status == 200 else (status,)), await answer.text()


async def test_second_session_cookie_counts_as_none(served: Served) -> None:
    await people.add_person(served.gate, "sofia", PASSWORD, ["scheduler"], ["north-clinic"])
    signed_in = await people.sign_in(served.gate, "sofia", PASSWORD)
    cookie = f"{SESSION_COOKIE}={signed_in.cookie}; {SESSION_COOKIE}=planted"
    async with served.http.get(f"{served.url}/v1/handoffs", headers={"Cookie": cookie}) as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    "path", ["/nothing", "/fhir", "/v2/proposals", "/.git/config", "//", "/%2e%2e"]
)
async def test_unknown_route_is_a_404_with_an_operation_outcome(served: Served, path: str) -> None:
    answer = await served.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404")
    assert orjson.loads(body)["resourceType"] == "OperationOutcome"


async def test_known_path_with_another_method_names_those_that_stand_there(served: Served) -> None:
    async with served.http.post(f"{served.url}/health/live") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"


async def test_answers_carry_the_security_headers_and_do_not_name_the_server(
    served: Served,
) -> None:
    for path in ("/health/live", "/nothing", "/fhir/north-clinic/Slot/12"):
        async with served.http.get(served.url + path) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["X-Request-Id"])
            assert "Server" not in answer.headers


async def test_fault_of_ours_is_a_500_that_says_and_logs_no_value(
    served: Served, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise KeyError("Canary")

    monkeypatch.setattr("chartgate.flows.reads.read", broken)
    async with served.http.get(
        f"{served.url}/fhir/north-clinic/Slot/12", headers=await served.bearer()
    ) as answer:
        assert answer.status == 500
        body = await answer.text()
        assert "quote the request id" in body
        assert "Canary" not in body
    logged = "".join(capfd.readouterr())
    assert "KeyError" in logged
    assert "Canary" not in logged


async def test_head_is_answered_like_get_without_a_body(served: Served) -> None:
    async with served.http.head(f"{served.url}/health/live") as answer:
        assert answer.status == 200
        assert await answer.read() == b""


def test_only_walks_that_look_at_the_epoch_take_a_credential_of_a_moment_ago() -> None:
    """Whoever adds one has to show, as these do, that a revocation stops its answer."""
    kept = {route.name for route in ROUTES if route.checks_epoch}
    assert kept == {"fhir-read", "fhir-search", "fhir-search-form"}
