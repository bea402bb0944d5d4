"""Limits before authentication, over a socket, byte by byte."""

import asyncio
import time

import aiohttp
import orjson
import pytest

from chartgate.config import WebConfig
from tests.web.serving import Served

TARGET = "/v1/proposals"


@pytest.fixture
def web_config() -> WebConfig:
    return WebConfig(body_bytes_max=10_000, body_timeout_s=0.3, in_flight_max=2)


def post(
    body: bytes, *headers: str, length: int | None = None, media_type: str = "application/json"
) -> bytes:
    """A request without any credential."""
    lines = [f"POST {TARGET} HTTP/1.1", "Host: x", f"Content-Type: {media_type}", *headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def outcome(answer: bytes) -> str:
    """The sentence of the OperationOutcome."""
    issue = orjson.loads(answer.partition(b"\r\n\r\n")[2])["issue"][0]
    return str(issue["diagnostics"])


async def test_body_over_the_limit_is_refused_before_it_is_read(served: Served) -> None:
    answer = await served.raw(post(b"", length=10_001))
    assert status(answer) == 413
    assert "10000 bytes" in outcome(answer)


async def test_chunked_body_over_the_limit_is_refused(served: Served) -> None:
    chunk = b"1388\r\n" + b" " * 5000 + b"\r\n"
    request = post(b"", "Transfer-Encoding: chunked")
    assert status(await served.raw(request, more=chunk * 3 + b"0\r\n\r\n")) == 413


@pytest.mark.parametrize("text", [b"[" * 5000, b'{"a":' * 1500 + b"1" + b"}" * 1500, b"[" * 65])
async def test_deep_json_is_refused_at_once_and_before_authentication(
    served: Served, text: bytes
) -> None:
    started = time.monotonic()
    answer = await served.raw(post(text, length=len(text)))
    assert status(answer) == 400
    assert "64 deep" in outcome(answer)
    assert time.monotonic() - started < 2
    assert status(await served.raw(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")) == 200


async def test_sound_body_gets_as_far_as_the_guard(served: Served) -> None:
    assert status(await served.raw(post(b'{"a":[1]}', length=9))) == 401


async def test_body_that_never_comes_is_not_waited_for(served: Served) -> None:
    answer = await served.raw(post(b"{", length=9))
    assert status(answer) == 400
    assert "0.3 s" in outcome(answer)


@pytest.mark.parametrize(
    "media_type", ["text/xml", "application/fhir+xml", "multipart/form-data", ""]
)
async def test_other_media_types_are_refused(served: Served, media_type: str) -> None:
    assert status(await served.raw(post(b"{}", length=2, media_type=media_type))) == 415


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip"])
async def test_compressed_bodies_are_refused(served: Served, coding: str) -> None:
    answer = await served.raw(post(b"{}", f"Content-Encoding: {coding}", length=2))
    assert status(answer) == 415


@pytest.mark.parametrize(
    "request_",
    [
        post(b"{}", "Content-Length: 3", length=2),
        post(b"{}", "Transfer-Encoding: chunked", length=2),
        post(b"{}", "Content-Length: -1"),
        post(b"{}", "Content-Length: 2x"),
        post(b"{}", "Transfer-Encoding: xchunked"),
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
    ],
    ids=[
        "two lengths", "length and chunked", "negative", "no number", "unknown coding",
        "two hosts", "two credentials", "space before colon", "folded", "tls",
    ],
)  # fmt: skip
async def test_request_that_two_readers_could_read_differently_is_refused(
    served: Served, request_: bytes
) -> None:
    answer = await served.raw(request_, timeout_s=1)
    assert not answer or status(answer) in (400, 405, 501), answer


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "OPTIONS"])
async def test_methods_that_are_not_used_are_refused(served: Served, method: str) -> None:
    target = "x:443" if method == "CONNECT" else "/health/live"
    answer = await served.raw(f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status(answer) in (400, 404, 405)


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
async def test_method_override_is_ignored(served: Served, header: str) -> None:
    async with served.http.get(f"{served.url}/health/live", headers={header: "DELETE"}) as answer:
        assert answer.status == 200


async def test_too_many_header_fields_are_refused(served: Served) -> None:
    many = "".join(f"X-{n}: y\r\n" for n in range(100))
    answer = await served.raw(f"GET /health/live HTTP/1.1\r\nHost: x\r\n{many}\r\n".encode())
    assert status(answer) == 431


async def test_too_long_header_fields_are_refused(served: Served) -> None:
    answer = await served.raw(
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 17_000 + b"\r\n\r\n"
    )
    assert status(answer) == 431


async def test_too_long_query_is_refused(served: Served) -> None:
    answer = await served.raw(b"GET /health/live?" + b"y" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(answer) == 431


async def test_more_requests_than_can_be_held_are_told_to_come_back(served: Served) -> None:
    """Two wait for their bodies; a third is refused, but whether we live is still answered."""
    held = [asyncio.create_task(served.raw(post(b"{", length=9), timeout_s=2)) for _ in range(2)]
    url = f"{served.url}/fhir/north-clinic/metadata"
    while (await _status(served.http, url))[0] != 503:
        assert not all(task.done() for task in held)
    assert (await _status(served.http, f"{served.url}/health/live"))[0] == 200
    await asyncio.gather(*held)
    assert (await _status(served.http, url))[0] == 200


async def _status(http: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with http.get(url) as answer:
        return answer.status, await answer.text()


async def test_body_of_more_parts_than_any_of_ours_is_refused_before_authentication(
    served: Served,
) -> None:
    many = b"[" + b"1," * 4000 + b"1]"
    object.__setattr__(served.gate.config.web, "json_parts_max", 3999)
    answer = await served.raw(post(many, length=len(many)))
    assert status(answer) == 413
    assert "3999 keys and items" in outcome(answer)
    object.__setattr__(served.gate.config.web, "json_parts_max", 4000)
    assert status(await served.raw(post(many, length=len(many)))) == 401
