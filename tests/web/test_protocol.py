"""Heads that never end."""

import pytest

from chartgate.web import protocol
from tests.web.serving import Served


async def test_header_that_never_ends_is_cut_off(served: Served) -> None:
    answer = await served.raw(b"GET / HTTP/1.1\r\nX: ", more=b"y" * 200_000, timeout_s=3)
    assert not answer or answer.startswith(b"HTTP/1.1 400")


async def test_target_that_never_ends_is_cut_off(served: Served) -> None:
    answer = await served.raw(b"GET /", more=b"y" * 200_000, timeout_s=3)
    assert not answer or answer.startswith(b"HTTP/1.1 4")


async def test_connection_that_sends_no_head_is_closed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.1)
    for beginning in (b"", b"GET / HTTP/1.1\r\nHost:"):
        assert await served.raw(beginning, timeout_s=3) == b""


async def test_requests_on_one_connection_are_each_answered(served: Served) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for _ in range(3):
        assert (await served.raw(request)).startswith(b"HTTP/1.1 200")
    assert (await served.raw(last)).startswith(b"HTTP/1.1 200")
