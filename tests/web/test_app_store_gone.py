"""The store hangs, dies and comes back while the gateway runs."""

import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from chartgate.store.database import open_database
from chartgate.store.embedded import EmbeddedServer, start_embedded
from chartgate.store.migrate import migrate
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import open_test_gate
from tests.conftest import MASTERS
from tests.web.conftest import PATIENT, SLOT
from tests.web.serving import Served, serve

pytestmark = pytest.mark.slow


@pytest.fixture
def own_postgres(open_folder: Path) -> Iterator[EmbeddedServer]:
    """A server that this test may kill."""
    server = start_embedded(open_folder / "own")
    yield server
    server.stop()


@pytest.fixture
async def served_on_it(
    own_postgres: EmbeddedServer, clock: FakeClock, tmp_path: Path
) -> AsyncIterator[Served]:
    await migrate(own_postgres.url)
    database = await open_database(own_postgres.url, tenant="main", masters=MASTERS)
    async with open_test_gate(database, folder=tmp_path, clock=clock) as opened:
        for resource in (SLOT, PATIENT):
            opened.source.put(resource)
        async with serve(opened) as served:
            yield served
    await database.close()


@contextmanager
def stopped(server: EmbeddedServer) -> Iterator[None]:
    """All processes of the server stand still, and answer nothing."""
    postmaster = psutil.Process(server.pid)
    everyone = [postmaster, *postmaster.children(recursive=True)]
    for process in everyone:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in everyone:
            os.kill(process.pid, signal.SIGCONT)


async def read(served: Served, headers: dict[str, str]) -> tuple[int, str, float]:
    started = time.monotonic()
    url = f"{served.url}/fhir/north-clinic/Patient/7"
    async with served.http.get(url, headers=headers) as answer:
        return answer.status, await answer.text(), time.monotonic() - started


async def until_answered(served: Served, headers: dict[str, str]) -> None:
    deadline = time.monotonic() + 20
    while (await read(served, headers))[0] != 200:
        assert time.monotonic() < deadline, "it did not recover by itself"


async def until_refused(served: Served, headers: dict[str, str]) -> None:
    """A backend may still answer for a moment after its postmaster was killed."""
    deadline = time.monotonic() + 20
    status = 200
    while status != 503:
        assert time.monotonic() < deadline, "the store was killed, and nobody noticed"
        status, _, took = await read(served, headers)
        assert took < 2.5


async def test_store_that_hangs_or_dies_is_a_503_within_two_seconds_and_recovers(
    own_postgres: EmbeddedServer, served_on_it: Served, clock: FakeClock
) -> None:
    headers = await served_on_it.bearer()
    assert (await read(served_on_it, headers))[0] == 200
    with stopped(own_postgres):
        for seconds in (0, 2):  # with the token known, and with the token to be looked up
            clock.advance(seconds)
            status, body, took = await read(served_on_it, headers)
            assert (status, took < 2.5) == (503, True), (status, took)
            assert "try again" in body
            assert "Canary" not in body
    await until_answered(served_on_it, headers)
    os.kill(own_postgres.pid, signal.SIGKILL)
    await until_refused(served_on_it, headers)
    own_postgres.restart()
    await until_answered(served_on_it, headers)
