"""Which address a request came from: the peer's, or what a trusted proxy says in X-Forwarded-For.

Anybody can send that header, so it counts only from the addresses that the config names, and only
as far as each of its hops is one of them.
"""

from collections.abc import MutableMapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from chartgate.errors import ConfigError

Network = IPv4Network | IPv6Network
FORWARDED = b"x-forwarded-for"
HOPS_MAX = 16  # more proxies than stand before any gateway


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Addresses and networks, e.g. "10.0.0.7", "10.1.0.0/16". Raises ConfigError."""
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError:
        raise ConfigError(
            '[web] trusted_proxies must list addresses or networks, e.g. "10.0.0.7" or '
            '"10.1.0.0/16" without bits behind the mask'
        ) from None


def address_of(scope: MutableMapping[str, Any], trusted: tuple[Network, ...]) -> str | None:
    """The address; None where there is no peer that has one (a unix socket)."""
    client = scope.get("client")
    address = _address(client[0]) if client else None
    if address is None or not trusted or not _is_among(address, trusted):
        return address
    sent = b",".join(value for name, value in scope["headers"] if name == FORWARDED)
    hops = [hop.strip() for hop in sent.decode("latin").split(",")[-HOPS_MAX:]]
    for hop in reversed(hops):
        earlier = _address(hop)
        if earlier is None:
            return address
        address = earlier
        if not _is_among(address, trusted):
            return address
    return address


def _address(text: str) -> str | None:
    """As Python writes it; None for what is no address."""
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _is_among(address: str, networks: tuple[Network, ...]) -> bool:
    parsed = ip_address(address)
    return any(parsed in network for network in networks)
