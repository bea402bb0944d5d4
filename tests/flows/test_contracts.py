"""A contract that ends is told once, and what was decided before is decided anew."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.config import VendorConfig
from chartgate.flows.contracts import ContractWatch
from chartgate.gate import Gate
from chartgate.store.database import Database
from chartgate.store.governance import current_epoch
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import open_test_gate


@pytest.fixture
async def gate(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Gate]:
    async with open_test_gate(database, folder=tmp_path, clock=clock) as opened:
        vendors = {
            "acme": VendorConfig(
                name="acme", contract="BAA-1", until=clock().date() + timedelta(31)
            ),
            "us": VendorConfig(name="us", contract="own"),
        }
        object.__setattr__(opened.gate.config, "vendors", vendors)
        object.__setattr__(opened.gate.config, "production", True)
        yield opened.gate


async def told(database: Database) -> list[dict[str, Any]]:
    rows = await database.fetch("SELECT body FROM audit_event WHERE tenant = $1 ORDER BY id")
    return [orjson.loads(row["body"]) for row in rows]


async def test_end_of_a_contract_is_told_once_before_and_once_after(
    gate: Gate, database: Database, clock: FakeClock
) -> None:
    watch = ContractWatch(gate)
    assert await watch.tell_next() == 0
    clock.advance(86_400)
    assert [await watch.tell_next() for _ in range(3)] == [1, 0, 0]
    assert await current_epoch(database) == 0
    clock.advance(31 * 86_400)
    assert [await watch.tell_next() for _ in range(3)] == [1, 0, 0]
    assert await current_epoch(database) > 0
    soon, ended = await told(database)
    assert (soon["outcome"], soon["reason"]) == ("success", "ends soon")
    assert (ended["outcome"], ended["reason"]) == ("denied", "ended")
    assert ended["details"] == {"vendor": "acme", "contract": "BAA-1"}


async def test_outside_of_production_nothing_is_told(
    gate: Gate, database: Database, clock: FakeClock
) -> None:
    object.__setattr__(gate.config, "production", False)
    clock.advance(40 * 86_400)
    assert await ContractWatch(gate).tell_next() == 0
    assert await told(database) == []
