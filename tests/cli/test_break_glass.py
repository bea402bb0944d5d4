"""`chartgate break-glass`, on a store and nothing else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from chartgate.cli.session import with_store
from chartgate.config import load_config
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.break_glass import BreakGlass
from chartgate.store.break_glass import BreakGlassStore
from tests.cli.conftest import Cli, Done

WORDS = "Unconscious in A&E, no history."


@pytest.fixture
def file(database_url: str, tmp_path: Path) -> Path:
    """The config of a store alone."""
    file = tmp_path / "chartgate.toml"
    file.write_text(f'[store]\ndatabase_url = "{database_url}"\n')
    return file


@pytest.fixture
def at_store(file: Path, cli: Cli) -> Cli:
    """A command on a store, with no charter and no process."""

    def run(*words: str, stdin: str = "") -> Done:
        return cli("--config", file, *words, stdin=stdin)

    return run


def opened(file: Path, *, hours_ago: float = 0, person: str = "osei") -> str:
    """One that somebody opened so long ago, for an hour."""
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    glass = BreakGlass(
        id=str(uuid4()),
        person=person,
        site="north-clinic",
        patient="Patient/7",
        code="ETREAT",
        words=WORDS,
        sealed=False,
        opened_at=at,
        ends_at=at + timedelta(hours=1),
        review_due_at=at + timedelta(hours=72),
    )

    async def act(gate: Gate) -> None:
        event = AuditEvent(recorded=at, action="break-glass.open", agent=f"person:{person}")
        async with gate.database.change(event) as transaction:
            await BreakGlassStore(gate.database).insert(transaction, glass)

    with_store(load_config(file), act)
    return glass.id


def test_list_says_what_waits_and_nothing_that_was_written(at_store: Cli, file: Path) -> None:
    assert at_store("break-glass", "list").out == "nobody has broken the glass\n"
    id_ = opened(file)
    done = at_store("break-glass", "list")
    assert done.code == 0
    assert done.out.startswith(f"{id_}  open       osei             Patient/7 at north-clinic")
    assert WORDS not in done.out + at_store("break-glass", "list", "--json").out


def test_overdue_review_fails_the_list_and_shows_in_status(at_store: Cli, file: Path) -> None:
    opened(file, hours_ago=73)
    done = at_store("break-glass", "list", "--to-review")
    assert (done.code, "OVERDUE" in done.out) == (1, True)


def test_one_is_ended_and_reviewed_once(at_store: Cli, file: Path) -> None:
    id_ = opened(file)
    review = ("break-glass", "review", id_, "--finding", "justified", "--because", "Saw the sheet.")
    early = at_store(*review)
    assert (early.code, "it is still open" in early.err) == (1, True)
    assert at_store("break-glass", "end", id_).out == f"{id_} has ended; it waits for review\n"
    assert at_store("break-glass", "end", id_).code == 1
    done = at_store(*review, "--json")
    assert (done.json["state"], done.json["finding"]) == ("reviewed", "justified")
    assert done.json["reviewed_by"].startswith("process:cli/")
    assert at_store(*review).code == 1


def test_own_is_not_reviewed_at_the_command_line_either(
    at_store: Cli, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "osei")
    id_ = opened(file, hours_ago=2)
    done = at_store(
        "break-glass", "review", id_, "--finding", "justified", "--because", "It was me."
    )
    assert (done.code, "nobody reviews a break-glass of their own" in done.err) == (1, True)


def test_what_is_not_there_is_a_sentence(at_store: Cli) -> None:
    for id_ in ("x", str(uuid4())):
        done = at_store("break-glass", "end", id_)
        assert (done.code, done.err) == (1, "chartgate: there is no such break-glass\n")
