"""The campaign of late requests, at a small size; and that it finds an EHR that lets one in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import late_apply, ward
from chartgate.store.database import Database

pytestmark = pytest.mark.slow


async def test_request_that_was_held_is_refused_after_the_second_try_and_after_the_rollback(
    database: Database, tmp_path: Path
) -> None:
    result = await late_apply.run(database, tmp_path, 18, seed=1)
    assert result["held"], result["examples"]
    assert result["refused"] == 18
    assert {kind.partition(" ")[2] for kind in result["by_kind"]} == set(late_apply.WHEN)


async def test_system_that_ignores_preconditions_is_found(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def careless(*given: Any, **named: Any) -> AsyncIterator[ward.Ward]:
        async with ward.open_ward(*given, **named) as opened:
            opened.hospital.faults.switch("ignore_if_match", True)
            opened.hospital.faults.switch("ignore_if_none_exist", True)
            yield opened

    monkeypatch.setattr(late_apply, "open_ward", careless)
    result = await late_apply.run(database, tmp_path, 6, seed=1)
    assert not result["held"]
    assert any("the late request had" in example for example in result["examples"])
