"""The loops of a worker: they survive errors, wake at once, rest when idle and stop when told."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chartgate.cli import worker
from chartgate.cli.wakeups import CHANNEL
from chartgate.cli.worker import Step, run_loops, worker_name
from chartgate.config import Config, WorkerConfig
from chartgate.errors import Unavailable
from chartgate.gate import Gate, open_store_gate
from chartgate.policy.charters import compile_book
from chartgate.store.vault_keys import create_master_key
from chartgate.testing.clock import FakeClock
from tests.flows.destinations import PEER, Receiver, draft, queue, receiving, sending_gate

Steps = Callable[[Mapping[str, Step]], None]
PATIENT_S = 30.0  # a poll interval that no test waits for


@pytest.fixture
async def gate(database_url: str, tmp_path: Path) -> AsyncIterator[Gate]:
    config = Config(folder=tmp_path, worker=WorkerConfig(poll_interval_s=PATIENT_S))
    create_master_key(tmp_path / "keys" / "vault.key")
    async with open_store_gate(config, url=database_url, book=compile_book(())) as opened:
        yield opened


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Puts other steps into the loops."""

    def put(chosen: Mapping[str, Step]) -> None:
        monkeypatch.setattr(worker, "_steps", lambda *_: chosen)
        monkeypatch.setattr(worker, "AFTER_ERROR_S", 0.01)

    return put


@asynccontextmanager
async def running(gate: Gate) -> AsyncIterator[asyncio.Event]:
    """The loops, until the body is over; then they must stop within a second."""
    stopping = asyncio.Event()
    task = asyncio.create_task(run_loops(gate, stopping))
    try:
        yield stopping
    finally:
        stopping.set()
        async with asyncio.timeout(1):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("error", [ValueError("Canary"), Unavailable("away"), AssertionError()])
async def test_error_in_a_step_ends_neither_its_loop_nor_another(
    gate: Gate, steps: Steps, error: Exception
) -> None:
    tried, others = [], []

    async def failing() -> int:
        tried.append(True)
        raise error

    async def working() -> int:
        others.append(True)
        await asyncio.sleep(0.005)
        return 1

    steps({"failing": failing, "working": working})
    async with running(gate):
        await until(lambda: len(tried) >= 3 and len(others) >= 3)


async def test_loop_goes_on_while_there_is_work_and_then_waits(gate: Gate, steps: Steps) -> None:
    queued = [1, 1, 1]
    looked = []

    async def step() -> int:
        looked.append(True)
        return queued.pop() if queued else 0

    steps({"step": step})
    async with running(gate):
        await until(lambda: len(looked) >= 4)
        await asyncio.sleep(0.2)
        assert len(looked) <= 5, "it looks once more when the listening begins, and then rests"


async def test_notify_wakes_a_loop_at_once(gate: Gate, steps: Steps) -> None:
    looked: list[float] = []

    async def step() -> int:
        looked.append(time.monotonic())
        return 0

    steps({"step": step})
    async with running(gate):
        await until(lambda: len(looked) >= 2)
        before = len(looked)
        async with gate.database.connection() as connection:
            await connection.execute(f"NOTIFY {CHANNEL}")
        await until(lambda: len(looked) > before)
        assert time.monotonic() - looked[0] < PATIENT_S


async def test_work_queued_during_a_look_is_not_missed(gate: Gate, steps: Steps) -> None:
    """The event is taken before the look."""
    looked = []

    async def step() -> int:
        looked.append(True)
        if len(looked) == 2:
            async with gate.database.connection() as connection:
                await connection.execute(f"NOTIFY {CHANNEL}")
            await asyncio.sleep(0.1)
        return 0

    steps({"step": step})
    async with running(gate):
        await until(lambda: len(looked) >= 3)


async def test_step_under_way_is_finished_before_the_end(gate: Gate, steps: Steps) -> None:
    begun = asyncio.Event()
    finished = []

    async def step() -> int:
        begun.set()
        await asyncio.sleep(0.2)
        finished.append(True)
        return 1

    steps({"step": step})
    async with running(gate) as stopping:
        await begun.wait()
        stopping.set()
    assert finished == [True]


async def test_step_that_hangs_is_left_after_the_drain(
    gate: Gate, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "DRAIN_S", 0.1)
    begun = asyncio.Event()

    async def step() -> int:
        begun.set()
        await asyncio.Event().wait()
        return 0

    steps({"step": step})
    async with running(gate):
        await begun.wait()


async def test_loop_that_ends_by_itself_ends_the_worker_and_is_named(
    gate: Gate, steps: Steps
) -> None:
    """A cancellation that leaks out of a library must not stop one kind of work unseen."""

    async def leaking() -> int:
        raise asyncio.CancelledError

    async def idle() -> int:
        return 0

    steps({"leaking": leaking, "idle": idle})
    with pytest.raises(Unavailable, match="the loop leaking ended by itself"):
        async with asyncio.timeout(5):
            await run_loops(gate, asyncio.Event())


async def test_message_that_is_queued_goes_out_at_once_and_its_connection_is_closed_at_the_end(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        worker, "_steps", lambda _, http, lanes, *more: {"outgoing": lanes.start_due}
    )
    receiver = Receiver()
    async with receiving(receiver):
        ports = {PEER: receiver.port}
        async with sending_gate(
            gate.database, FakeClock(), tmp_path, ports, poll_interval_s=PATIENT_S, lane_idle_s=60.0
        ) as sending:
            async with running(sending):
                await queue(sending, draft(1))
                await until(lambda: len(receiver.messages) == 1)
                await queue(sending, draft(2))
                await until(lambda: len(receiver.messages) == 2)
            await until(lambda: receiver.seen[-1] == ("closed", 1))
    assert receiver.control_ids == ["lab-1", "lab-2"]


def test_each_worker_has_a_name_of_its_own() -> None:
    assert worker_name() != worker_name()
