"""The tutorial does what it says: every command is run, every line of output that it shows comes."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chartgate.demo.rig import free_port
from chartgate.store.embedded_place import remove_place
from tests.walks.tutorial import Block, blocks_of, missing_line

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial" / "first-hour.md"
WITHIN_S = 120.0
STOP_WITHIN_S = 30.0
MARK = "@@ block"
PORTS = ("WEB", "MLLP", "HOSPITAL", "CLIENT")


@pytest.mark.slow
def test_tutorial_when_typed_into_one_shell_shows_what_it_says(tmp_path: Path) -> None:
    blocks = blocks_of(TUTORIAL)
    with shell(script_of(blocks), tmp_path) as output:
        parts = re.split(rf"^{MARK} (\d+) ended with (\d+)\n", output, flags=re.MULTILINE)
        for number, block in enumerate(blocks):
            assert len(parts) > 3 * number + 2, f"it stopped in:\n{block.script}{output[-3000:]}"
            said, status = parts[3 * number], parts[3 * number + 2]
            where = f"{block.script}\nprinted:\n{said}"
            assert missing_line(block, said) is None, (
                f"{missing_line(block, said)!r} after\n{where}"
            )
            assert status == "0", f"exit status {status} of\n{where}"


def script_of(blocks: tuple[Block, ...]) -> str:
    """All blocks as one script that marks where each ends."""
    return "".join(
        f'{block.script}printf "\\n{MARK} {number} ended with %s\\n" $?\n'
        for number, block in enumerate(blocks)
    )


@contextmanager
def shell(script: str, folder: Path) -> Iterator[str]:
    """What the script prints; whatever it started is gone at the end."""
    out = folder / "output.txt"
    work = folder / "first-hour"
    work.mkdir()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ports = {name: str(free_port()) for name in PORTS}
    environment = os.environ | ports | {"PATH": path, "CHECKOUT": str(ROOT)}
    with out.open("wb") as file:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        _wait(process, WITHIN_S)
        yield out.read_text(encoding="utf-8")
    finally:
        _stop_group(process)
        remove_place(work / "clinic" / "var")


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)


def _stop_group(process: subprocess.Popen[bytes]) -> None:
    """Asks all that is left to stop, and waits; `chartgate up` takes its PostgreSQL along."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + STOP_WITHIN_S
        while time.monotonic() < deadline:
            process.poll()
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                return
            time.sleep(0.1)
