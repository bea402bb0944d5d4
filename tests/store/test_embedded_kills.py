"""Real kills: of PostgreSQL under load, of the process that started it, of both."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import asyncpg
import pytest

from chartgate.errors import Unavailable
from chartgate.store import embedded_orphans
from chartgate.store.embedded import EmbeddedServer, running_url, start_embedded
from chartgate.store.embedded_account import can_pass, naming_account
from chartgate.store.embedded_orphans import processes_in, wait_until
from chartgate.store.embedded_place import find_place, remove_place

HOST = Path(__file__).with_name("embedded_host.py")
GONE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


@pytest.fixture
def data_dir(open_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A data directory of the test's own."""
    folder = open_folder / f"kill-{abs(hash(request.node.name)) % 10**6}"
    yield folder
    if folder.is_dir():
        remove_place(folder)


@pytest.fixture(scope="module")
def killed_dir(open_folder: Path) -> Path:
    """The data directory of `server`."""
    return open_folder / "killed"


@pytest.fixture(scope="module")
def server(killed_dir: Path) -> Iterator[EmbeddedServer]:
    """A server that may be killed, and is brought back by the test that killed it."""
    running = start_embedded(killed_dir)
    yield running
    running.stop()
    remove_place(killed_dir)


def cluster_of(data_dir: Path) -> Path:
    place = find_place(data_dir)
    assert place is not None
    return place.cluster


def start_host(data_dir: Path, *arguments: str) -> tuple["subprocess.Popen[str]", dict[str, Any]]:
    host = subprocess.Popen(
        [sys.executable, str(HOST), str(data_dir), *arguments], stdout=subprocess.PIPE, text=True
    )
    assert host.stdout is not None
    line = host.stdout.readline()
    return host, json.loads(line)


def end_host(host: "subprocess.Popen[str]") -> None:
    host.kill()
    host.wait()
    assert host.stdout is not None
    host.stdout.close()


async def insert_until_gone(url: str, lane: int, acknowledged: list[tuple[int, int]]) -> None:
    """Inserts row after row, and notes each only when its commit was acknowledged."""
    connection = await asyncpg.connect(url)
    try:
        for n in range(10**9):
            await connection.execute("INSERT INTO load VALUES ($1, $2)", lane, n)
            acknowledged.append((lane, n))
    except GONE:
        pass
    finally:
        connection.terminate()


async def enough(acknowledged: list[tuple[int, int]], count: int) -> None:
    while len(acknowledged) < count:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("round_", range(3))
async def test_killed_under_load_it_comes_back_with_every_acknowledged_row(
    server: EmbeddedServer, round_: int
) -> None:
    connection = await asyncpg.connect(server.url)
    await connection.execute("DROP TABLE IF EXISTS load")
    await connection.execute("CREATE TABLE load (lane int, n int, PRIMARY KEY (lane, n))")
    await connection.close()
    acknowledged: list[tuple[int, int]] = []
    url, pid = server.url, server.pid
    async with asyncio.TaskGroup() as tasks:
        for lane in range(4):
            tasks.create_task(insert_until_gone(url, lane, acknowledged))
        await enough(acknowledged, 300 + 200 * round_)
        os.kill(pid, signal.SIGKILL)
    assert await asyncio.to_thread(wait_until, lambda: not server.is_alive(), 10)
    server.restart()
    assert server.url == url
    assert server.pid != pid
    connection = await asyncpg.connect(url)
    kept = {tuple(row) for row in await connection.fetch("SELECT lane, n FROM load")}
    await connection.close()
    assert set(acknowledged) <= kept
    assert len(kept - set(acknowledged)) <= 4  # one a lane may have been on its way


async def test_restart_of_a_server_that_lives_changes_nothing(server: EmbeddedServer) -> None:
    pid = server.pid
    server.restart()
    assert server.pid == pid


async def test_a_backend_that_outlives_its_postmaster_is_ended_before_the_restart(
    server: EmbeddedServer, killed_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped backend hears nothing but SIGKILL; PostgreSQL would refuse to start beside it."""
    monkeypatch.setattr(
        embedded_orphans,
        "STEPS",
        ((None, 0.2), (signal.SIGTERM, 0.2), (signal.SIGQUIT, 0.2), (signal.SIGKILL, 5.0)),
    )
    connection = await asyncpg.connect(server.url)
    backend = connection.get_server_pid()
    os.kill(backend, signal.SIGSTOP)
    os.kill(server.pid, signal.SIGKILL)
    cluster = cluster_of(killed_dir)
    assert await asyncio.to_thread(wait_until, lambda: processes_in(cluster) == [backend], 10)
    assert await asyncio.to_thread(wait_until, lambda: not server.is_alive(), 10)
    await asyncio.to_thread(server.restart)
    assert backend not in processes_in(cluster)
    connection.terminate()
    again = await asyncpg.connect(server.url)
    assert await again.fetchval("SELECT 1") == 1
    await again.close()


@pytest.mark.skipif(os.geteuid() != 0 or not which("setpriv"), reason="needs root and setpriv")
def test_root_without_the_ptrace_capability_still_sees_the_processes(
    server: EmbeddedServer, killed_dir: Path
) -> None:
    """As in a container, where root has it not."""
    look = (
        "import sys, pathlib; from chartgate.store.embedded_orphans import processes_in; "
        "sys.stdout.write(str(processes_in(pathlib.Path(sys.argv[1]))))"
    )
    command = ["setpriv", "--bounding-set=-sys_ptrace", sys.executable, "-c", look]
    done = subprocess.run(
        [*command, str(cluster_of(killed_dir))], capture_output=True, text=True, check=True
    )
    assert server.pid in json.loads(done.stdout)


async def test_a_backend_that_cannot_be_ended_is_named(
    server: EmbeddedServer, killed_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_orphans, "STEPS", ((None, 0.1),))
    cluster = cluster_of(killed_dir)
    with pytest.raises(Unavailable, match=rf"do not end \(pid .*{server.pid}"):
        embedded_orphans.end_orphans(cluster)


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGKILL])
def test_when_the_process_that_started_it_ends_nothing_is_left(
    data_dir: Path, told: signal.Signals
) -> None:
    check_host_ends(data_dir, told)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGKILL])
def test_the_same_when_it_was_started_by_an_ordinary_user(
    open_folder: Path, told: signal.Signals
) -> None:
    user = naming_account()
    if not can_pass(user, HOST.parent):
        pytest.skip("the checkout lies where no other user can read it")
    home = open_folder / f"home-{told.name}"
    home.mkdir(mode=0o700)
    os.chown(home, user.uid, user.gid)
    check_host_ends(home / "data", told, str(user.uid))
    assert cluster_of(home / "data").stat().st_uid == user.uid


def check_host_ends(data_dir: Path, told: signal.Signals, *arguments: str) -> None:
    host, said = start_host(data_dir, *arguments)
    try:
        assert "error" not in said, said
        cluster = cluster_of(data_dir)
        assert said["pid"] in processes_in(cluster)
        assert running_url(data_dir) == said["url"]
        os.kill(said["host"], told)
        assert host.wait(10) == -told
        assert wait_until(lambda: not processes_in(cluster), 20)
        assert not (cluster / "postmaster.pid").exists(), "it was not shut down in order"
    finally:
        end_host(host)


def test_a_second_process_on_a_data_directory_is_refused_until_the_first_ends(
    data_dir: Path,
) -> None:
    first, said = start_host(data_dir)
    try:
        second, refused = start_host(data_dir)
        end_host(second)
        assert refused["kind"] == "Unavailable"
        assert (
            f"another Chartgate (process {said['host']}) runs on this data directory"
            in (refused["error"])
        )
    finally:
        end_host(first)
    start_embedded(data_dir).stop()  # at once: it waits for what the first leaves behind


def test_a_start_that_is_killed_half_way_leaves_a_directory_that_starts(data_dir: Path) -> None:
    host = subprocess.Popen([sys.executable, str(HOST), str(data_dir)], stdout=subprocess.DEVNULL)
    assert wait_until(lambda: any(data_dir.glob("postgres/new-*/cluster/base")), 20)
    host.kill()
    host.wait()
    server = start_embedded(data_dir)
    assert server.is_alive()
    server.stop()


def test_the_launcher_gives_up_when_its_parent_is_gone() -> None:
    launcher = Path(embedded_orphans.__file__).with_name("embedded_launch.py")
    nobody_s_child = ["-I", "-S", str(launcher), "1", str(os.geteuid()), str(os.getegid())]
    done = subprocess.run(
        [sys.executable, *nobody_s_child, "/bin/echo", "started"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "started" not in done.stdout
