"""The campaign of tamperings, a short one; and that it would see a verifier that misses some."""

from pathlib import Path

import pytest

from benchmarks.tamper import Export, Keys, Tamperer, campaign, make
from tools import verify_ledger

TRIES = 150


@pytest.fixture
async def made(database_url: str, tmp_path: Path) -> tuple[Export, Keys]:
    return await make(database_url, tmp_path)


async def test_every_tampering_is_found(made: tuple[Export, Keys]) -> None:
    export, keys = made
    found = campaign(export, Tamperer(keys), count=TRIES, seed=7)
    assert found["missed"] == []
    assert found["n"] == TRIES
    by_kind = found["by_kind"]
    assert isinstance(by_kind, dict)
    assert set(by_kind) == {*Tamperer(keys).kinds, "two of them"}


async def test_a_verifier_without_the_witness_misses_some(
    made: tuple[Export, Keys], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the campaign would not need one, and would prove less than it says."""
    whole = verify_ledger.main

    def without_witness(arguments: list[str] | None = None) -> int:
        assert arguments
        return whole(arguments[: arguments.index("--witness")])

    monkeypatch.setattr(verify_ledger, "main", without_witness)
    export, keys = made
    found = campaign(export, Tamperer(keys), count=TRIES, seed=7)
    kinds = {kind for one in found["missed"] for kind in one["kinds"]}  # type: ignore[attr-defined]
    assert {"roll back", "re-sign with the true keys"} <= kinds
