"""The door for outgoing HTTP, tried with real sockets: attacks E-01 and E-04 to E-07."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from chartgate.adapters.egress import (
    AddressRefused,
    AddressRules,
    AnswerTooLarge,
    RedirectRefused,
    address_rules,
    open_checked_session,
    open_session,
    read_capped,
    resolve_checked,
    tls_context,
)
from chartgate.config import Config, EgressConfig, parse_config
from chartgate.errors import ConfigError
from chartgate.formats.web_address import parse_networks
from tests.adapters.hl7v2_mllp.certificates import Certificate, make_certificate

OWN = AddressRules(private=parse_networks(["127.0.0.0/8"], "own"))
PUBLIC = AddressRules()


@asynccontextmanager
async def serving(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """A real server on a port of this machine."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_serving(answer: bytes) -> AsyncIterator[int]:
    """A server that says `answer`, whatever it is asked, and counts on nobody reading it all."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def says_hello(request: web.Request) -> web.Response:
    return web.Response(text="hello")


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Makes the system's resolver answer so, one after the other, the last for ever; the names
    that it was asked for."""
    left, asked = list(answers), []
    real = socket.getaddrinfo

    def answer(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host in ("127.0.0.1", "::1", None):
            return real(host, port, *args, **kwargs)
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        kinds = {True: socket.AF_INET6, False: socket.AF_INET}
        return [
            (
                kinds[":" in one],
                socket.SOCK_STREAM,
                6,
                "",
                (one, port, 0, 0) if ":" in one else (one, port),
            )
            for one in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


async def test_an_allowed_origin_answers() -> None:
    async with serving(says_hello) as port:
        url = f"http://127.0.0.1:{port}/x"
        async with open_checked_session(OWN, allow=[url]) as http, http.get(url) as response:
            assert await read_capped(response, 5) == b"hello"


async def test_another_origin_is_refused_before_anything_is_sent() -> None:
    seen: list[str] = []

    async def count(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response()

    async with (
        serving(count) as port,
        serving(count) as other,
        open_checked_session(OWN, allow=[f"http://127.0.0.1:{port}"]) as http,
    ):
        for url in (
            f"http://127.0.0.1:{other}/port",
            f"http://localhost:{port}/host",
            f"https://127.0.0.1:{port}/scheme",
        ):
            with pytest.raises(aiohttp.ClientConnectorError, match="not what this session"):
                await http.get(url)
        async with http.get(f"http://127.0.0.1:{port}/right"):
            pass
    assert seen == ["/right"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254"]
)
async def test_an_inner_address_is_refused_without_a_connection(host: str) -> None:
    url = f"http://{host}:9/"
    async with open_checked_session(PUBLIC, allow=[url]) as http:
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await http.get(url)
    assert isinstance(refused.value.os_error, AddressRefused)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "fd00::1"])
async def test_a_name_of_an_inner_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    resolving(monkeypatch, [address])
    async with open_checked_session(PUBLIC, allow=["http://inner.example"]) as http:
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await http.get("http://inner.example/")
    assert isinstance(refused.value.os_error, AddressRefused)
    assert address not in str(refused.value)


async def test_a_name_that_is_public_and_inner_at_once_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolving(monkeypatch, ["8.8.8.8", "127.0.0.1"])
    with pytest.raises(AddressRefused):
        await resolve_checked(PUBLIC, "both.example", 443)


async def test_a_name_is_looked_up_once_and_that_very_address_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rebinding: a second look-up, which would give another address, is never made."""
    async with serving(says_hello) as port:
        asked = resolving(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
        url = f"http://ehr.example:{port}/"
        async with open_checked_session(OWN, allow=[url]) as http:
            async with http.get(url) as response:
                assert await response.text() == "hello"
            assert asked == ["ehr.example"]
            async with http.get(url) as response:  # on the connection that stands
                assert await response.text() == "hello"
    assert asked == ["ehr.example"]


async def test_a_name_that_moved_inside_is_refused_by_the_next_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(says_hello) as port:
        resolving(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
        url = f"http://ehr.example:{port}/"
        async with open_checked_session(OWN, allow=[url]) as http:
            async with http.get(url, headers={"connection": "close"}) as response:
                await response.read()
            with pytest.raises(aiohttp.ClientConnectorError, match="metadata"):
                await http.get(url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    seen: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=status, headers={"location": "/elsewhere"})

    async with serving(redirect) as port:
        url = f"http://127.0.0.1:{port}/first"
        async with open_checked_session(OWN, allow=[url]) as http:
            with pytest.raises(RedirectRefused):
                await http.get(url)
            async with http.get(url, allow_redirects=False) as response:
                assert response.status == status
    assert seen == ["/first", "/first"]


async def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(says_hello) as port:
        url = f"http://127.0.0.1:{port}/"
        async with open_checked_session(OWN, allow=[url]) as http:
            async with http.get(url) as response:
                assert response.status == 200
            with pytest.raises(aiohttp.ClientConnectorError):
                await http.get(url, proxy="http://127.0.0.1:9")


async def test_cookies_are_not_kept() -> None:
    seen: list[str | None] = []

    async def set_cookie(request: web.Request) -> web.Response:
        seen.append(request.headers.get("cookie"))
        return web.Response(headers={"set-cookie": "a=b"})

    async with serving(set_cookie) as port:
        url = f"http://127.0.0.1:{port}/"
        async with open_checked_session(OWN, allow=[url]) as http:
            for _ in range(2):
                async with http.get(url):
                    pass
    assert seen == [None, None]


async def test_a_body_over_the_limit_is_not_read_on() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 10_000)
        except ConnectionError:
            return response

    async with serving(endless) as port:
        url = f"http://127.0.0.1:{port}/"
        async with open_checked_session(OWN, allow=[url]) as http, http.get(url) as response:
            with pytest.raises(AnswerTooLarge):
                await read_capped(response, 100_000)


@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"x-%d: y\r\n" % n for n in range(100_000)),
        b"x-long: " + b"y" * 100_000 + b"\r\n",
        b"x-endless: " + b"y" * 5_000_000,
        b"content-length: 1\r\ncontent-length: 2\r\n",
        b"content-length: 3\r\ntransfer-encoding: chunked\r\n",
    ],
    ids=["many", "long", "endless", "two lengths", "length and chunks"],
)
async def test_a_head_out_of_bounds_or_with_two_readings_is_an_error(head: bytes) -> None:
    async with raw_serving(b"HTTP/1.1 200 OK\r\n" + head + b"\r\nabc") as port:
        url = f"http://127.0.0.1:{port}/"
        async with open_checked_session(OWN, allow=[url]) as http:
            with pytest.raises(aiohttp.ClientError):
                async with http.get(url) as response:
                    await read_capped(response, 100)


async def test_a_server_that_says_nothing_is_left() -> None:
    async def silent(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with serving(silent) as port:
        url = f"http://127.0.0.1:{port}/"
        async with open_checked_session(OWN, allow=[url], timeout_s=0.2) as http:
            with pytest.raises(TimeoutError):
                await http.get(url)


def server_tls(made: Certificate, **changes: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.file, made.key_file)
    for name, value in changes.items():
        setattr(context, name, value)
    return context


async def get_over_tls(
    tls: ssl.SSLContext, ca: Certificate, rules: AddressRules = OWN, *, host: str = "localhost"
) -> str:
    async with serving(says_hello, tls=tls) as port:
        url = f"https://{host}:{port}/"
        async with (
            open_checked_session(rules, allow=[url], ca_file=ca.file) as http,
            http.get(url) as response,
        ):
            return await response.text()


@pytest.fixture
def loopback_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """localhost is IPv4 everywhere, so that one server is enough."""
    resolving(monkeypatch, ["127.0.0.1"])


@pytest.mark.usefixtures("loopback_name")
async def test_a_certificate_must_be_by_whom_we_trust_for_that_name_and_in_time(
    tmp_path: Path,
) -> None:
    ours, theirs = make_certificate(tmp_path, "ca"), make_certificate(tmp_path, "other-ca")
    good = make_certificate(tmp_path, "good", by=ours)
    assert await get_over_tls(server_tls(good), ours) == "hello"
    stranger = make_certificate(tmp_path, "stranger", by=theirs)
    old = make_certificate(tmp_path, "old", by=ours, days=-1)
    named = make_certificate(tmp_path, "named", by=ours, dns=("another.example",))
    alone = make_certificate(tmp_path, "alone")
    for wrong in (stranger, old, named, alone):
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await get_over_tls(server_tls(wrong), ours)


@pytest.mark.usefixtures("loopback_name")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_refused(tmp_path: Path) -> None:
    ours = make_certificate(tmp_path, "ca")
    good = make_certificate(tmp_path, "good", by=ours)
    old = server_tls(
        good,
        minimum_version=ssl.TLSVersion.TLSv1,
        maximum_version=ssl.TLSVersion.TLSv1_1,
    )
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(aiohttp.ClientConnectorError):
        await get_over_tls(old, ours)


@pytest.mark.usefixtures("loopback_name")
async def test_a_revoked_certificate_is_refused_where_there_is_a_list(tmp_path: Path) -> None:
    ours = make_certificate(tmp_path, "ca")
    good = make_certificate(tmp_path, "good", by=ours)
    revoked = make_certificate(tmp_path, "revoked", by=ours)
    rules = AddressRules(private=OWN.private, crl_file=tmp_path / "crl.pem")
    write_crl(rules.crl_file or tmp_path, ours, revoked)
    assert await get_over_tls(server_tls(good), ours, rules) == "hello"
    with pytest.raises(aiohttp.ClientConnectorCertificateError, match="revoked"):
        await get_over_tls(server_tls(revoked), ours, rules)


def write_crl(file: Path, ca: Certificate, *revoked: Certificate) -> None:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(now - timedelta(days=1))
        .next_update(now + timedelta(days=1))
    )
    for one in revoked:
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(one.certificate.serial_number)
            .revocation_date(now - timedelta(hours=1))
            .build()
        )
        builder = builder.add_revoked_certificate(entry)
    crl = builder.sign(ca.key, hashes.SHA256())
    file.write_bytes(crl.public_bytes(serialization.Encoding.PEM))


def test_a_file_that_holds_no_certificates_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("nothing")
    with pytest.raises(ConfigError, match="ca_file"):
        tls_context(OWN, ca_file=file)
    with pytest.raises(ConfigError, match="crl_file"):
        tls_context(AddressRules(crl_file=file))


def test_own_networks_are_open_only_outside_of_production() -> None:
    testing = parse_config({}, folder=Path())
    production = parse_config({"production": True}, folder=Path())
    opened = parse_config(
        {"production": True, "egress": {"private": ["10.1.0.0/16"]}}, folder=Path()
    )
    for address, in_testing, in_production, when_opened in (
        ("127.0.0.1", True, False, False),
        ("10.1.2.3", True, False, True),
        ("10.2.0.1", True, False, False),
        ("169.254.169.254", False, False, False),
        ("8.8.8.8", True, True, True),
    ):
        assert (address_rules(testing).refusal(address) == "") is in_testing
        assert (address_rules(production).refusal(address) == "") is in_production
        assert (address_rules(opened).refusal(address) == "") is when_opened


async def test_a_session_by_the_config_follows_its_rules() -> None:
    async with serving(says_hello) as port:
        url = f"http://127.0.0.1:{port}/"
        async with (
            open_session(Config(folder=Path()), allow=[url]) as http,
            http.get(url) as response,
        ):
            assert response.status == 200
        strict = Config(folder=Path(), egress=EgressConfig(private=("10.0.0.0/8",)))
        async with open_session(strict, allow=[url]) as http:
            with pytest.raises(aiohttp.ClientConnectorError):
                await http.get(url)


async def test_door_that_is_closed_lets_nothing_out_not_even_on_a_connection_that_stands() -> None:
    """As when the contract with whoever runs the system has ended."""
    why = [""]
    rules = AddressRules(private=OWN.private, closed=lambda: why[0])
    seen: list[str] = []

    async def count(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response()

    async with serving(count) as port:
        url = f"http://127.0.0.1:{port}/"
        async with open_checked_session(rules, allow=[url]) as http:
            async with http.get(url) as response:
                await response.read()
            why[0] = "the contract BAA-1 with the vendor acme ended on 2026-11-20"
            with pytest.raises(aiohttp.ClientConnectorError, match="BAA-1"):
                await http.get(url)
    assert seen == ["/"]
