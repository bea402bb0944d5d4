"""`chartgate feed replay`."""

from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.feeds import send, wrong


@pytest.fixture(autouse=True)
def _quarantined(at_feed: Cli, tmp_path: Path) -> None:
    send(tmp_path, wrong("a", "p1"), wrong("b", "p2"))
    send(tmp_path, b"HELLO", flaw="noise")


def test_replay_only_says_what_until_it_is_told_to(at_feed: Cli) -> None:
    for more in ((), ("--dry-run",)):
        done = at_feed("feed", "replay", "--connection", "north-adt", *more)
        assert done.code == 0
        assert done.out.startswith("2 messages would be queued again\n  north-adt: 2\n")
        assert "1 more never became a message and cannot be replayed" in done.out
        assert "add --yes to do it" in done.out
    assert at_feed("feed", "status", "--json").json["feeds"][0]["queued"] == 0


def test_replay_twice_is_once(at_feed: Cli) -> None:
    facts = at_feed("feed", "replay", "--reason", "content", "--yes", "--json").json
    assert (facts["found"], facts["queued_again"]) == (2, 2)
    again = at_feed("feed", "replay", "--reason", "content", "--yes", "--json").json
    assert (again["found"], again["queued_again"]) == (0, 0)
    assert "queued again" in at_feed("feed", "quarantine", "list").out


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ((), 2, "say what to replay"),
        (("--all",), 2, "say what to replay"),
        (("99",), 1, "there is no 99"),
        (("x",), 2, "invalid number value"),
        (("1", "--reason", "content"), 2, "not both"),
        (("--reason", "content", "--yes", "--dry-run"), 2, "not allowed with"),
        (("--since", "2026-13-01"), 2, "'2026-13-01' is no time"),
        (("3",), 2, "3 never became a message"),
    ],
)
def test_mistake_says_what_to_do(
    at_feed: Cli, words: tuple[str, ...], code: int, sentence: str
) -> None:
    done = at_feed("feed", "replay", *words)
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err


def test_help_says_how_order_is_kept(at_feed: Cli) -> None:
    assert "processed as one that comes late" in " ".join(
        at_feed("feed", "replay", "--help").out.split()
    )
