"""What a running process looks at again and again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from chartgate.cli import watching
from chartgate.cli.watching import watch_gate
from chartgate.config import Config
from chartgate.errors import Unavailable
from chartgate.flows import charters
from chartgate.gate import Gate, open_store_gate
from chartgate.policy.charters import compile_book


@pytest.fixture
async def gate(database_url: str, tmp_path: Path) -> AsyncIterator[Gate]:
    config = Config(folder=tmp_path, charters_dir=tmp_path / "charters")
    async with open_store_gate(config, url=database_url, book=compile_book(())) as opened:
        yield opened


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("error", [Unavailable("away"), RecursionError(), OSError(5, "disk")])
async def test_watching_goes_on_after_an_error(
    gate: Gate, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "EVERY_S", 0.005)
    looks = []

    async def failing(gate: Gate) -> bool:
        looks.append(True)
        raise error

    monkeypatch.setattr(charters, "watch", failing)
    async with watch_gate(gate):
        await until(lambda: len(looks) >= 3)
    looked = len(looks)
    await asyncio.sleep(0.03)
    assert len(looks) == looked, "it ends with its context"


async def test_told_to_end_it_ends_whatever_its_clean_up_meets(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "EVERY_S", 0.005)
    looking = asyncio.Event()

    async def failing_on_the_way_out(gate: Gate) -> bool:
        looking.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Unavailable("the store went away") from None
        return False

    monkeypatch.setattr(charters, "watch", failing_on_the_way_out)
    async with asyncio.timeout(2):
        async with watch_gate(gate):
            await looking.wait()


async def test_broken_charters_raise_one_alarm_and_the_running_ones_stay(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "EVERY_S", 0.005)
    book = gate.charters
    (tmp_path / "charters").mkdir()
    (tmp_path / "charters" / "new.yaml").write_text("charter: [")
    async with watch_gate(gate):
        async with asyncio.timeout(5):
            while not await alarms(gate):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
    assert await alarms(gate) == 1
    assert gate.charters is book


async def alarms(gate: Gate) -> int:
    found: int = await gate.database.fetch_value(
        "SELECT count(*) FROM audit_event WHERE tenant = $1 AND action = 'charter.reload' "
        "AND outcome = 'failed'"
    )
    return found
