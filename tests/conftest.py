"""What most tests share: one real PostgreSQL, a database of its own for each test, a clock."""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from chartgate.store import origin
from chartgate.store.database import Database, open_database
from chartgate.store.embedded import EmbeddedServer, start_embedded
from chartgate.store.migrate import migrate
from chartgate.store.vault_keys import MasterKeys
from chartgate.testing.clock import FakeClock
from tests.emitted import Emitted

TENANT = "main"
MASTER_SECRET = b"a master key for tests, 32 bytes"  # the same for every opened store
MASTERS = MasterKeys.of(MASTER_SECRET)
NUMBERS = itertools.count(1)
MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 4_000_000_000  # for each worker's server, its log and its databases


def at_database(url: str, database: str) -> str:
    """The same server and role, another database."""
    return urlsplit(url)._replace(path=f"/{database}").geturl()


EMITTED = Emitted()

# A busy machine is no fault of what is tested: speed is measured by benchmarks, not by tests.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


@pytest.fixture(autouse=True)
def _emitted_events_hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every audit event that is emitted in this process is one that the profiles allow."""
    monkeypatch.setattr(origin, "leaf_bytes", EMITTED.leaf_bytes)
    yield
    wrong, EMITTED.wrong = EMITTED.wrong, []
    assert not wrong


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A short-named folder that PostgreSQL's uid can reach: pytest's own are closed to it. In
    memory where there is room: a database for each test is ten times sooner made and dropped."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES_MIN
    folder = Path(tempfile.mkdtemp(prefix="cg-", dir=MEMORY if roomy else None))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mount_disk(open_folder: Path) -> Iterator[Callable[[int], Path]]:
    """A way to get a disk of that many MB, for a test of what happens when it is full."""
    mounted: list[Path] = []

    def mount(megabytes: int) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="disk-", dir=open_folder))
        rights = f"size={megabytes}m,mode=0711"
        command = ["mount", "-t", "tmpfs", "-o", rights, "tmpfs", str(folder)]
        tried = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False)
        if not tried or tried.returncode:
            pytest.skip("needs the right to mount")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def postgres(open_folder: Path) -> Iterator[EmbeddedServer]:
    """The server of the whole run."""
    server = start_embedded(open_folder / "data")
    yield server
    server.stop()


@pytest.fixture(scope="session")
async def postgres_admin(postgres: EmbeddedServer) -> AsyncIterator[Any]:
    """The superuser's connection, for making databases."""
    connection = await asyncpg.connect(postgres.admin_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
async def template(postgres: EmbeddedServer, postgres_admin: Any) -> str:
    """A migrated database that nobody is connected to."""
    await postgres_admin.execute("CREATE DATABASE template_chartgate OWNER chartgate")
    await migrate(at_database(postgres.url, "template_chartgate"))
    return "template_chartgate"


@pytest.fixture
async def database_url(
    postgres: EmbeddedServer, postgres_admin: Any, template: str
) -> AsyncIterator[str]:
    """URL, as the application's role, of a migrated database that is this test's alone."""
    name = f"test_{next(NUMBERS)}"
    await postgres_admin.execute(
        f"CREATE DATABASE {name} TEMPLATE {template} OWNER chartgate STRATEGY file_copy"
    )
    yield at_database(postgres.url, name)
    await postgres_admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A test's own database, opened for the tenant `main`."""
    opened = await open_database(database_url, tenant=TENANT, masters=MASTERS)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still until the test moves it."""
    return FakeClock()
