"""The file of master keys: whole, private, and never overwritten."""

from pathlib import Path

import pytest

from chartgate.errors import ConfigError
from chartgate.store.vault_keys import (
    MasterKeys,
    create_master_key,
    name_of,
    new_secret,
    read_secrets,
    write_secrets,
)


def test_made_file_is_its_owners_alone_and_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "vault.key"
    create_master_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="is kept"):
        create_master_key(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_missing_file_says_what_to_restore(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="restore it from its backup"):
        MasterKeys(tmp_path / "none").reload()


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o620])
def test_file_that_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "vault.key"
    create_master_key(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secrets(path)


@pytest.mark.parametrize(
    "text", ["", "\n", "chartgate-vault-1 AAAA\n", "nonsense\n", "chartgate-vault-2 " + "A" * 44]
)
def test_file_that_holds_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "vault.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="restore"):
        read_secrets(path)


def test_new_key_in_the_file_is_found_when_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    create_master_key(path)
    running, [old] = MasterKeys(path), read_secrets(path)
    assert running.newest == name_of(old)
    new = new_secret()
    write_secrets(path, [new, old])
    rotating = MasterKeys(path)
    wrapped = rotating.wrap(b"d" * 32, b"place", rotating.newest)
    assert rotating.newest == name_of(new)
    assert running.unwrap(wrapped, b"place") == b"d" * 32
    with pytest.raises(ConfigError, match="changed from outside"):
        running.unwrap(wrapped, b"another place")
    with pytest.raises(ConfigError, match="restore the file"):
        MasterKeys.of(old).unwrap(wrapped, b"place")


def test_secret_stands_in_no_message(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    create_master_key(path)
    text = path.read_text().split()[1]
    path.write_text(f"chartgate-vault-9 {text}\n")
    with pytest.raises(ConfigError) as caught:
        read_secrets(path)
    assert text not in str(caught.value)
