"""`chartgate person list|seal|remove|restore|sign-out`, on a store and nothing else."""

from pathlib import Path

import pytest

from chartgate.cli.session import with_store
from chartgate.config import load_config
from chartgate.flows import people
from tests.cli.conftest import Cli, Done

ADD = ("person", "add", "ada", "--role", "scheduler", "--site", "north-clinic")
SEAL = ("person", "seal", "emergency-1", "--site", "north-clinic")


@pytest.fixture
def at_store(database_url: str, tmp_path: Path, cli: Cli) -> Cli:
    """A command on a store, with no charter and no process."""
    file = tmp_path / "chartgate.toml"
    file.write_text(f'[store]\ndatabase_url = "{database_url}"\n')

    def run(*words: str, stdin: str = "") -> Done:
        return cli("--config", file, *words, stdin=stdin)

    return run


def test_nobody_is_said_so(at_store: Cli) -> None:
    done = at_store("person", "list")
    assert (done.code, done.out) == (0, "nobody; `chartgate person add` adds a person\n")


def test_seal_prints_its_secret_once(at_store: Cli) -> None:
    done = at_store(*SEAL)
    assert done.code == 0
    assert "emergency-1 is sealed. Its one-time secret, which is not shown again:" in done.out
    (secret,) = (line.strip() for line in done.out.splitlines() if line.startswith("    "))
    assert [len(group) for group in secret.split("-")] == [5] * 6
    listed = at_store("person", "list")
    assert "emergency-1              sealed           break-glass · north-clinic" in listed.out
    assert secret not in listed.out
    again = at_store(*SEAL, "--json")
    assert again.json["secret"] != secret
    assert again.json.keys() == {"person", "sites", "secret"}


def test_seal_that_was_broken_fails_the_list(at_store: Cli, tmp_path: Path) -> None:
    secret = at_store(*SEAL, "--json").json["secret"]
    config = load_config(tmp_path / "chartgate.toml")
    with_store(config, lambda gate: people.sign_in(gate, "emergency-1", secret))
    done = at_store("person", "list")
    assert (done.code, "SEAL IT ANEW" in done.out) == (1, True)


def test_person_is_removed_and_restored(at_store: Cli) -> None:
    at_store(*ADD, stdin="correct horse\n")
    done = at_store("person", "remove", "ada")
    assert (done.code, done.out) == (0, "ada is removed and signed out\n")
    assert at_store("person", "list", "--json").json[0]["kind"] == "removed"
    again = at_store("person", "remove", "ada")
    assert (again.code, again.err) == (1, "chartgate: there is no ada who could be removed\n")
    assert at_store("person", "restore", "ada", "--json").json == {
        "person": "ada",
        "removed": False,
    }
    assert at_store("person", "list", "--json").json[0]["kind"] == "no password"
    assert at_store(*ADD, stdin="correct horse\n").code == 0
    assert at_store("person", "list", "--json").json[0]["kind"] == "password"


def test_person_is_signed_out(at_store: Cli) -> None:
    at_store(*ADD, stdin="correct horse\n")
    done = at_store("person", "sign-out", "ada")
    assert (done.code, done.out) == (0, "ada is signed out; 0 sessions ended\n")
    assert at_store("person", "sign-out", "bob").code == 1


def test_help_teaches(cli: Cli) -> None:
    done = cli("person", "seal", "--help")
    assert "put it into a sealed envelope" in " ".join(done.out.split())
