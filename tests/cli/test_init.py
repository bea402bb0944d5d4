"""`chartgate init`."""

import stat
from pathlib import Path

import pytest

from chartgate.config import load_config
from tests.cli.conftest import Cli


def test_init_writes_what_the_config_names_and_keeps_secrets_to_their_owner(
    cli: Cli, tmp_path: Path
) -> None:
    done = cli("init", tmp_path, "--json")
    assert done.code == 0
    assert sorted(done.json["written"]) == sorted(
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()
    )
    config = load_config(tmp_path / "chartgate.toml")
    assert config.path(config.ledger.signing_key_file).exists()
    for client in config.clients.values():
        assert config.path(client.jwks_file).exists()
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    for secret in (*tmp_path.glob("keys/*.pem"), *tmp_path.glob("keys/*.whsec")):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600, secret.name
    for public in tmp_path.glob("keys/*.jwks.json"):
        assert '"d"' not in public.read_text(), "a private key in a public file"


def test_init_says_what_to_do_next(cli: Cli, tmp_path: Path) -> None:
    done = cli("init", tmp_path)
    assert "wrote chartgate.toml" in done.out
    assert "next: set the url of your EHR" in done.out
    assert cli("--config", tmp_path / "chartgate.toml", "charter", "check").code == 0


@pytest.mark.parametrize(
    "there", ["chartgate.toml", "charters/visit-note.yaml", "keys/scribe.pem", "keys/ledger.pem"]
)
def test_init_where_a_file_is_there_already_changes_nothing(
    cli: Cli, tmp_path: Path, there: str
) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("mine")
    done = cli("init", tmp_path)
    assert done.code == 2
    assert f"{there} is there already; nothing was changed" in done.err
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [Path(there).name]
    assert (tmp_path / there).read_text() == "mine"


def test_init_lists_only_what_it_wrote(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    assert "letter.txt" not in cli("init", tmp_path).out


def test_init_into_what_is_no_folder_says_so(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cli("init", tmp_path / "file")
    assert done.code == 2
    assert "cannot write into" in done.err
