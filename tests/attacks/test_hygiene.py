"""What every answer carries, whatever it is; over https more of it."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.attacks.chart import PATIENT
from tests.attacks.contract import CANARY, SECURITY, refused
from tests.web.front_desk import PASSWORD, FrontDesk
from tests.web.serving import Served, serve

PATHS = ("/", "/login", "/nothing", "/metrics", "/health/live", "/v1/openapi.yaml",
         "/fhir/north-clinic/metadata", f"/fhir/north-clinic/{PATIENT}", "/v1/proposals/x",
         "/static/style.css", "/%ff", "/v1/handoffs")  # fmt: skip


@pytest.fixture(scope="module")
async def https(desk: FrontDesk) -> AsyncIterator[Served]:
    """The same gateway, where the config says that clients come over https."""
    web = replace(desk.gate.config.web, public_url="https://gate.example")
    gate = replace(desk.gate, config=replace(desk.gate.config, web=web))
    async with serve(replace(desk.served.opened, gate=gate)) as served:
        yield served


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_carries_the_security_headers(https: Served, path: str) -> None:
    async with https.http.get(https.url + path, allow_redirects=False) as answer:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        body = await answer.text()
    assert set(headers) >= set(SECURITY)
    assert "max-age=" in headers["strict-transport-security"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    for told in ("server", "x-powered-by", "access-control-allow-origin", "date"):
        assert told not in headers, told
    assert CANARY not in body


async def test_session_cookie_is_of_this_host_and_of_https_alone(
    desk: FrontDesk, https: Served
) -> None:
    await desk.add("sofia")
    body = {"name": "sofia", "password": PASSWORD}
    async with https.http.post(f"{https.url}/v1/session", json=body) as answer:
        assert answer.status == 201
        cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-")
    for attribute in ("Secure", "HttpOnly", "SameSite=strict", "Path=/"):
        assert attribute.lower() in cookie.lower()
    assert "domain" not in cookie.lower()


@pytest.mark.parametrize(
    "headers",
    [
        {f"X-{n}": "y" for n in range(100)},
        {"X": "y" * 17_000},
        {"Cookie": "a=" + "b" * 17_000},
    ],
    ids=["many", "long", "cookies"],
)
async def test_head_that_is_too_large(desk: FrontDesk, headers: dict[str, str]) -> None:
    way = lambda: desk.ask("GET", "/health/live", headers=headers)
    await refused(desk, way, status=(400, 431))


async def test_query_that_is_too_long(desk: FrontDesk) -> None:
    way = lambda: desk.ask("GET", "/health/live?" + "a=b&" * 2_500)
    await refused(desk, way, status=431)


@pytest.mark.parametrize("length", [500_001, 10**9, 10**17])
async def test_body_that_is_too_large_is_not_awaited(desk: FrontDesk, length: int) -> None:
    head = f"POST /v1/proposals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    counted = desk.gate.database.refusals.counts.total()
    answer = await desk.served.raw(head.encode(), timeout_s=5)
    assert answer.startswith(b"HTTP/1.1 413")
    assert desk.gate.database.refusals.counts.total() == counted + 1


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", "", "a b"])
async def test_host_that_is_not_ours_changes_nothing_that_we_say(
    desk: FrontDesk, host: str
) -> None:
    """Addresses in answers are of the config, never of the request."""
    head = f"GET /fhir/north-clinic/metadata HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: evil.example\r\n\r\n"
    answer = await desk.served.raw(head.encode(), timeout_s=5)
    assert b"evil.example" not in answer
