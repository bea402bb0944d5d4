"""A short form of `make chaos`: processes killed outright under load, and nothing lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_kills_at_random_lose_nothing_double_nothing_and_leave_nothing_stuck() -> None:
    """The campaign counts from outside: the sender's ACK log and the hospital's journal."""
    command = [sys.executable, "-m", "benchmarks.chaos", "--seed", "3"]
    done = subprocess.run(
        [*command, "--messages", "9000", "--proposals", "25"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.stdout, done.stderr
    result = json.loads(done.stdout[done.stdout.index("{") :])
    assert result["messages_acknowledged"] == 9000, result
    assert result["held"], result
    assert done.returncode == 0


@pytest.mark.slow
def test_kills_at_random_under_a_feed_keep_every_message_its_order_and_its_effect() -> None:
    """Counted from outside: the senders' own logs, and the record made again from the inbox."""
    command = [sys.executable, "-m", "benchmarks.feed_chaos", "--seed", "3"]
    done = subprocess.run(
        [*command, "--messages", "6000", "--rate", "300"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.stdout, done.stderr
    result = json.loads(done.stdout[done.stdout.index("{") :])
    assert result["acknowledged"] == 6000, result
    assert result["held"], result
    assert done.returncode == 0
