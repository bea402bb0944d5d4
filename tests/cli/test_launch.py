"""A child that ends with its parent, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from chartgate.cli import launch

PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-I", "-S", sys.argv[1], str(os.getpid()), "/bin/sleep", "60"])
print(child.pid, flush=True)
time.sleep(60)
"""


def ended(process: psutil.Process) -> bool:
    """Gone, or only not yet collected by the system's first process."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_child_gets_sigterm_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, launch.__file__], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    deadline = time.monotonic() + 10
    while "sleep" not in "".join(child.cmdline()[:1]):
        assert time.monotonic() < deadline
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    while not ended(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_child_whose_parent_is_gone_already_does_not_start(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    done = subprocess.run(
        [sys.executable, "-I", "-S", launch.__file__, "1", "/bin/touch", str(touched)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the process that started this one is gone" in done.stderr
    assert not touched.exists()
