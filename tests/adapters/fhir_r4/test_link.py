"""The wire: what is repeated and what never is, time-outs, limits, breaker and throttle."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from chartgate.adapters.fhir_r4.adapter import FhirR4
from chartgate.demo.hospital.server import Hospital
from chartgate.errors import (
    ConfigError,
    NotFound,
    OutcomeUnknown,
    SourceUnreachable,
    Throttled,
)
from chartgate.model.resource import Copy
from chartgate.model.write import Change, Write
from chartgate.testing.builders import task
from chartgate.testing.conformance_bench import creation

Opener = Callable[..., Awaitable[FhirR4]]
Server = Callable[..., Awaitable[str]]
RESOURCE = {**task(), "id": "1", "meta": {"versionId": "1"}}
CREATE = Write(marker="m", changes=(creation(task()),))
UPDATE = Write(
    marker="m",
    changes=(
        Change(
            interaction="update",
            resource_type="Task",
            reference="Task/1",
            resource=RESOURCE,
            if_match="1",
        ),
    ),
)


@asynccontextmanager
async def raw_server(
    serve_one: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that does with a connection whatever it likes."""
    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}/fhir"
    finally:
        server.close()
        await server.wait_closed()


async def head_of(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            head += await reader.readexactly(int(line.split(b":")[1]))
    return head


@pytest.mark.parametrize("write", [UPDATE, CREATE], ids=["PUT", "POST"])
async def test_write_is_never_repeated_even_on_a_connection_that_broke(
    write: Write, open_ehr: Opener
) -> None:
    """aiohttp repeats a PUT whose kept-alive connection broke; the first may have been applied."""
    heads: list[bytes] = []

    async def first_answers_then_breaks(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        heads.append(await head_of(reader))
        writer.write(b"HTTP/1.1 304 Not Modified\r\n\r\n")
        try:
            heads.append(await head_of(reader))
        except asyncio.IncompleteReadError:
            pass
        writer.close()

    async with raw_server(first_answers_then_breaks) as url:
        ehr = await open_ehr(url)
        await ehr.read("Task/1", if_none_match="1")
        with pytest.raises(OutcomeUnknown):
            await ehr.commit(write)
        assert len(heads) == 2
        assert heads[1].startswith((b"PUT", b"POST"))


async def test_read_is_repeated_within_its_retries(open_ehr: Opener, serve: Server) -> None:
    asked = 0

    async def third_time_lucky(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response(RESOURCE, status=200 if asked == 3 else 503)

    ehr = await open_ehr(await serve(third_time_lucky), retries=2)
    assert isinstance(await ehr.read("Task/1"), Copy)
    assert asked == 3


async def test_retries_end_with_the_budget(open_ehr: Opener, serve: Server) -> None:
    """An outage must not be answered by three times the load."""
    asked = 0

    async def always_down(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=503)

    ehr = await open_ehr(await serve(always_down), retries=2, breaker_failures=10_000)
    for _ in range(40):
        with pytest.raises(SourceUnreachable):
            await ehr.read("Task/1")
    assert asked <= 40 + 10 + 40 * 0.1 + 1


async def test_connection_refused_is_nothing_sent(hospital: Hospital, ehr: FhirR4) -> None:
    await hospital.stop()
    with pytest.raises(SourceUnreachable, match="north-ehr did not answer"):
        await ehr.commit(CREATE)
    with pytest.raises(SourceUnreachable):
        await ehr.read("Task/1")


async def test_breaker_opens_on_a_dead_system_and_closes_when_it_is_back(
    hospital: Hospital, open_ehr: Opener
) -> None:
    ehr = await open_ehr(hospital.fhir_url, retries=0, breaker_failures=3, breaker_cool_off_s=0.05)
    hospital.edit(RESOURCE)
    hospital.faults.switch("down", "503")
    for _ in range(3):
        with pytest.raises(SourceUnreachable, match="did not answer"):
            await ehr.read("Task/1")
    assert ehr.breaker.state == "open"
    with pytest.raises(SourceUnreachable, match="lately"):
        await ehr.read("Task/1")
    assert hospital.journal.counts["read"] == 3, "an open breaker asks nothing"
    hospital.faults.clear()
    async with asyncio.timeout(5):
        while ehr.breaker.state == "open":
            await asyncio.sleep(0.01)
    await ehr.read("Task/1")
    assert ehr.breaker.state == "closed"


async def test_no_such_thing_is_no_failure_of_the_system(ehr: FhirR4) -> None:
    for _ in range(10):
        with pytest.raises(NotFound):
            await ehr.read("Task/none")
    assert ehr.breaker.state == "closed"


@pytest.mark.parametrize("value", [{"retry_after_s": 30}, {"rate_limit_s": 30}])
async def test_throttled_calls_fail_fast_and_ask_nothing_more(
    value: dict[str, int], hospital: Hospital, ehr: FhirR4
) -> None:
    hospital.faults.switch("throttle", value)
    for call in (ehr.read("Task/1"), ehr.commit(CREATE), ehr.search("Task", [], count_max=1)):
        with pytest.raises(Throttled, match="slow down") as caught:
            await call
        assert 28 < caught.value.retry_after_s <= 30
    assert hospital.journal.counts["read"] == 1
    assert hospital.journal.counts["create"] == 0


async def test_429_without_a_word_is_backed_off_from(hospital: Hospital, ehr: FhirR4) -> None:
    hospital.faults.switch("throttle", {})
    with pytest.raises(Throttled) as caught:
        await ehr.read("Task/1")
    assert 1 <= caught.value.retry_after_s <= 2


async def test_slow_answer_times_out_and_a_write_is_then_unknown(
    hospital: Hospital, open_ehr: Opener
) -> None:
    ehr = await open_ehr(hospital.fhir_url, timeout_s=0.1)
    hospital.edit(RESOURCE)
    hospital.faults.switch("latency_s", 5)
    started = time.monotonic()
    with pytest.raises(SourceUnreachable):
        await ehr.read("Task/1")
    with pytest.raises(OutcomeUnknown):
        await ehr.commit(UPDATE)
    assert time.monotonic() - started < 2, "a read that timed out is not repeated"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
async def test_write_answered_by_an_error_of_the_server_is_unknown(
    status: int, open_ehr: Opener, serve: Server
) -> None:
    async def failing(request: web.Request) -> web.Response:
        return web.Response(status=status)

    ehr = await open_ehr(await serve(failing))
    with pytest.raises(OutcomeUnknown):
        await ehr.commit(UPDATE)


async def test_answer_over_the_limit_is_refused(open_ehr: Opener, serve: Server) -> None:
    asked = 0

    async def huge(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        response = web.Response(body=b" " * 5_000_000)
        response.enable_compression()
        return response

    ehr = await open_ehr(await serve(huge), response_bytes_max=100_000)
    with pytest.raises(SourceUnreachable) as caught:
        await ehr.read("Task/1")
    assert "over 100000 bytes" in caught.value.operator_detail
    assert asked == 1


async def test_no_redirect_no_cookie_no_proxy(
    open_ehr: Opener, serve: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    seen: list[web.Request] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request)
        assert "Cookie" not in request.headers
        return web.Response(status=302, headers={"Location": "/other", "Set-Cookie": "a=b; Path=/"})

    ehr = await open_ehr(await serve(elsewhere))
    for _ in range(2):
        with pytest.raises(SourceUnreachable, match="could not answer"):
            await ehr.read("Task/1")
    assert [request.path for request in seen] == ["/fhir/Task/1"] * 2


async def test_concurrency_is_bounded(open_ehr: Opener, serve: Server) -> None:
    under_way = most = 0

    async def counting(request: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.005)
        under_way -= 1
        return web.json_response(RESOURCE)

    ehr = await open_ehr(await serve(counting), concurrency_max=3)
    await asyncio.gather(*(ehr.read("Task/1") for _ in range(20)))
    assert most == 3


async def test_certificate_file_that_holds_none_is_a_config_error(
    open_ehr: Opener, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("junk")
    for name in ("ca.pem", "none.pem"):
        with pytest.raises(ConfigError, match="holds no certificate"):
            await open_ehr("https://ehr.test/fhir", ca_file=name)


@pytest.mark.parametrize("id_", [".", ".."])
async def test_id_that_stands_for_another_path_is_not_asked_for(
    hospital: Hospital, ehr: FhirR4, id_: str
) -> None:
    """ "Patient/." would be a search for all patients."""
    before = hospital.journal.counts.total()
    with pytest.raises(NotFound):
        await ehr.read(f"Patient/{id_}")
    assert hospital.journal.counts.total() == before
