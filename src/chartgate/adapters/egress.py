"""The one door for every outgoing HTTP request of Chartgate.

A session speaks with the origins that it was opened for and with no other; each connection is
made to an address that was looked up once, checked, and then used as it is, so that a name that
changes its mind in between changes nothing. No redirects, no cookies, no proxies, no environment;
TLS is always verified. A session has one purpose, so credentials of one system meet no other.
"""

import errno
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.tracing import Trace
from yarl import URL

from chartgate.config import Config
from chartgate.errors import ConfigError
from chartgate.formats.web_address import (
    OWN_NETWORKS,
    Network,
    Origin,
    address_refusal,
    origin_of,
    parse_networks,
)

KEEPALIVE_S = 10.0  # shorter than servers keep idle connections: fewer writes meet a closed one
TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 3.0
CONNECTIONS_MAX = 32
HEADERS_MAX = 64  # fields of an answer
HEADER_BYTES_MAX = 8_190  # of one field, and of the status line
ADDRESSES_MAX = 16  # of one name
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str, int]]


class AddressRefused(OSError):
    """An address that Chartgate may not connect to; aiohttp makes a ClientConnectorError of it."""

    def __init__(self, words: str) -> None:
        super().__init__(errno.EACCES, words)


class RedirectRefused(aiohttp.ClientError):
    """An answer sent us elsewhere, and somebody would have gone there."""


class AnswerTooLarge(aiohttp.ClientError):
    """The body is over its limit."""


@dataclass(frozen=True, kw_only=True)
class AddressRules:
    """Which addresses may be connected to, and which certificates were revoked."""

    private: tuple[Network, ...] = ()  # beside the public internet
    crl_file: Path | None = None
    # Why nothing at all may be sent now, asked at each request; empty: it may.
    closed: Callable[[], str] = field(default=lambda: "", compare=False)

    def refusal(self, address: str) -> str:
        """Why not; empty: it may."""
        return address_refusal(address, private=self.private)

    def check_open(self) -> None:
        """Raises AddressRefused while nothing may be sent."""
        if why := self.closed():
            raise AddressRefused(why)

    def check(self, address: str, host: str) -> None:
        """Raises AddressRefused, whose words name the host but not what its address gives away."""
        if why := self.refusal(address):
            raise AddressRefused(
                f"{host} may not be connected to: {why}; [egress] private opens networks"
            )


def address_rules(config: Config) -> AddressRules:
    """The rules of the config. Own networks are open by default only outside of production.
    Raises ConfigError."""
    texts = config.egress.private or (() if config.production else OWN_NETWORKS)
    crl_file = config.path(config.egress.crl_file) if config.egress.crl_file else None
    return AddressRules(private=parse_networks(texts, "[egress] private"), crl_file=crl_file)


def open_session(
    config: Config,
    *,
    allow: Iterable[str],
    timeout_s: float = TIMEOUT_S,
    ca_file: Path | None = None,
) -> aiohttp.ClientSession:
    """A session for the origins of the URLs `allow`; use it as `async with`. Raises ConfigError."""
    return open_checked_session(
        address_rules(config), allow=allow, timeout_s=timeout_s, ca_file=ca_file
    )


def open_checked_session(
    rules: AddressRules,
    *,
    allow: Iterable[str],
    timeout_s: float = TIMEOUT_S,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ca_file: Path | None = None,
    connections_max: int = CONNECTIONS_MAX,
) -> aiohttp.ClientSession:
    """As `open_session`, for adapters, which are given their rules. Raises ConfigError."""
    connector = _Door(
        rules,
        frozenset(origin_of(url) for url in allow),
        tls=tls_context(rules, ca_file=ca_file),
        connections_max=connections_max,
    )
    redirects = aiohttp.TraceConfig()
    redirects.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=connect_timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "chartgate"},
        trace_configs=[redirects],
        trust_env=False,
        max_line_size=HEADER_BYTES_MAX,
        max_field_size=HEADER_BYTES_MAX,
        max_headers=HEADERS_MAX,
    )


def tls_context(rules: AddressRules, *, ca_file: Path | None = None) -> ssl.SSLContext:
    """Verified TLS of at least 1.2; revoked certificates count where there is a list of them.
    Raises ConfigError."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError):
        raise ConfigError(f"ca_file {ca_file} holds no certificate in PEM") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    check_revocations(context, rules)
    return context


def check_revocations(context: ssl.SSLContext, rules: AddressRules) -> None:
    """Makes revoked certificates count, where there is a list of them. Raises ConfigError."""
    if rules.crl_file is None:
        return
    try:
        context.load_verify_locations(cafile=rules.crl_file)
    except (OSError, ssl.SSLError):
        raise ConfigError(
            f"[egress] crl_file {rules.crl_file} holds no revocation list in PEM"
        ) from None
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN


async def read_capped(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body, after decompression. Raises AnswerTooLarge beyond `limit` bytes."""
    parts, size = [], 0
    while part := await response.content.readany():
        size += len(part)
        if size > limit:
            response.close()
            raise AnswerTooLarge(f"answer over {limit} bytes")
        parts.append(part)
    return b"".join(parts)


class _Door(aiohttp.TCPConnector):
    """Lets through what its origins allow, to addresses that its rules allow."""

    def __init__(
        self,
        rules: AddressRules,
        origins: frozenset[Origin],
        *,
        tls: ssl.SSLContext,
        connections_max: int,
    ) -> None:
        super().__init__(
            ssl=tls,
            resolver=_CheckedResolver(rules),
            use_dns_cache=False,  # each connection asks anew, once, and uses just that answer
            socket_factory=self._checked_socket,
            limit=connections_max,
            keepalive_timeout=KEEPALIVE_S,
        )
        self._rules = rules
        self._origins = origins

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """Raises ClientConnectorError for an origin that this session is not for."""
        try:
            self._rules.check_open()
            if not self._is_allowed(req.url) or req.proxy:
                raise AddressRefused(f"{req.url.host} is not what this session was opened for")
        except AddressRefused as refused:
            raise aiohttp.ClientConnectorError(req.connection_key, refused) from None
        return await super().connect(req, traces, timeout)

    def _is_allowed(self, url: URL) -> bool:
        """By the parts that the request itself goes by, so that no two readers can differ."""
        return (
            Origin(scheme=url.scheme, host=url.raw_host or "", port=url.port or 0) in self._origins
        )

    def _checked_socket(self, info: AddressInfo) -> socket.socket:
        """The last look: `info` holds the very address that this socket will connect to."""
        family, kind, protocol, _, (address, *_) = info
        self._rules.check(address, "this address")
        return socket.socket(family, kind, protocol)


class _CheckedResolver(AbstractResolver):
    """Asks the system, and takes the answer only if every address in it may be used: a name that
    is public and private at once is a trap."""

    def __init__(self, rules: AddressRules) -> None:
        self._rules = rules
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises AddressRefused."""
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            self._rules.check(one["host"], host)
        return found[:ADDRESSES_MAX]

    async def close(self) -> None:
        await self._resolver.close()


async def _refuse_redirect(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    parameters: aiohttp.TraceRequestRedirectParams,
) -> None:
    parameters.response.close()
    raise RedirectRefused(f"{parameters.url.host} answered {parameters.response.status}")


async def resolve_checked(rules: AddressRules, host: str, port: int) -> Sequence[ResolveResult]:
    """Addresses of a host that is not spoken to in HTTP, all of them checked. Connect to one of
    these, not to the name. Raises AddressRefused, OSError."""
    return await _CheckedResolver(rules).resolve(host, port)
