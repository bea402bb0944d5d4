"""Processes of a PostgreSQL that lost its postmaster, or its Chartgate.

PostgreSQL refuses to start while a backend of its last life is attached to the shared memory,
and it is right: such a backend could still write to the files. So they are waited for, and
after a while ended. A process belongs to a cluster when it works in the cluster's folder.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chartgate.errors import Unavailable

PROC = Path("/proc")
POLL_S = 0.01
# What an orphan is told, and how long it is then waited for. A postmaster that is shutting down
# writes a checkpoint first, so the first wait is the longest. Killing is safe in the end: what
# was acknowledged is in the write-ahead log, and the next start recovers it.
STEPS: tuple[tuple[signal.Signals | None, float], ...] = (
    (None, 10.0),
    (signal.SIGTERM, 5.0),
    (signal.SIGQUIT, 5.0),
    (signal.SIGKILL, 5.0),
)


def end_orphans(cluster: Path) -> None:
    """Returns when no process works in the cluster any more. Raises Unavailable."""
    for told, wait_s in STEPS:
        if told is not None:
            for pid in processes_in(cluster):
                _tell(pid, told, cluster)
        if wait_until(lambda: not processes_in(cluster), wait_s):
            return
    left = ", ".join(str(pid) for pid in processes_in(cluster))
    raise Unavailable(
        f"processes of an earlier PostgreSQL do not end (pid {left}), perhaps because the disk "
        "does not answer; Chartgate starts when they are gone"
    )


def processes_in(cluster: Path) -> list[int]:
    """The pids of all processes whose working folder is the cluster. Linux only; else none."""
    if not PROC.is_dir():
        return []
    folder = str(cluster.resolve())
    processes = [p for p in PROC.iterdir() if p.name.isdigit()]
    with _looking_as_owner_of(cluster):
        return [int(p.name) for p in processes if _works_in(p, folder)]


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether the condition came true in time. For code that runs outside any event loop."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(POLL_S)
    return True


@contextmanager
def _looking_as_owner_of(cluster: Path) -> Iterator[None]:
    """Root in a container may lack CAP_SYS_PTRACE, and then sees only its own uid's folders.

    So this one thread looks at files as the server's uid for a moment. Source: setfsuid(2)
    """
    owner = cluster.stat() if os.geteuid() == 0 and cluster.exists() else None
    if owner is None:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.setfsgid(owner.st_gid)
    libc.setfsuid(owner.st_uid)
    try:
        yield
    finally:
        libc.setfsuid(0)
        libc.setfsgid(0)


def _works_in(process: Path, folder: str) -> bool:
    try:
        return os.readlink(process / "cwd") == folder
    except OSError:  # it has ended, is a zombie, or is another user's
        return False


def _tell(pid: int, told: signal.Signals, cluster: Path) -> None:
    """Signals through a handle, looked at once more, so that no reused pid is ever hit."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if pid in processes_in(cluster):
            signal.pidfd_send_signal(handle, told)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
