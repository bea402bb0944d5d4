"""Addresses of the web: what of a URL decides who is spoken to, and which IP addresses are ours.

Source: https://www.iana.org/assignments/iana-ipv4-special-registry, the same for IPv6, and the
host parser of https://url.spec.whatwg.org (which hosts are numbers in disguise).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import urlsplit

from chartgate.errors import ConfigError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS = {"http": 80, "https": 443}
LOOPBACK_NAMES = frozenset({"127.0.0.1", "::1", "localhost"})
# The last label of a host that inet_aton, and so every resolver, takes for a number.
NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
# This machine and the networks that no router of the internet carries.
OWN_NETWORKS = (
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
)
# No setting opens these: link-local and with it the metadata service of most clouds, those of
# others, "this network", multicast and broadcast.
NEVER: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle Cloud
        "::/128",
        "fe80::/10",
        "ff00::/8",
        "fd00:ec2::254/128",  # AWS
        "fd20:ce::254/128",  # Google Cloud
    )
)
# What the registries set apart and some version of ipaddress takes for global all the same.
RESERVED: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "2001::/23",
        "2002::/16",
        "3fff::/20",
    )
)
UNICAST = ip_network("2000::/3")  # all that was ever given out of IPv6
NAT64 = ip_network("64:ff9b::/96")


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Scheme, host and port: whom a request goes to. Compared exactly."""

    scheme: str
    host: str  # lower case, without brackets
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def origin_of(url: str) -> Origin:
    """The origin of an http or https URL. Raises ConfigError, with words for behind "url: "."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError("it is no URL") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise ConfigError("it must begin with https:// and name a host")
    if not url.isprintable() or " " in url or "\\" in url:
        raise ConfigError("it holds a space, a backslash or a control character")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("it must hold no credentials")
    if flaw := host_flaw(parts.hostname):
        raise ConfigError(flaw)
    if port == 0:
        raise ConfigError("it must not name port 0")
    return Origin(scheme=parts.scheme, host=parts.hostname, port=port or PORTS[parts.scheme])


def check_url(url: str, where: str, *, allow_http: bool) -> Origin:
    """The origin of a URL that patient data, keys or credentials may travel to: https, or http to
    this machine itself. Raises ConfigError, which begins with `where`."""
    try:
        origin = origin_of(url)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ConfigError(f"{where} must hold no query or fragment")
    if origin.scheme == "http" and not allow_http and not is_loopback_name(origin.host):
        raise ConfigError(f"{where} must be https; allow_http = true permits a trusted network")
    return origin


def host_flaw(host: str) -> str:
    """What is wrong with a host of a setting; empty: nothing. One address has one form: neither
    `0`, `0x7f000001`, `2130706433` or `0177.0.0.1` nor a dot at the end."""
    if ":" in host:
        return "" if _parsed(host) and "%" not in host else "its IPv6 address does not parse"
    if not HOST.fullmatch(host) or ".." in host:
        return f"its host {host!r} is not a name or an address (write international names as xn--)"
    if NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]) and not _parsed(host):
        return f"its host {host!r} is a number in disguise; write the IPv4 address with four parts"
    return ""


def is_loopback_name(host: str) -> bool:
    """Whether a host, by its spelling alone, can only be this machine."""
    address = _parsed(host)
    return host in LOOPBACK_NAMES or (address is not None and address.is_loopback)


def parse_networks(texts: Sequence[str], where: str) -> tuple[Network, ...]:
    """Networks as "10.1.0.0/16". Raises ConfigError."""
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError:
            raise ConfigError(
                f'{where} must hold networks such as "10.1.0.0/16", not {text!r}'
            ) from None
    return tuple(found)


def address_refusal(text: str, *, private: Sequence[Network]) -> str:
    """Why nobody may connect to this address; empty: one may. `private`: networks that are open
    beside the public internet."""
    address = _parsed(text.partition("%")[0])
    if address is None:
        return "it is no IP address"
    return next(
        (why for one in (address, *_carried(address)) if (why := _refusal(one, private))), ""
    )


def _refusal(address: Address, private: Sequence[Network]) -> str:
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return ""  # the IPv4 address within is what counts
    if any(address in network for network in NEVER):
        return "it is a link-local, metadata, multicast or unspecified address"
    if any(address in network for network in private):
        return ""
    if address in NAT64:
        return ""
    if (
        address.is_global
        and not address.is_reserved
        and not any(address in network for network in RESERVED)
        and (isinstance(address, IPv4Address) or address in UNICAST)
    ):
        return ""
    return "it is a loopback, private or reserved address"


def _carried(address: Address) -> tuple[Address, ...]:
    """IPv4 addresses that an IPv6 address stands for, or sends through a tunnel."""
    if isinstance(address, IPv4Address):
        return ()
    carried: list[Address] = []
    if address.ipv4_mapped:
        carried.append(address.ipv4_mapped)
    if address.sixtofour:
        carried.append(address.sixtofour)
    if address.teredo:
        carried.extend(address.teredo)
    if address in NAT64:
        carried.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(carried)


def _parsed(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
