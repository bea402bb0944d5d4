"""`chartgate serve` as a process of its own: it starts beside others, drains and ends in order."""

import asyncio
import json
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from chartgate.demo.rig import Rig, free_port
from tests.cli.houses import config_with_ports, end, reader, running, until

pytestmark = pytest.mark.slow


def status_of(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except OSError:
        return 0


@pytest.fixture
def port(house: Rig, tmp_path: Path) -> int:
    """Of a second gateway on the house's store."""
    chosen = free_port()
    config_with_ports(house, tmp_path, web=chosen, mllp=free_port())
    return chosen


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_second_gateway_serves_on_the_same_store_and_ends_in_order(
    tmp_path: Path, port: int, told: int
) -> None:
    with running(tmp_path / "chartgate.toml", "serve") as process:
        until(lambda: status_of(port, "/health/ready") == 200, "the second gateway")
        code, said = end(process, told)
    assert (code, "Traceback" in said) == (0, False), said


def test_idle_connection_does_not_hold_the_end_up(tmp_path: Path, port: int) -> None:
    with running(tmp_path / "chartgate.toml", "serve") as process:
        until(lambda: status_of(port, "/health/live") == 200, "the second gateway")
        with socket.create_connection(("127.0.0.1", port)) as idle:
            idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(100)
            code, said = end(process, signal.SIGTERM)
    assert code == 0, said


def test_port_in_use_is_wrong_input(house: Rig) -> None:
    with running(house.config, "serve") as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"cannot listen on 127.0.0.1:{house.web_port}" in said
    assert "Traceback" not in said


def test_two_that_bound_one_port_do_not_both_serve(tmp_path: Path, port: int) -> None:
    """SO_REUSEADDR lets two bind what nobody listens on yet; only one may go on."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        with running(tmp_path / "chartgate.toml", "serve") as process:
            other.listen()  # before the gateway, which opens its gate first
            _, said = process.communicate(timeout=30)
    assert process.returncode == 2, said
    assert f"cannot listen on 127.0.0.1:{port}" in said


async def test_expired_token_is_a_401_that_says_to_ask_for_another(
    house: Rig, tmp_path: Path, port: int
) -> None:
    config = tmp_path / "chartgate.toml"
    config.write_text(config.read_text().replace("[web]\n", "[web]\ntoken_lifetime_s = 1\n"))
    with running(config, "serve"):
        second = Rig(house.folder, web_port=port, hospital_port=house.hospital_port)
        await asyncio.to_thread(until, lambda: status_of(port, "/health/ready") == 200, "it")
        async with reader(second) as client:
            token = await client.gateway._token()
            await asyncio.sleep(1.2)
            client.gateway.token, client.gateway.renew_at = token, float("inf")
            seen = await client.read()
            assert seen.status == 401
            assert "token" in seen.text
            client.gateway.renew_at = 0.0
            assert (await client.read()).status == 200


@pytest.mark.parametrize("verb", ["serve", "work", "listen"])
def test_without_a_store_it_says_what_to_start(folder: Path, verb: str) -> None:
    config = folder / "chartgate.toml"
    config.write_text(config.read_text().replace("8480", str(free_port())))
    with running(config, verb) as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "start everything with `chartgate up`" in said
    assert "Traceback" not in said


def test_log_lines_are_json(house: Rig) -> None:
    for line in house.log("chartgate").read_text().splitlines():
        if line.startswith("{"):
            assert json.loads(line)["event"]
