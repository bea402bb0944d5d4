"""What the walks' tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import Clinic, open_clinic


@pytest.fixture
async def clinic(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Clinic]:
    """The sample hospital with a gate on it."""
    async with open_clinic(database, clock, tmp_path) as opened:
        yield opened
