"""What every long-running process keeps looking at: charters and probe verdicts. It also writes
down, now and then, which questions policy was asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import structlog

from chartgate.cli.faults import is_cancelled, place_of
from chartgate.errors import ChartgateError
from chartgate.flows import charters, policies, vault
from chartgate.gate import Gate, adopt_verdicts

EVERY_S = 1.0
QUESTIONS_EVERY_S = 30.0


@asynccontextmanager
async def watch_gate(gate: Gate) -> AsyncIterator[None]:
    """Says how what is stored is sealed; then reloads charters and verdicts about once a second
    while the context lasts."""
    found = await vault.standing(gate)
    structlog.get_logger().info("sealed", master_key=found.master, keys=found.keys)
    task = asyncio.create_task(_watch(gate))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(gate: Gate) -> None:
    log = structlog.get_logger()
    written_at = monotonic()
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            await charters.watch(gate)
            await adopt_verdicts(gate)
            if monotonic() - written_at >= QUESTIONS_EVERY_S:
                written_at = monotonic()
                await policies.flush_questions(gate)
        except ChartgateError as error:
            if is_cancelled():
                raise
            log.warning("watch", error=type(error).__name__, detail=error.operator_detail)
        except Exception as error:
            if is_cancelled():
                raise
            log.error("watch", error=type(error).__name__, where=place_of(error))
