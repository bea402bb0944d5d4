"""`chartgate up`: what it starts, keeps running and leaves behind."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from chartgate.cli import up
from chartgate.cli.up import Child
from chartgate.demo.rig import Rig, free_port
from chartgate.errors import ConfigError
from tests.cli.houses import config_with_ports, everything, left_of, processes, until

pytestmark = pytest.mark.slow

VERBS = ("serve", "work", "listen")


@pytest.fixture
def rig(open_folder: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A folder that was initialised, with nothing running."""
    rig = Rig(open_folder / f"up-{abs(hash(request.node.name)) % 10**6}")
    rig.initialise()
    yield rig
    rig.discard()


def run_up(config: Path) -> "subprocess.CompletedProcess[str]":
    """`chartgate up` to its end."""
    command = [sys.executable, "-m", "chartgate", "--config", str(config), "up"]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def running_in(folder: Path) -> list[str]:
    """Processes whose command line names something below the folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(folder) in line:
            found.append(line)
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_killed_child_is_started_again(house: Rig, verb: str) -> None:
    killed = processes(house)[verb]
    others = {name: p.pid for name, p in processes(house).items() if name != verb}
    killed.kill()
    until(lambda: processes(house).get(verb, killed).pid != killed.pid, f"{verb} to run again")
    house.wait_until_serving()
    now = {name: p.pid for name, p in processes(house).items()}
    assert {name: now[name] for name in others} == others


def test_second_gateway_on_the_data_directory_is_refused_and_hurts_nobody(
    house: Rig, tmp_path: Path
) -> None:
    before = {name: p.pid for name, p in processes(house).items()}
    other = config_with_ports(house, tmp_path, web=free_port(), mllp=free_port())
    done = run_up(other)
    assert done.returncode == 1
    assert "another Chartgate (process" in done.stderr
    assert "stop it, or point data_dir elsewhere" in done.stderr
    assert "Traceback" not in done.stderr
    assert {name: p.pid for name, p in processes(house).items()} == before


def test_web_port_in_use_is_said_before_anything_starts(house: Rig, tmp_path: Path) -> None:
    other = config_with_ports(house, tmp_path, web=house.web_port, mllp=free_port())
    done = run_up(other)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{house.web_port}" in done.stderr
    assert "set another port under [web]" in done.stderr


def test_mllp_port_in_use_ends_everything_with_its_sentence(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", rig.mllp_port)):
        done = run_up(rig.config)
    assert done.returncode == 2
    assert f"127.0.0.1:{rig.mllp_port} cannot be listened on" in done.stderr
    assert "`chartgate listen` cannot run; its own message stands above" in done.stderr
    assert "Traceback" not in done.stderr
    assert running_in(rig.folder) == []


def test_broken_charter_at_the_start_ends_before_anything_starts(rig: Rig) -> None:
    (rig.folder / "charters" / "visit-note.yaml").write_text("charter: [")
    done = run_up(rig.config)
    assert done.returncode == 2
    assert "visit-note.yaml" in done.stderr
    assert not (rig.folder / "var").exists()


def test_sigterm_drains_and_leaves_nothing(rig: Rig) -> None:
    rig.start_chartgate()
    started = everything(rig)
    assert len(started) > len(VERBS) + 2
    process = rig.processes["chartgate"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert left_of(started) == []
    assert running_in(rig.folder) == []
    assert "process.died" not in rig.log("chartgate").read_text()


def test_killed_outright_it_leaves_nothing_within_seconds_and_starts_again(rig: Rig) -> None:
    rig.start_chartgate()
    started = everything(rig)
    process = rig.processes["chartgate"]
    process.kill()
    process.wait()
    until(lambda: left_of(started) == [], "everything to end", within_s=10)
    rig.start_chartgate()
    assert set(processes(rig)) == {*VERBS, "postgres"}


@pytest.mark.parametrize("verb", VERBS)
def test_idle_process_rests(house: Rig, verb: str) -> None:
    """A loop that spins would take all of a processor: 3 of 3 seconds."""
    process = processes(house)[verb]
    time.sleep(1)  # what an earlier test left to do
    before = process.cpu_times()
    time.sleep(3)
    after = process.cpu_times()
    assert (after.user - before.user) + (after.system - before.system) < 0.6


class FakeProcess:
    """A child that ends when the test says so."""

    def __init__(self) -> None:
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[FakeProcess]:
    """The children that were started, by a clock that stands still."""
    all_of_them: list[FakeProcess] = []

    def start(command: object) -> FakeProcess:
        all_of_them.append(FakeProcess())
        return all_of_them[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    return all_of_them


@pytest.fixture
def set_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the monotonic clock."""

    def set_now(seconds: float) -> None:
        monkeypatch.setattr(time, "monotonic", lambda: seconds)

    set_now(100.0)
    return set_now


def test_child_that_says_wrong_input_at_its_first_start_ends_all(
    started: list[FakeProcess], set_time: Callable[[float], None]
) -> None:
    child = Child(["x", "listen"])
    up._keep(child)
    started[0].returncode = 2
    with pytest.raises(ConfigError, match="`chartgate listen` cannot run"):
        up._keep(child)


def test_child_that_says_wrong_input_later_is_tried_again(
    started: list[FakeProcess], set_time: Callable[[float], None]
) -> None:
    """A charter that was broken meanwhile must not end the intake."""
    child = Child(["x", "serve"])
    up._keep(child)
    started[0].returncode = -9
    up._keep(child)
    started[1].returncode = 2
    up._keep(child)
    set_time(200.0)
    up._keep(child)
    assert len(started) == 3


def test_child_that_keeps_dying_is_started_ever_more_rarely(
    started: list[FakeProcess], set_time: Callable[[float], None]
) -> None:
    child = Child(["x", "work"])
    now = 100.0
    starts_at = []
    for _ in range(4000):
        before = len(started)
        up._keep(child)
        if len(started) > before:
            starts_at.append(now)
            started[-1].returncode = 1
        now += 0.05
        set_time(now)
    pauses = [round(later - sooner, 1) for sooner, later in pairwise(starts_at)]
    assert pauses[0] < 0.2, "the first time at once"
    assert pauses[:6] == sorted(pauses[:6])
    assert up.RESTART_CAP_S <= pauses[-1] < up.RESTART_CAP_S + 0.2


def test_child_that_lived_long_is_started_at_once(
    started: list[FakeProcess], set_time: Callable[[float], None]
) -> None:
    child = Child(["x", "work"])
    child.failures = 9
    up._keep(child)
    set_time(100.0 + up.STEADY_AFTER_S + 1)
    started[0].returncode = -9
    up._keep(child)
    assert (len(started), child.failures) == (2, 0)
