"""Makes the database cluster, whole or not at all.

initdb and the single-user mode look their uid up by name. Root has them run as an account that
has one, in a folder that only that account may enter, and then gives the files to the server's
uid. The cluster gets its name by a rename at the very end, so a kill half way leaves no cluster.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chartgate.errors import ConfigError
from chartgate.store.embedded_account import Account, naming_account, run_as
from chartgate.store.embedded_binaries import major_version
from chartgate.store.embedded_failures import failure_of
from chartgate.store.embedded_place import LOGGER, Place

SUPERUSER = "postgres"
APPLICATION = "chartgate"  # role and database
PROGRESS_AFTER_S = 2.0
BUILTIN_LOCALE_SINCE = 17


def ensure_cluster(place: Place, *, programs: Path, account: Account) -> None:
    """Makes the cluster unless there is one that these programs can run. Raises ConfigError."""
    version = major_version(programs, account)
    if place.cluster.exists():
        _check_cluster(place, version)
        return
    with _progress("making an empty database"), _staging(place) as staging:
        _make_cluster(staging, place, programs=programs, version=version)
        for path in _files_below(staging):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
        (staging / "cluster").rename(place.cluster)
        _sync_folder(place.folder)


@contextmanager
def _staging(place: Place) -> Iterator[Path]:
    for left in place.folder.glob("new-*"):  # of a start that was killed
        shutil.rmtree(left, ignore_errors=True)  # its initdb may be writing its last
    try:
        staging = Path(tempfile.mkdtemp(prefix="new-", dir=place.folder))
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise failure_of(str(error), place.folder) from error


def _make_cluster(staging: Path, place: Place, *, programs: Path, version: int) -> None:
    maker = naming_account()
    passwords = {SUPERUSER: secrets.token_urlsafe(24), APPLICATION: secrets.token_urlsafe(24)}
    _write_passwords(place, passwords)
    (staging / "password").write_text(passwords[SUPERUSER], encoding="ascii")
    for path in (staging / "password", staging):
        os.chown(path, maker.uid, maker.gid)
    options = [*_initdb_options(version), f"--pwfile={staging / 'password'}"]
    _check(run_as(maker, [programs / "initdb", "-D", staging / "cluster", *options]), place)
    single: list[str | Path] = [programs / "postgres", "--single", "-D", staging / "cluster"]
    _check(
        run_as(
            maker,
            [*single, "-c", "exit_on_error=on", *_cheap_scram(version), SUPERUSER],
            script=f"CREATE ROLE {APPLICATION} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB "
            f"NOCREATEROLE PASSWORD '{passwords[APPLICATION]}'\n"
            f"CREATE DATABASE {APPLICATION} OWNER {APPLICATION}\n",
        ),
        place,
    )


def _initdb_options(version: int) -> list[str]:
    """Sorting by code point everywhere: no text index ever breaks with the system's libc."""
    locale = ["--locale=C"]
    if version >= BUILTIN_LOCALE_SINCE:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    options = ["--encoding=UTF8", "--data-checksums", "--auth=scram-sha-256"]
    return [*options, *locale, *_cheap_scram(version), f"--username={SUPERUSER}"]


def _cheap_scram(version: int) -> list[str]:
    """Rounds slow down the guessing of a password; 192 random bits are not guessed."""
    return ["-c", "scram_iterations=1"] if version >= 16 else []


def _check_cluster(place: Place, version: int) -> None:
    try:
        made_by = int((place.cluster / "PG_VERSION").read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the database in {place.cluster} is damaged: its PG_VERSION cannot be read; "
            "restore it from a backup (nothing was changed)"
        ) from error
    if made_by != version:
        raise ConfigError(
            f"the database in {place.cluster} was made by PostgreSQL {made_by}, and the programs "
            f"are of {version}; set [store] postgres_bin to those of {made_by}, or run pg_upgrade"
        )
    if not place.passwords.is_file():
        raise ConfigError(
            f"{place.passwords} is missing; restore it from the backup of {place.folder}"
        )


def _write_passwords(place: Place, passwords: dict[str, str]) -> None:
    """Source of the format: https://www.postgresql.org/docs/18/libpq-pgpass.html"""
    place.passwords.unlink(missing_ok=True)  # of a start that was killed
    handle = os.open(place.passwords, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.writelines(f"*:*:*:{role}:{password}\n" for role, password in passwords.items())
        file.flush()
        os.fsync(file.fileno())


def _check(answer: subprocess.CompletedProcess[str], place: Place) -> None:
    if answer.returncode != 0:
        raise failure_of(answer.stderr + answer.stdout, place.folder)


def _files_below(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(root, name)


def _sync_folder(folder: Path) -> None:
    """A rename is only safe from a power cut when its folder is on disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _progress(what: str) -> Iterator[None]:
    """Says what takes so long, if it does."""
    timer = threading.Timer(PROGRESS_AFTER_S, LOGGER.warning, ["%s …", what])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
