"""`chartgate feed`: what it consists of."""

import pytest

from tests.cli.conftest import Cli


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("status",),
        ("tail",),
        ("replay",),
        ("quarantine",),
        ("quarantine", "list"),
        ("quarantine", "show"),
        ("quarantine", "fix"),
        ("quarantine", "dismiss"),
    ],
)
def test_every_command_says_what_it_does(cli: Cli, words: tuple[str, ...]) -> None:
    done = cli("feed", *words, "--help")
    assert done.code == 0
    assert done.out.startswith(f"usage: chartgate feed {' '.join(words)}".rstrip())
    assert len(done.out.split("\n\n")[1]) > 60


def test_feed_alone_says_what_there_is(cli: Cli) -> None:
    done = cli("feed")
    assert done.code == 2
    assert "{status,tail,quarantine,replay" in done.err
