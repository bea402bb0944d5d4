"""The campaign of outside writers, at a small size; and that it finds a commit that overwrites them."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import writers
from chartgate.config import WorkerConfig
from chartgate.flows import commits
from chartgate.flows.guards import Standing, look
from chartgate.store.database import Database

pytestmark = pytest.mark.slow
# What cannot be told goes to a person within seconds here, not within a minute.
SOON = WorkerConfig(backoff_base_s=0.2, resolve_within_s=1.0)


async def test_nothing_of_anybody_is_lost_and_every_conflict_is_right(
    database: Database, tmp_path: Path
) -> None:
    result = await writers.run(database, tmp_path, 25, seed=3, charts=60, worker=SOON)
    assert result["held"], result["examples"]
    assert result["commits"] >= 25
    assert result["foreign_changes"] > 25


async def test_commit_on_guards_that_nobody_looked_at_is_found(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blind(*given: Any) -> Standing:
        return Standing(results=(), live=(await look(*given)).live, gone=())

    monkeypatch.setattr(commits, "look", blind)
    monkeypatch.setattr(writers, "PAUSE_S", (0.1, 0.3))
    result = await writers.run(database, tmp_path, 20, seed=3, writers=5, charts=5, worker=SOON)
    assert any("guarded elements that changed" in example for example in result["examples"])
