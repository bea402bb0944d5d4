"""The uid that PostgreSQL of our own runs under, and how a program is run as it.

An ordinary user runs it as itself. PostgreSQL refuses root, so root runs it under another uid,
and no account is added to the system for that. The server itself never looks its uid up, so it
gets a bare number of its own: data that belonged to `nobody` could be read by every other
service that runs as `nobody`. Only initdb and the single-user mode need an account that has a
name; they borrow one for the second in which an empty cluster is made (embedded_cluster.py).
"""

import grp
import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chartgate.errors import ConfigError

# Neither regular accounts, nor systemd's dynamic ones (61184 to 65519), nor container ranges.
# Source: https://systemd.io/UIDS-GIDS/
BARE_UIDS = range(61100, 61184)
NAMED_ACCOUNT = "nobody"
ENVIRONMENT: Mapping[str, str] = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}  # no PG* of the caller
COMMAND_TIMEOUT_S = 300.0  # an initdb on the slowest disk


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who a program runs as."""

    uid: int
    gid: int

    @property
    def is_ours(self) -> bool:
        """Whether it is the one that this process runs as."""
        return self.uid == os.geteuid()


def own_account() -> Account:
    """The account of this process."""
    return Account(uid=os.geteuid(), gid=os.getegid())


def server_account() -> Account:
    """The account for a new cluster: our own, or as root a bare uid that nobody has."""
    if os.geteuid() != 0:
        return own_account()
    free = next(n for n in BARE_UIDS if not _has_name(n))
    return Account(uid=free, gid=free)


def naming_account() -> Account:
    """The account for programs that look their own name up. Raises ConfigError."""
    if os.geteuid() != 0:
        return own_account()
    accounts = sorted(pwd.getpwall(), key=lambda a: a.pw_name != NAMED_ACCOUNT)
    for account in accounts:
        if account.pw_uid != 0:
            return Account(uid=account.pw_uid, gid=account.pw_gid)
    raise ConfigError(
        "PostgreSQL does not run as root, and this system has no other account to make its "
        "files with; start Chartgate as an ordinary user, or set [store] database_url"
    )


def owner_of(path: Path) -> Account:
    """The account that owns an existing cluster. Raises ConfigError when it cannot be used."""
    found = path.stat()
    if found.st_uid == 0:
        raise ConfigError(
            f"{path} belongs to root, and PostgreSQL does not run as root; "
            "give the folder back to the account that made it"
        )
    if os.geteuid() not in (0, found.st_uid):
        raise ConfigError(
            f"{path} belongs to uid {found.st_uid}, not to you (uid {os.geteuid()}); start "
            "Chartgate as the user that made it, or point data_dir elsewhere"
        )
    return Account(uid=found.st_uid, gid=found.st_gid)


def run_as(
    account: Account, command: Sequence[str | Path], *, script: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a short program to its end, with `script` on its input. Raises ConfigError.

    As root the group list is emptied, so that nothing of root's groups is left to it.
    """
    other = {} if account.is_ours else {"user": account.uid, "group": account.gid}
    try:
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            [str(part) for part in command],
            input=script or "",
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            env=dict(ENVIRONMENT),
            timeout=COMMAND_TIMEOUT_S,
            extra_groups=[] if other else None,
            **other,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{command[0]} did not end within {COMMAND_TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise ConfigError(
            f"{command[0]} cannot be run as uid {account.uid}: {error.strerror}; "
            "start Chartgate as an ordinary user, or set [store] database_url"
        ) from error


def can_pass(account: Account, path: Path) -> bool:
    """Whether the account may walk through `path` and every folder above it."""
    return all(_may_enter(account, folder) for folder in (path, *path.parents))


def _may_enter(account: Account, folder: Path) -> bool:
    found = folder.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & 0o100)
    if found.st_gid == account.gid:
        return bool(found.st_mode & 0o010)
    return bool(found.st_mode & 0o001)


def _has_name(number: int) -> bool:
    for look_up in (pwd.getpwuid, grp.getgrgid):
        try:
            look_up(number)
        except KeyError:
            continue
        return True
    return False
