"""`chartgate listen` as a process of its own."""

import asyncio
import signal
import ssl
from pathlib import Path

import pytest

from chartgate.demo.rig import Rig, free_port
from chartgate.formats.mllp import frame
from chartgate.testing.messages import adt
from tests.adapters.hl7v2_mllp.certificates import make_certificate
from tests.cli.houses import acknowledged, config_with_ports, end, running

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
async def test_listener_acknowledges_and_ends_promptly(
    house: Rig, tmp_path: Path, told: int
) -> None:
    port = free_port()
    config = config_with_ports(house, tmp_path, web=free_port(), mllp=port)
    with running(config, "listen") as process:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(2)]  # how the store is sealed, too
        assert f"north-adt listens on port {port}\n" in lines
        second = Rig(house.folder, mllp_port=port)
        assert await acknowledged(second, 77) == "AA"
        assert await acknowledged(house, 77) == "AA", "the same message, the stored answer"
        code, said = end(process, told)
    assert (code, "Traceback" in said) == (0, False), said


def ended(config: Path) -> tuple[int, str]:
    """Exit code and words of a listener that ends by itself."""
    with running(config, "listen") as process:
        out, err = process.communicate(timeout=30)
    assert "Traceback" not in out + err
    return process.returncode, out + err


def test_port_in_use_is_wrong_input(house: Rig) -> None:
    code, said = ended(house.config)
    assert code == 2
    assert f"127.0.0.1:{house.mllp_port} cannot be listened on" in said


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('site = "north-clinic"\n', "", "needs the key site"),
        ('id_from = "identifier"', 'zone = "Mars/Olympus"', "zone 'Mars/Olympus' is not known"),
        ('id_from = "identifier"', "id_fom = 1", "did you mean id_from?"),
        (
            'id_from = "identifier"',
            'tls = {cert = "no.pem", key = "no.key"}',
            "the files of tls cannot be used",
        ),
    ],
)
def test_mistake_in_the_feed_is_wrong_input(
    house: Rig, tmp_path: Path, before: str, after: str, sentence: str
) -> None:
    config = config_with_ports(house, tmp_path, web=free_port(), mllp=free_port())
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))
    code, said = ended(config)
    assert code == 2, said
    assert sentence in said


def test_config_without_a_feed_says_how_to_add_one(house: Rig, tmp_path: Path) -> None:
    config = config_with_ports(house, tmp_path, web=free_port(), mllp=free_port())
    text = config.read_text()
    feed = text.index("[connections.north-adt]")
    config.write_text(text[:feed] + text[text.index("[clients.slot-picker]") :])
    code, said = ended(config)
    assert code == 2
    assert 'no connection has a feed; add one with adapter = "hl7v2_mllp"' in said


async def test_listener_with_tls_tells_of_a_certificate_that_runs_out_and_stops_promptly(
    house: Rig, tmp_path: Path
) -> None:
    """With a connection open that says nothing."""
    port = free_port()
    config = config_with_ports(house, tmp_path, web=free_port(), mllp=port)
    authority = make_certificate(tmp_path, "authority")
    ours = make_certificate(tmp_path, "feed", by=authority, days=5)
    tls = f'tls = {{cert = "{ours.file}", key = "{ours.key_file}"}}'
    config.write_text(config.read_text().replace('id_from = "identifier"', tls))
    context = ssl.create_default_context(cafile=authority.file)
    with running(config, "listen") as process:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(3)]
        assert f"north-adt listens on port {port}\n" in lines
        assert any("mllp.certificate_expires" in line and '"days": 4' in line for line in lines)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost"
        )
        writer.write(frame(adt(control_id="tls")))
        assert b"MSA|AA|tls" in await reader.readuntil(b"\x1c\r")
        code, said = end(process, signal.SIGTERM)
        writer.close()
    assert (code, "Traceback" in said) == (0, False), said
