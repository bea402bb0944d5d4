"""PostgreSQL of our own: it starts, is alone, is closed to others, and keeps what it said."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from chartgate.errors import ConfigError, Unavailable
from chartgate.store.embedded import EmbeddedServer, running_url, start_embedded
from chartgate.store.embedded_account import Account, naming_account, run_as
from chartgate.store.embedded_orphans import processes_in
from chartgate.store.embedded_place import Place, find_place, remove_place

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
AS_USER = pytest.mark.skipif(os.geteuid() == 0, reason="needs an ordinary user")


@pytest.fixture
def data_dir(open_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A data directory of the test's own, with what lies outside it removed at the end."""
    folder = open_folder / f"data-{abs(hash(request.node.name)) % 10**6}"
    yield folder
    if folder.is_dir():
        remove_place(folder)


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedServer]:
    """A server that may be killed."""
    running = start_embedded(data_dir)
    yield running
    running.stop()


@pytest.fixture
def shared_dir(postgres: EmbeddedServer, open_folder: Path) -> Path:
    """The data directory of the run's own server: to look at, not to change."""
    return open_folder / "data"


def place_of(data_dir: Path) -> Place:
    place = find_place(data_dir)
    assert place is not None
    return place


async def ask(url: str, query: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_the_application_role_owns_its_database_and_nothing_more(
    postgres: EmbeddedServer,
) -> None:
    powers = "rolsuper OR rolbypassrls OR rolcreatedb OR rolcreaterole OR rolreplication"
    query = f"SELECT {powers} FROM pg_roles WHERE rolname = current_user"  # noqa: S608
    assert await ask(postgres.url, query) is False
    assert await ask(postgres.admin_url, query) is True
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    assert await ask(postgres.url, owner) == "chartgate"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
    ],
)
async def test_a_setting_is_as_promised(postgres: EmbeddedServer, setting: str, value: str) -> None:
    assert await ask(postgres.url, f"SELECT current_setting('{setting}')") == value


async def test_a_setting_in_a_file_does_not_weaken_durability(
    data_dir: Path, server: EmbeddedServer
) -> None:
    """The command line goes before ALTER SYSTEM."""
    connection = await asyncpg.connect(server.admin_url)
    await connection.execute("ALTER SYSTEM SET fsync = off")
    await connection.close()
    server.stop()
    again = start_embedded(data_dir)
    try:
        assert await ask(again.url, "SELECT current_setting('fsync')") == "on"
    finally:
        again.stop()


def test_the_files_are_closed_to_every_other_user(shared_dir: Path) -> None:
    place = place_of(shared_dir)
    for path in (place.cluster, place.folder / "socket"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (place.passwords, place.log):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_uid == os.geteuid()


@AS_ROOT
def test_another_user_cannot_reach_the_socket(shared_dir: Path) -> None:
    socket = place_of(shared_dir).folder / "socket"
    assert run_as(Account(uid=0, gid=0), ["/bin/ls", socket / ".s.PGSQL.5432"]).returncode == 0
    assert run_as(naming_account(), ["/bin/ls", socket / ".s.PGSQL.5432"]).returncode != 0


@AS_ROOT
def test_as_root_the_server_runs_under_a_uid_without_a_name(postgres: EmbeddedServer) -> None:
    status = Path(f"/proc/{postgres.pid}/status").read_text(encoding="ascii")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert len(set(fields["Uid"].split())) == 1
    uid = int(fields["Uid"].split()[0])
    assert uid not in (0, naming_account().uid)
    assert fields["Groups"].strip() == ""


def test_the_password_is_in_no_url_and_no_command_line(
    shared_dir: Path, postgres: EmbeddedServer
) -> None:
    command = Path(f"/proc/{postgres.pid}/cmdline").read_text(encoding="utf-8")
    for line in place_of(shared_dir).passwords.read_text(encoding="ascii").splitlines():
        password = line.rsplit(":", 1)[1]
        assert len(password) >= 32
        assert password not in postgres.url + postgres.admin_url + command


async def test_the_log_when_a_statement_fails_holds_neither_it_nor_its_values(
    shared_dir: Path, postgres: EmbeddedServer
) -> None:
    connection = await asyncpg.connect(postgres.url)
    await connection.execute("CREATE TEMPORARY TABLE held (name text PRIMARY KEY)")
    await connection.execute("INSERT INTO held VALUES ('Quillfeather')")
    with pytest.raises(asyncpg.UniqueViolationError, match="held_pkey"):
        await connection.execute("INSERT INTO held VALUES ('Quillfeather')")
    with pytest.raises(asyncpg.DataError):
        await connection.execute("SELECT 'Quillfeather'::integer")
    await connection.close()
    assert "Quillfeather" not in place_of(shared_dir).log.read_text(encoding="utf-8")


async def test_started_again_it_has_what_was_committed(
    data_dir: Path, server: EmbeddedServer
) -> None:
    await ask(server.url, "CREATE TABLE kept AS SELECT 7 AS n")
    url = server.url
    server.stop()
    server.stop()  # twice does no harm
    assert not server.is_alive()
    again = start_embedded(data_dir)
    try:
        assert again.url == url
        assert await ask(again.url, "SELECT n FROM kept") == 7
    finally:
        again.stop()


def test_a_second_start_on_a_data_directory_is_refused_with_what_to_do(
    shared_dir: Path, postgres: EmbeddedServer
) -> None:
    sentence = rf"another Chartgate \(process {os.getpid()}\) runs on this data directory"
    with pytest.raises(Unavailable, match=sentence):
        start_embedded(shared_dir)
    assert postgres.is_alive()


async def test_it_outlives_the_thread_that_started_it(data_dir: Path) -> None:
    """The kernel's death signal is bound to a thread; a worker thread may end at any time."""
    started: list[EmbeddedServer] = []
    thread = threading.Thread(target=lambda: started.append(start_embedded(data_dir)))
    thread.start()
    thread.join()
    try:
        assert await ask(started[0].url, "SELECT 1") == 1
        assert started[0].is_alive()
    finally:
        started[0].stop()


async def test_a_long_path_gets_a_short_socket_that_stays_the_same(open_folder: Path) -> None:
    data_dir = open_folder / ("long-" + "x" * 120) / "a, b: c%20d"
    server = start_embedded(data_dir)
    url = server.url
    try:
        assert await ask(url, "SELECT 1") == 1
        assert running_url(data_dir) == url
        server.stop()
        server = start_embedded(data_dir)
        assert server.url == url
    finally:
        server.stop()
        remove_place(data_dir)


def test_running_url_is_known_only_while_it_runs(data_dir: Path) -> None:
    assert running_url(data_dir) is None
    server = start_embedded(data_dir)
    assert running_url(data_dir) == server.url
    server.stop()
    assert running_url(data_dir) is None


def test_ctrl_c_in_the_terminal_is_not_sent_to_the_server(postgres: EmbeddedServer) -> None:
    """Chartgate ends it in order, after what is under way; a terminal signals a whole session."""
    assert os.getsid(postgres.pid) == postgres.pid != os.getsid(0)


@AS_ROOT
def test_a_data_directory_that_the_uid_cannot_enter_points_outside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o700)
    data_dir = tmp_path / "data"
    server = start_embedded(data_dir)
    try:
        place = place_of(data_dir)
        assert (data_dir / "postgres").is_symlink()
        assert not place.folder.is_relative_to(tmp_path)
        assert "the database is kept in" in caplog.text
        assert place.folder.stat().st_uid == 0
    finally:
        server.stop()
        remove_place(data_dir)
    assert not place.folder.exists()
    assert not (data_dir / "postgres").is_symlink()


@AS_ROOT
def test_a_copied_data_directory_does_not_start_a_second_server(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    first, second = tmp_path / "first", tmp_path / "second"
    server = start_embedded(first)
    try:
        second.mkdir()
        (second / "postgres").symlink_to(os.readlink(first / "postgres"))
        with pytest.raises(Unavailable, match="another Chartgate"):
            start_embedded(second)
    finally:
        server.stop()
        remove_place(first)


def test_what_is_left_of_a_start_that_was_killed_is_cleared(data_dir: Path) -> None:
    place = data_dir / "postgres"
    (place / "new-abc" / "cluster").mkdir(parents=True)
    for folder in (data_dir, place):
        folder.chmod(0o711)
    (place / "passwords").write_text("half", encoding="ascii")
    server = start_embedded(data_dir)
    server.stop()
    assert not (place / "new-abc").exists()


def test_a_damaged_database_is_refused_and_left_alone(data_dir: Path) -> None:
    start_embedded(data_dir).stop()
    control = place_of(data_dir).cluster / "global" / "pg_control"
    control.write_bytes(b"\0" * control.stat().st_size)
    with pytest.raises(ConfigError, match="is damaged; restore it from a backup"):
        start_embedded(data_dir)
    (place_of(data_dir).cluster / "PG_VERSION").unlink()
    with pytest.raises(ConfigError, match="PG_VERSION cannot be read"):
        start_embedded(data_dir)
    assert control.exists()


def test_a_database_without_its_passwords_says_what_to_restore(data_dir: Path) -> None:
    start_embedded(data_dir).stop()
    place_of(data_dir).passwords.unlink()
    with pytest.raises(ConfigError, match="passwords is missing; restore it"):
        start_embedded(data_dir)


def test_a_database_of_another_version_is_refused(data_dir: Path) -> None:
    start_embedded(data_dir).stop()
    version = place_of(data_dir).cluster / "PG_VERSION"
    version.write_text("15\n", encoding="ascii")
    with pytest.raises(ConfigError, match="made by PostgreSQL 15, and the programs are of 18"):
        start_embedded(data_dir)


def test_a_symlink_to_nothing_says_what_to_do(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "postgres").symlink_to("gone")
    with pytest.raises(ConfigError, match="which is gone; bring it back, or remove"):
        start_embedded(data_dir)
    (data_dir / "postgres").unlink()


def test_a_data_dir_that_is_a_file_is_refused(open_folder: Path) -> None:
    file = open_folder / "a-file"
    file.touch()
    with pytest.raises(ConfigError, match="cannot be"):
        start_embedded(file)
    with pytest.raises(ConfigError, match="cannot be made"):
        start_embedded(file / "below")


def test_a_data_dir_that_everyone_can_write_is_refused(data_dir: Path) -> None:
    data_dir.mkdir()
    data_dir.chmod(0o777)
    with pytest.raises(ConfigError, match="run `chmod o-w"):
        start_embedded(data_dir)


@AS_USER
def test_a_data_dir_that_we_cannot_write_is_refused(data_dir: Path) -> None:
    data_dir.mkdir()
    data_dir.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be written"):
        start_embedded(data_dir)
    data_dir.chmod(0o700)


def test_nothing_runs_after_a_start_that_failed(data_dir: Path) -> None:
    start_embedded(data_dir).stop()
    cluster = place_of(data_dir).cluster
    (cluster / "pg_hba.conf").write_text("nonsense here\n", encoding="ascii")
    with pytest.raises(Unavailable, match="PostgreSQL does not start"):
        start_embedded(data_dir)
    assert processes_in(cluster) == []
