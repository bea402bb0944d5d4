"""What the tests of the edge share: a gateway that listens on a socket."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chartgate.config import WebConfig
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import TestGate, open_test_gate
from tests.web.front_desk import FrontDesk, open_front_desk
from tests.web.serving import Served, serve

SLOT = {
    "resourceType": "Slot",
    "id": "12",
    "schedule": {"reference": "Schedule/1"},
    "status": "free",
    "start": "2026-03-03T09:00:00Z",
    "end": "2026-03-03T09:30:00Z",
}
PATIENT = {"resourceType": "Patient", "id": "7", "name": [{"family": "Canary"}]}


@pytest.fixture
def web_config() -> WebConfig:
    """Override it to set other limits."""
    return WebConfig(body_timeout_s=0.3)


@pytest.fixture
async def test_gate(
    database: Database, clock: FakeClock, tmp_path: Path, web_config: WebConfig
) -> AsyncIterator[TestGate]:
    async with open_test_gate(database, folder=tmp_path, clock=clock, web=web_config) as opened:
        opened.source.put(SLOT)
        opened.source.put(PATIENT)
        yield opened


@pytest.fixture
async def served(test_gate: TestGate) -> AsyncIterator[Served]:
    async with serve(test_gate) as running:
        yield running


@pytest.fixture
async def desk(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[FrontDesk]:
    """The sample hospital with the whole gateway before it."""
    async with open_front_desk(database, clock, tmp_path) as opened:
        yield opened
