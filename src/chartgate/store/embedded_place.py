"""Where PostgreSQL of our own keeps its files, and who may use them now.

DATA_DIR/postgres.lock     held while a Chartgate runs on this data directory
DATA_DIR/postgres/         the place; a symlink when the server's uid cannot reach DATA_DIR
    cluster/               the database's files, owned by the server's uid
    socket/                its socket; a symlink to a short path when this one is too long
    passwords              libpq's password file, ours alone
    log                    what the server said; holds no statement and no value
    lock                   held too: copies of a symlink lead to one place
"""

import fcntl
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chartgate.errors import ConfigError, Unavailable
from chartgate.store.embedded_account import Account, can_pass, server_account
from chartgate.store.embedded_binaries import make_folder, system_folder

LOGGER = logging.getLogger(__name__)

LINK = "postgres"
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_BYTES_MAX = 100  # Linux allows 107, others 103
SOCKET_PATH_SAFE = re.compile(r"[\w./+-]+", re.ASCII)  # a URL lists hosts with commas
SHORT_FOLDERS = ("/tmp", "/var/tmp")


@dataclass(frozen=True, kw_only=True)
class Place:
    """The files of one cluster. `folder` has no symlink in it."""

    folder: Path

    @property
    def cluster(self) -> Path:
        """PostgreSQL's data directory."""
        return self.folder / "cluster"

    @property
    def passwords(self) -> Path:
        """Password file of both roles."""
        return self.folder / "passwords"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.folder / "log"


def find_place(data_dir: Path) -> Place | None:
    """The place that a data directory already has."""
    link = data_dir / LINK
    return Place(folder=link.resolve()) if link.is_dir() else None


def open_place(data_dir: Path) -> Place:
    """The place of a data directory, made when missing. Raises ConfigError."""
    link = data_dir / LINK
    if link.is_symlink() and not link.is_dir():
        raise ConfigError(
            f"{link} points to {os.readlink(link)}, which is gone; bring it back, or remove "
            "the symlink to start with an empty database"
        )
    try:
        if not link.is_dir():
            _make_place(link)
    except OSError as error:
        raise ConfigError(f"{link} cannot be made: {error.strerror}") from error
    return Place(folder=link.resolve())


def open_data_dir(data_dir: Path) -> Path:
    """The data directory, made when missing: absolute, ours to write. Raises ConfigError."""
    try:
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        make_folder(data_dir, _folder_mode())
        found = data_dir.stat()
    except OSError as error:
        raise ConfigError(f"data_dir {data_dir} cannot be made: {error.strerror}") from error
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise ConfigError(f"data_dir {data_dir} cannot be written by uid {os.geteuid()}")
    if found.st_mode & 0o002:
        raise ConfigError(
            f"data_dir {data_dir} can be written by everyone; run `chmod o-w {data_dir}`"
        )
    return data_dir.resolve()


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Holds a lock that ends with this process. Raises Unavailable when another has it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(file, flags, 0o600)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error
    try:
        _take(handle, file)
        yield
    finally:
        os.close(handle)


def socket_folder(place: Place, account: Account) -> Path:
    """A folder for the socket that only the server's uid (and root) may enter.

    A path that is too long for a socket is stood in for by a short one; it is remembered, so
    that the address stays the same over restarts.
    """
    link = place.folder / "socket"
    if link.is_dir() and _is_private(link.resolve(), account):
        return link.resolve()
    if link.is_symlink():
        link.unlink()
    if _fits_socket(link):
        link.mkdir(exist_ok=True)
        _make_private(link, account)
        return link
    short = Path(tempfile.mkdtemp(prefix="chartgate-", dir=_short_parent()))
    _make_private(short, account)
    link.symlink_to(short)
    return short


def remove_place(data_dir: Path) -> None:
    """Removes the database of a data directory for good. Raises Unavailable while it runs."""
    place = find_place(data_dir)
    if place is None:
        return
    with locked(data_dir / "postgres.lock"), locked(place.folder / "lock"):
        socket = (place.folder / "socket").resolve()
        if not socket.is_relative_to(place.folder):
            shutil.rmtree(socket, ignore_errors=True)
        shutil.rmtree(place.folder)
        (data_dir / LINK).unlink(missing_ok=True)


def _make_place(link: Path) -> None:
    """In the data directory where the server's uid can reach it, else in the system's folder."""
    if can_pass(server_account(), link.parent):
        make_folder(link, _folder_mode())
        return
    outside = system_folder() / "clusters"
    make_folder(outside, _folder_mode())
    folder = Path(tempfile.mkdtemp(prefix=f"{link.parent.name}-", dir=outside))
    folder.chmod(_folder_mode())
    link.symlink_to(folder)
    LOGGER.warning(
        "the database is kept in %s, because PostgreSQL's uid cannot enter %s", folder, link.parent
    )


def _folder_mode() -> int:
    """Root's folders let the server's uid walk through to what is its own, and see nothing."""
    return 0o711 if os.geteuid() == 0 else 0o700


def _take(handle: int, file: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
        raise Unavailable(
            f"another Chartgate (process {holder}) runs on this data directory "
            f"({file.parent}); stop it, or point data_dir elsewhere"
        ) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)


def _fits_socket(folder: Path) -> bool:
    path = f"{folder}/{SOCKET_NAME}"
    return len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX and bool(
        SOCKET_PATH_SAFE.fullmatch(path)
    )


def _short_parent() -> str:
    folders = [tempfile.gettempdir(), *SHORT_FOLDERS]
    usable = [f for f in folders if _fits_socket(Path(f, "chartgate-12345678"))]
    return next(f for f in usable if os.access(f, os.W_OK | os.X_OK))


def _make_private(folder: Path, account: Account) -> None:
    folder.chmod(0o700)
    if not account.is_ours:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)


def _is_private(folder: Path, account: Account) -> bool:
    found = folder.stat()
    return found.st_uid == account.uid and not found.st_mode & 0o077 and _fits_socket(folder)
