"""The address that an audit event names: nobody can choose it by sending a header."""

from typing import Any

import pytest

from chartgate.errors import ConfigError
from chartgate.web.network import address_of, parse_networks

PROXIES = parse_networks(("10.0.0.7", "10.1.0.0/16", "fd00::/8"))


def scope_of(peer: str | None, *forwarded: str) -> dict[str, Any]:
    return {
        "client": (peer, 4711) if peer else None,
        "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded],
    }


@pytest.mark.parametrize(
    ("peer", "forwarded", "said"),
    [
        ("192.0.2.9", (), "192.0.2.9"),
        ("192.0.2.9", ("198.51.100.4",), "192.0.2.9"),  # not a proxy of ours
        ("10.0.0.7", (), "10.0.0.7"),
        ("10.0.0.7", ("198.51.100.4",), "198.51.100.4"),
        ("10.0.0.7", ("203.0.113.1, 198.51.100.4",), "198.51.100.4"),  # only what our proxy saw
        ("10.0.0.7", ("203.0.113.1, 198.51.100.4, 10.1.2.3",), "198.51.100.4"),
        ("10.0.0.7", ("203.0.113.1", "198.51.100.4"), "198.51.100.4"),
        ("10.0.0.7", ("198.51.100.4, nonsense",), "10.0.0.7"),
        ("10.0.0.7", ("",), "10.0.0.7"),
        ("fd00::1", ("2001:db8::5",), "2001:db8::5"),
        ("::ffff:10.0.0.7", ("198.51.100.4",), "198.51.100.4"),
        (None, ("198.51.100.4",), None),
    ],
)
def test_address_is_the_peers_or_what_a_trusted_proxy_says(
    peer: str | None, forwarded: tuple[str, ...], said: str | None
) -> None:
    assert address_of(scope_of(peer, *forwarded), PROXIES) == said


def test_nobody_is_trusted_unless_the_config_says_so() -> None:
    assert address_of(scope_of("127.0.0.1", "198.51.100.4"), ()) == "127.0.0.1"


def test_a_long_chain_of_proxies_ends() -> None:
    chain = ", ".join(["198.51.100.4", *["10.1.2.3"] * 5000])
    assert address_of(scope_of("10.0.0.7", chain), PROXIES) == "10.1.2.3"


@pytest.mark.parametrize("wrong", ["proxy.example", "10.1.0.7/16", "", "10.0.0.0/33"])
def test_what_is_no_network_is_a_mistake_of_the_config(wrong: str) -> None:
    with pytest.raises(ConfigError, match="trusted_proxies"):
        parse_networks((wrong,))
