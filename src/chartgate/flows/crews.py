"""Work on proposals, several at once: each is leased, carried on in a task of its own, and given back.

Nothing is taken up that no hand is free for, and the store gives nobody a proposal that touches
what another one in work touches. An error ends one task, never the crew: what was taken up is free
again when its lease ends.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from chartgate.errors import (
    ChartgateError,
    InvalidTransition,
    SourceRefused,
    Unavailable,
    VersionConflict,
)
from chartgate.flows.impasses import no_progress
from chartgate.flows.sending import NOTHING_SENT, claim, postpone
from chartgate.gate import Gate
from chartgate.model.proposal import Proposal, Status
from chartgate.store.proposals import Direction

LOG = structlog.get_logger()
DRAIN_S = 15.0  # for what is under way when the worker ends


class CarryOn(Protocol):
    """Takes a proposal that was taken up as far as it will go now."""

    async def __call__(self, gate: Gate, proposal: Proposal, agent: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Trade:
    """One kind of work on proposals."""

    name: str
    statuses: tuple[Status, ...]  # of what is taken up
    direction: Direction
    carry_on: CarryOn


async def take_next(gate: Gate, trade: Trade, worker: str) -> bool:
    """Takes one up and carries it on. False: there was none. Raises Unavailable, and whatever is
    a fault of ours once the proposal was given back."""
    proposal = await claim(gate, *trade.statuses)
    if proposal is None:
        return False
    await _carry_on(gate, trade, proposal, worker)
    return True


async def _carry_on(gate: Gate, trade: Trade, proposal: Proposal, worker: str) -> None:
    agent = f"process:{worker}"
    try:
        await trade.carry_on(gate, proposal, agent)
    except (VersionConflict, InvalidTransition):
        pass  # the lease passed to another worker, who goes on from what is stored
    except SourceRefused as error:
        await no_progress(gate, proposal, trade.direction, agent, error)
    except NOTHING_SENT:
        await postpone(gate, proposal)
    except Unavailable:
        raise
    except Exception as error:
        await no_progress(gate, proposal, trade.direction, agent, error)
        raise


class Crew:
    """The hands of one worker at one trade. Opened by `open_crew`."""

    def __init__(self, gate: Gate, trade: Trade, worker: str) -> None:
        self._gate = gate
        self._trade = trade
        self._worker = worker
        self._hands: set[asyncio.Task[None]] = set()
        self._taking_up = asyncio.Lock()  # one after the other: none may touch what another does
        self._stopping = False

    @property
    def name(self) -> str:
        """Of its trade."""
        return self._trade.name

    async def start_due(self) -> int:
        """Gives what is due to a free hand, which goes on to the next by itself; how many. Raises
        Unavailable."""
        if len(self._hands) >= self._gate.config.worker.writes_at_once:
            return 0
        proposal = await self._take_up()
        if proposal is None:
            return 0
        hand = asyncio.create_task(self._work_off(proposal), name=self._trade.name)
        self._hands.add(hand)
        hand.add_done_callback(self._ended)
        return 1

    async def close(self) -> None:
        """Lets what is under way end, but not for ever: what is cut off is resolved later."""
        self._stopping = True
        if self._hands:
            _, late = await asyncio.wait(self._hands, timeout=DRAIN_S)
            for hand in late:
                hand.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _take_up(self) -> Proposal | None:
        async with self._taking_up:
            return None if self._stopping else await claim(self._gate, *self._trade.statuses)

    async def _work_off(self, proposal: Proposal | None) -> None:
        while proposal is not None:
            await _carry_on(self._gate, self._trade, proposal, self._worker)
            proposal = await self._take_up()

    def _ended(self, hand: asyncio.Task[None]) -> None:
        self._hands.discard(hand)
        error = None if hand.cancelled() else hand.exception()
        if isinstance(error, ChartgateError):
            kind = type(error).__name__
            LOG.warning("step", loop=self._trade.name, error=kind, detail=error.operator_detail)
        elif error is not None:
            LOG.error("step", loop=self._trade.name, error=type(error).__name__)


@asynccontextmanager
async def open_crew(gate: Gate, trade: Trade, worker: str) -> AsyncIterator[Crew]:
    """For one worker."""
    crew = Crew(gate, trade, worker)
    try:
        yield crew
    finally:
        await crew.close()
