"""PostgreSQL of our own, for when no database_url is set.

The programs come from a wheel; this is their supervisor. The server listens on a unix socket
only, in a folder that no other user can enter, and asks for a password besides. It ends with
the process that started it, however that ends. One server runs on a data directory.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from chartgate.errors import ChartgateError, Unavailable
from chartgate.store.embedded_account import ENVIRONMENT, Account, owner_of, server_account
from chartgate.store.embedded_binaries import find_programs
from chartgate.store.embedded_cluster import APPLICATION, SUPERUSER, ensure_cluster
from chartgate.store.embedded_failures import failure_of
from chartgate.store.embedded_orphans import end_orphans, wait_until
from chartgate.store.embedded_place import (
    Place,
    find_place,
    locked,
    open_data_dir,
    open_place,
    socket_folder,
)

LAUNCHER = Path(__file__).with_name("embedded_launch.py")
START_TIMEOUT_S = 600.0  # recovery after a crash reads max_wal_size at most
LOG_BYTES_MAX = 10_000_000  # older lines are dropped at a start
STOP_STEPS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))

# Given on the command line: nothing in a file or in ALTER SYSTEM overrides it.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    # Promises: what is acknowledged is on disk.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    # Room: the working set of one machine, beside a gateway and the page cache.
    "shared_buffers": "256MB",
    "effective_cache_size": "2GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    # Fewer checkpoints: after each, the first change of a page writes the whole page again.
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "wal_compression": "on",
    "jit": "off",  # compiling costs more than our short statements
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The log may not hold patient data: statements, values and details stay out of it.
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}


class EmbeddedServer:
    """A running PostgreSQL. `url` is for Chartgate, `admin_url` for its superuser."""

    def __init__(self, place: Place, *, programs: Path, account: Account, held: ExitStack) -> None:
        self._place = place
        self._programs = programs
        self._account = account
        self._held = held  # the locks
        self._socket = socket_folder(place, account)
        self._life = threading.Lock()  # one start, stop or restart at a time
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()

    @property
    def url(self) -> str:
        """URL of the application's role and database. Holds no secret."""
        return _url(self._place, self._socket, role=APPLICATION, database=APPLICATION)

    @property
    def admin_url(self) -> str:
        """URL of the superuser, on database `postgres`. Holds no secret."""
        return _url(self._place, self._socket, role=SUPERUSER, database="postgres")

    @property
    def pid(self) -> int:
        """Process id of the server now; a restart changes it."""
        assert self._process is not None
        return self._process.pid

    @property
    def programs(self) -> Path:
        """The folder of pg_dump and the other programs of this server's version."""
        return self._programs

    def is_alive(self) -> bool:
        """Whether the server's process runs."""
        return self._process is not None and not self._ended.is_set()

    def start(self) -> None:
        """Starts the server and waits until it takes connections. Raises Unavailable."""
        with self._life:
            self._start()

    def restart(self) -> None:
        """Brings a server that was killed back, on the same URL. Raises Unavailable.

        Nothing happens when it is alive.
        """
        with self._life:
            if not self.is_alive():
                self._start()

    def stop(self) -> None:
        """Ends the server: fast, then at once, then by force. Safe to call again."""
        with self._life:
            for told, wait_s in STOP_STEPS:
                if not self.is_alive():
                    break
                self._tell(told)
                self._ended.wait(wait_s)
            end_orphans(self._place.cluster)
            self._held.close()

    def _start(self) -> None:
        end_orphans(self._place.cluster)
        said_from = self._launch()
        ready = wait_until(lambda: self._ended.is_set() or self._is_ready(), START_TIMEOUT_S)
        if self._ended.is_set():
            raise failure_of(_said(self._place, said_from), self._place.cluster)
        if not ready:
            self._tell(signal.SIGQUIT)
            raise Unavailable(
                f"PostgreSQL did not take connections within {START_TIMEOUT_S:.0f} s; "
                f"its log is {self._place.log}"
            )

    def _launch(self) -> int:
        """Starts the process, and returns where in the log its words begin.

        The kernel ends the server when the *thread* that started it ends. So a thread of its
        own starts it and then waits for it, and whoever calls us may come and go.
        """
        self._ended = threading.Event()
        started: queue.Queue[subprocess.Popen[bytes] | OSError] = queue.Queue()
        with _open_log(self._place) as log:
            said_from = log.tell()
            arguments = (self._command(), log, started, self._ended)
            threading.Thread(
                target=_keep, args=arguments, name="embedded-postgres", daemon=True
            ).start()
            outcome = started.get()
        if isinstance(outcome, OSError):
            raise failure_of(str(outcome), self._place.cluster) from outcome
        self._process = outcome
        return said_from

    def _command(self) -> list[str]:
        launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())]
        settings = {**SETTINGS, "unix_socket_directories": str(self._socket)}
        return [
            *launch,
            str(self._account.uid),
            str(self._account.gid),
            str(self._programs / "postgres"),
            "-D",
            str(self._place.cluster),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ]

    def _is_ready(self) -> bool:
        status = _postmaster_file(self._place)
        return len(status) > 7 and status[0] == str(self.pid) and status[7].strip() == "ready"

    def _tell(self, told: signal.Signals) -> None:
        if self._process is not None and not self._ended.is_set():
            self._process.send_signal(told)


def start_embedded(data_dir: Path, *, postgres_bin: str = "") -> EmbeddedServer:
    """Starts PostgreSQL on a data directory, making the database when there is none.

    Raises Unavailable when another Chartgate runs there, the disk is full or an earlier server
    does not end; ConfigError when something must be changed first.
    """
    with ExitStack() as held:
        folder = open_data_dir(data_dir)
        held.enter_context(locked(folder / "postgres.lock"))
        place = open_place(folder)
        held.enter_context(locked(place.folder / "lock"))
        account = owner_of(place.cluster) if place.cluster.exists() else server_account()
        programs = find_programs(postgres_bin, account)
        ensure_cluster(place, programs=programs, account=account)
        server = EmbeddedServer(place, programs=programs, account=account, held=held.pop_all())
    try:
        server.start()
    except ChartgateError:
        server.stop()
        raise
    return server


def running_url(data_dir: Path) -> str | None:
    """The application's URL of the server that runs on a data directory, if one does."""
    place = find_place(data_dir)
    status = _postmaster_file(place) if place else []
    if place is None or len(status) < 8 or status[7].strip() != "ready":
        return None
    try:
        os.kill(int(status[0]), 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it runs, under another uid
    return _url(place, Path(status[4]), role=APPLICATION, database=APPLICATION)


def _keep(
    command: list[str],
    log: BinaryIO,
    started: "queue.Queue[subprocess.Popen[bytes] | OSError]",
    ended: threading.Event,
) -> None:
    """Starts the server and stays until it has ended."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=dict(ENVIRONMENT),
            start_new_session=True,  # Ctrl-C is for Chartgate, which then ends it in order
        )
    except OSError as error:
        started.put(error)
        return
    started.put(process)
    process.wait()
    ended.set()


def _open_log(place: Place) -> BinaryIO:
    """The log, appended to; started afresh when it has grown too long."""
    if place.log.exists() and place.log.stat().st_size > LOG_BYTES_MAX:
        place.log.rename(place.log.with_name("log.1"))
    handle = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    log = os.fdopen(handle, "ab")
    log.seek(0, os.SEEK_END)
    return log


def _said(place: Place, start: int) -> str:
    with place.log.open("rb") as log:
        log.seek(start)
        return log.read().decode("utf-8", "replace")


def _postmaster_file(place: Place) -> list[str]:
    """Lines: pid, data directory, start time, port, socket folder, address, memory, status."""
    try:
        return (place.cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _url(place: Place, socket: Path, *, role: str, database: str) -> str:
    passfile = quote(str(place.passwords), safe="/")
    return f"postgresql://{role}@/{database}?host={quote(str(socket), safe='/')}&port=5432&passfile={passfile}"
