"""`chartgate work` as a process of its own, beside the one that runs already."""

import signal
from pathlib import Path

import pytest

from chartgate.demo.rig import Rig, free_port
from tests.cli.conftest import Cli
from tests.cli.houses import config_with_ports, end, running, until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_second_worker_runs_beside_the_first_and_ends_promptly(
    house: Rig, at_house: Cli, tmp_path: Path, told: int
) -> None:
    config = config_with_ports(house, tmp_path, web=free_port(), mllp=free_port())
    with running(config, "work") as process:
        until(lambda: _sockets(process.pid) > 4, "its connections to the store")
        code, said = end(process, told)
    assert (code, "Traceback" in said) == (0, False), said
    assert at_house("ledger", "verify").code == 0


def test_worker_without_a_signing_key_says_what_to_restore(house: Rig, tmp_path: Path) -> None:
    config = config_with_ports(house, tmp_path, web=free_port(), mllp=free_port())
    config.write_text(config.read_text().replace("keys/ledger.pem", "keys/none.pem"))
    with running(config, "work") as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "there is no signing key" in said
    assert "Traceback" not in said


def _sockets(pid: int) -> int:
    try:
        return sum("socket" in str(p.readlink()) for p in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0
