"""A short form of `make chaos`: processes killed outright under load, and nothing lost."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def held(campaign: str, *options: str) -> Any:
    """What a campaign printed that found nothing wrong."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{campaign}", "--seed", "3", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.stdout, done.stderr
    result = json.loads(done.stdout[done.stdout.index("{") :])
    assert result["held"], result
    assert done.returncode == 0
    return result


@pytest.mark.slow
def test_kills_at_random_lose_nothing_double_nothing_and_leave_nothing_stuck() -> None:
    """The campaign counts from outside: the sender's ACK log and the hospital's journal."""
    result = held("chaos", "--messages", "9000", "--proposals", "25")
    assert result["messages_acknowledged"] == 9000, result


@pytest.mark.slow
def test_kills_at_random_under_a_feed_keep_every_message_its_order_and_its_effect() -> None:
    """Counted from outside: the senders' own logs, and the record made again from the inbox."""
    result = held("feed_chaos", "--messages", "6000", "--rate", "300")
    assert result["acknowledged"] == 6000, result
