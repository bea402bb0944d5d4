"""`chartgate charter check`, and what a config with a mistake says to any command."""

from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_check_of_right_charters_names_each_with_what_it_may_do(cli: Cli, folder: Path) -> None:
    done = cli("--config", folder / "chartgate.toml", "charter", "check")
    assert done.code == 0
    assert "clinic-booking revision" in done.out
    assert "3 charters are right" in done.out
    rows = cli("--config", folder / "chartgate.toml", "charter", "check", "--json").json
    assert [row["charter"] for row in rows] == [
        "clinic-booking",
        "prior-authorisation",
        "visit-note",
    ]
    assert rows[0]["sites"] == {"north-clinic": "north-ehr"}


def test_check_names_the_keys_that_are_not_enforced_yet(cli: Cli, folder: Path) -> None:
    done = cli("--config", folder / "chartgate.toml", "charter", "check")
    notes = [line for line in done.out.splitlines() if "not enforced yet" in line]
    assert len(notes) == 3, "one for each charter"
    assert "clinic-booking uses keys" in notes[0]
    assert "halt_when," in notes[0]
    rows = cli("--config", folder / "chartgate.toml", "charter", "check", "--json").json
    assert "rollout[].share" in rows[0]["not_enforced"]
    assert "rollout[].share" not in rows[1]["not_enforced"]


def test_check_of_a_broken_charter_names_file_and_mistake(cli: Cli, folder: Path) -> None:
    file = folder / "charters" / "visit-note.yaml"
    file.write_text(file.read_text().replace("revision:", "revison:"))
    done = cli("--config", folder / "chartgate.toml", "charter", "check")
    assert (done.code, done.out) == (2, "")
    assert "visit-note.yaml" in done.err
    assert "revision" in done.err, "the near name"


def test_check_of_another_folder(cli: Cli, folder: Path, tmp_path: Path) -> None:
    done = cli("--config", folder / "chartgate.toml", "charter", "check", "--charters", tmp_path)
    assert done.code == 2
    assert "holds no charter; `chartgate init` writes samples" in done.err


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("[web]\n", "[web]\nprot = 1\n", r"[web] has no key prot; did you mean port?"),
        ("[web]\n", "[wbe]\n", "chartgate.toml has no key wbe; did you mean web?"),
        ("port = 8480", 'port = "8480"', "[web] port must be of type int, not '8480'"),
        ("port = 8480", "port = 99999", "[web] port must be from 0 to 65535, not 99999"),
        ("[web]\n", "[web\n", "cannot be read"),
        ("[store]\n", "[store]\nconnections_max = 1\n", "must be from 4 to"),
        ("[web]\n", "[web]\nsession_idle_s = nan\n", "must not be negative or without end"),
    ],
)
def test_mistake_in_the_config_is_a_sentence(
    cli: Cli, folder: Path, before: str, after: str, sentence: str
) -> None:
    file = folder / "chartgate.toml"
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after))
    for command in (("charter", "check"), ("up",), ("halt", "--reason", "x"), ("status",)):
        done = cli("--config", file, *command)
        assert (done.code, done.out) == (2, "")
        assert sentence in done.err


def test_config_that_is_not_there_names_the_command_that_writes_one(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("charter", "check")
    assert done.code == 2
    assert "there is no chartgate.toml; `chartgate init` writes one" in done.err
    assert cli("--config", tmp_path, "charter", "check").code == 2


def test_config_is_found_by_the_environment(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARTGATE_CONFIG", str(folder / "chartgate.toml"))
    assert cli("charter", "check").code == 0
