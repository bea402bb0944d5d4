"""The cases of rollbacks, at a small size; and that they find an undoing that looks at nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import rollback_cases, ward
from chartgate.flows import rollbacks
from chartgate.flows.undo_ground import Ground
from chartgate.gate import Gate
from chartgate.model.proposal import Proposal
from chartgate.store.database import Database

pytestmark = pytest.mark.slow


async def test_pre_image_or_refusal_at_once_after_an_edit_twice_and_during_a_crash(
    database: Database, tmp_path: Path
) -> None:
    result = await rollback_cases.run(database, tmp_path, 24, seed=2)
    assert result["held"], result["examples"]
    assert result["outcomes"] == {
        "after-a-foreign-edit: refused": 6,
        "at-once: pre-image": 6,
        "during-a-crash: pre-image": 6,
        "twice: pre-image": 6,
    }


async def test_undoing_that_overwrites_a_later_edit_is_found(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def careless(*given: Any, **named: Any) -> AsyncIterator[ward.Ward]:
        async with ward.open_ward(*given, **named) as opened:
            opened.hospital.faults.switch("ignore_if_match", True)
            yield opened

    async def look(gate: Gate, proposal: Proposal) -> Ground:
        return Ground(write=proposal.compensation)

    monkeypatch.setattr(rollback_cases, "open_ward", careless)
    monkeypatch.setattr(rollback_cases, "WAYS", ("after-a-foreign-edit",))
    monkeypatch.setattr(rollbacks, "look", look)
    result = await rollback_cases.run(database, tmp_path, 3, seed=2)
    assert not result["held"]
    assert any("foreign edit" in example for example in result["examples"])
