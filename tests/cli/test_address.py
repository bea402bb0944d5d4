"""The gateway's socket, or the sentence why there is none."""

import socket
from collections.abc import Iterator

import pytest

from chartgate.cli.address import bind
from chartgate.config import WebConfig
from chartgate.errors import ConfigError


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_address_that_is_free_is_bound_and_can_be_bound_again_at_once() -> None:
    with bind(WebConfig(port=0)) as bound:
        port = bound.getsockname()[1]
    bind(WebConfig(port=port)).close()
    with bind(WebConfig(host="::1", port=0)) as bound:
        assert bound.family == socket.AF_INET6


def test_port_when_taken_is_a_sentence_that_says_what_to_do(taken: int) -> None:
    with pytest.raises(ConfigError, match=r"in use\); stop what uses it, or set another port"):
        bind(WebConfig(port=taken))


@pytest.mark.parametrize("host", ["192.0.2.1", "no host", "a..b", "x" * 70, "nul\0"])
def test_host_that_is_not_ours_is_a_sentence(host: str) -> None:
    with pytest.raises(ConfigError, match="cannot listen on"):
        bind(WebConfig(host=host, port=0))
