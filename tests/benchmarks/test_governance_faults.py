"""The campaign of faults, at a small size; and that it finds a walk that looks no second time."""

from typing import Any

import pytest

from benchmarks.governance_faults import run

pytestmark = pytest.mark.slow


async def test_nobody_sees_what_they_may_not_whatever_breaks() -> None:
    result = await run(60, seed=7, kill_every=50)
    assert result["wrong"] == 0, result["examples"]
    assert result["outcomes"]["shown"] > 0
    assert result["outcomes"]["kills of PostgreSQL"] == 1


async def test_walk_that_does_not_look_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(*_: Any) -> None:
        return None

    monkeypatch.setattr("chartgate.flows.reads.check_still", careless)
    monkeypatch.setattr("chartgate.flows.searches.check_still", careless)
    monkeypatch.setattr("benchmarks.governance_faults.FAULTS", ("revoked-now",))
    result = await run(60, seed=7)
    assert any("after the revocation" in example for example in result["examples"])
