"""`chartgate feed status`."""

from pathlib import Path

import asyncpg

from chartgate.cli.session import run_async
from chartgate.testing.messages import adt
from tests.cli.conftest import Cli
from tests.cli.feeds import send, wrong


def test_status_conserves_and_says_what_is_set_aside(at_feed: Cli, tmp_path: Path) -> None:
    send(tmp_path, adt("A08", "1", mrn="p1"), wrong("2", "p2"))
    send(tmp_path, adt("A08", "3"), process=False)
    done = at_feed("feed", "status", "--recount")
    assert done.code == 0
    for part in (
        "north-adt\n  in 3 = 1 delivered + 1 queued + 1 quarantined + 0 filtered",
        "oldest queued",
        "QUARANTINE content: 1 open, 1 in the last hour",
        "recounted: all 3 messages are where the counts say",
    ):
        assert part in done.out, part


def test_status_of_nothing_says_so(at_feed: Cli) -> None:
    assert at_feed("feed", "status").out == "no message has come in yet\n"
    facts = at_feed("feed", "status", "--json").json
    assert (facts["feeds"], facts["conserved"]) == ([], True)


def test_recount_that_differs_is_exit_code_1(
    at_feed: Cli, tmp_path: Path, database_url: str
) -> None:
    send(tmp_path, adt("A08", "1"), process=False)

    async def lose() -> None:
        settings = {"chartgate.tenant": "main"}
        connection = await asyncpg.connect(database_url, server_settings=settings)
        await connection.execute("DELETE FROM inbox")
        await connection.close()

    run_async(lose())
    done = at_feed("feed", "status", "--recount")
    assert done.code == 1
    assert "WRONG north-adt queued: 1 counted, 0 there" in done.out
    assert at_feed("feed", "status").code == 0
