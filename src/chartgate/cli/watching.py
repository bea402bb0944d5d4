"""What every long-running process keeps looking at: charters and probe verdicts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from chartgate.cli.faults import is_cancelled, place_of
from chartgate.errors import ChartgateError
from chartgate.flows import charters
from chartgate.gate import Gate, adopt_verdicts

EVERY_S = 1.0


@asynccontextmanager
async def watch_gate(gate: Gate) -> AsyncIterator[None]:
    """Reloads charters and verdicts about once a second while the context lasts."""
    task = asyncio.create_task(_watch(gate))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(gate: Gate) -> None:
    log = structlog.get_logger()
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            await charters.watch(gate)
            await adopt_verdicts(gate)
        except ChartgateError as error:
            if is_cancelled():
                raise
            log.warning("watch", error=type(error).__name__, detail=error.operator_detail)
        except Exception as error:
            if is_cancelled():
                raise
            log.error("watch", error=type(error).__name__, where=place_of(error))
