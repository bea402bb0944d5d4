"""`chartgate change`: two people at a terminal, on a store of their own."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Done

PASSWORD = "correct horse battery"
ELEMENTS = "elements: [name, birthDate, telecom, communication]"
MORE = "elements: [name, birthDate, telecom, communication, address]"
SHOWN = re.compile(r"^([0-9a-f]{64})  (\w+)", re.MULTILINE)


@pytest.fixture
def run(database_url: str, folder: Path, cli: Cli) -> Any:
    """A command on a site where two people are required."""
    file = folder / "chartgate.toml"
    text = file.read_text()
    assert "[store]\n" in text
    text = text.replace("[store]\n", f'[store]\ndatabase_url = "{database_url}"\n')
    file.write_text(text + '\n[people]\ntwo_people = "required"\n')

    def act(*words: str | Path, stdin: str = "") -> Done:
        return cli("--config", file, *words, stdin=stdin)

    for name, role in (
        ("ada", "administrator"),
        ("pia", "privacy-officer"),
        ("sofia", "scheduler"),
    ):
        added = act("person", "add", name, "--role", role, "--site", "north-clinic", stdin=PASSWORD)
        assert added.code == 0, added.err
    return act


def stage_change(run: Any) -> str:
    """A step forward that waits; its digest."""
    done = run("stage", "clinic-booking", "full", "--json")
    assert (done.code, done.json["status"]) == (0, "waiting")
    return str(done.json["change"])


def approve(run: Any, digest: str, name: str, **options: str) -> Done:
    done: Done = run("change", "approve", digest, "--as", name, stdin=options.get("by", PASSWORD))
    return done


def test_step_forward_waits_until_two_people_approved_it(run: Any) -> None:
    digest = stage_change(run)
    assert digest in run("change", "list").out
    one = approve(run, digest, "ada")
    assert SHOWN.search(one.out)
    assert "approved by person:ada" in one.out
    assert "waiting" in one.out
    two = approve(run, digest, "pia")
    assert SHOWN.findall(two.out) == [(digest, "adopted")]
    assert run("change", "show", digest, "--json").json["approved_by"] == [
        "person:ada",
        "person:pia",
    ]
    assert run("stage", "clinic-booking", "suggest").out == "clinic-booking is at stage suggest\n"


def test_approval_by_somebody_without_the_office_or_the_password_changes_nothing(run: Any) -> None:
    digest = stage_change(run)
    refused = approve(run, digest, "sofia")
    assert (refused.code, refused.out) == (1, "")
    assert "administrator or privacy-officer" in refused.err
    assert approve(run, digest, "ada", by="wrong password").code == 1
    assert approve(run, digest, "ada", by="").code == 2
    assert approve(run, digest, "nobody").code == 1
    assert run("change", "show", digest, "--json").json["approved_by"] == []


def test_refusal_by_one_person_is_enough(run: Any) -> None:
    digest = stage_change(run)
    done = run(
        "change", "refuse", digest, "--as", "pia", "--reason", "not yet", "--json", stdin=PASSWORD
    )
    assert done.json["status"] == "refused"
    assert "is refused; it waits for nobody" in approve(run, digest, "ada").err


def test_change_that_is_not_there_is_a_sentence(run: Any) -> None:
    done = approve(run, "0" * 64, "ada")
    assert (done.code, done.out) == (1, "")
    assert "there is no such change; `chartgate change list`" in done.err


def test_ask_says_when_nothing_is_weaker(run: Any) -> None:
    assert "nothing here is weaker" in run("change", "ask").out
    assert run("change", "list").out == "nothing was ever asked for\n"
