"""The loops of a worker: each takes one kind of queued work until none is left, then waits.

A NOTIFY wakes the loops at once; without one they look again after poll_interval_s. An error ends
one step, never a loop: what was claimed is free again when its lease ends.
"""

import asyncio
import os
import signal
import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from chartgate.cli.faults import place_of
from chartgate.cli.wakeups import Wakeups, listen_for_work
from chartgate.errors import ChartgateError, Unavailable
from chartgate.flows import (
    atna,
    break_glass,
    commits,
    contracts,
    deadlines,
    drift,
    erasure,
    escalations,
    events,
    feed_status,
    handoff_tasks,
    lanes,
    ledger,
    notifications,
    provenances,
    retention,
    rollbacks,
    vault,
)
from chartgate.flows.crews import Crew, open_crew
from chartgate.gate import Gate
from chartgate.store.signing_keys import SigningKey
from chartgate.store.witness import Witness

Step = Callable[[], Awaitable[int]]  # how much it did; 0: nothing was queued

AFTER_ERROR_S = 0.5
DRAIN_S = 20.0


def worker_name() -> str:
    """Tells one worker from another in leases and logs."""
    return f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


async def run_loops(
    gate: Gate, stopping: asyncio.Event, *, stop_on: Sequence[signal.Signals] = ()
) -> None:
    """Runs every loop until `stopping` is set; then waits for the steps under way.

    Raises Unavailable should a loop end by itself: without it, work would lie there unseen.
    """
    for number in stop_on:
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    wakeups, worker = Wakeups(), worker_name()
    with suppress(Unavailable):
        await events.forget_workers(gate, worker)
    async with (
        notifications.open_client(gate) as http,
        lanes.open_lanes(gate) as outgoing,
        notifications.open_deliveries(gate, http) as deliveries,
        atna.open_feeds(gate) as feeds,
        open_crew(gate, commits.COMMITS, worker) as committing,
        open_crew(gate, commits.VERIFICATIONS, worker) as verifying,
        open_crew(gate, rollbacks.ROLLBACKS, worker) as taking_back,
    ):
        crews = (committing, verifying, taking_back)
        loops = [
            asyncio.create_task(_loop(name, step, gate, wakeups, stopping), name=name)
            for name, step in _steps(gate, deliveries, outgoing, feeds, crews, worker).items()
        ]
        listening = asyncio.create_task(listen_for_work(gate.database, wakeups), name="wakeups")
        told = asyncio.create_task(stopping.wait(), name="told")
        await asyncio.wait((*loops, listening, told), return_when=asyncio.FIRST_COMPLETED)
        ended = "" if told.done() else next(t.get_name() for t in (*loops, listening) if t.done())
        stopping.set()
        wakeups.wake()
        closing = asyncio.gather(*(crew.close() for crew in crews))  # all hands at once
        _, late = await asyncio.wait(loops, timeout=DRAIN_S)
        for task in (*late, listening):
            task.cancel()
        await asyncio.gather(*loops, listening, told, closing, return_exceptions=True)
    if ended:
        raise Unavailable(f"the loop {ended} ended by itself; the worker must be started again")


def _steps(
    gate: Gate,
    deliveries: notifications.Deliveries,
    outgoing: lanes.Lanes,
    feeds: atna.Feeds,
    crews: Sequence[Crew],
    worker: str,
) -> Mapping[str, Step]:
    watch = drift.DriftWatch(gate)
    settings = gate.config.ledger
    key_file = gate.config.path(settings.signing_key_file)
    signing = SigningKey(key_file, origin=settings.origin)
    witness = Witness(gate.config.path(settings.witness_file))
    return {
        "ledger": lambda: ledger.sequence_next(gate, signing, witness),
        "drift": watch.settle_next,
        "messages": lambda: events.process_next(gate, worker, watch),
        "counts": feed_status.Folding(gate).fold_next,
        "notifications": deliveries.start_due,
        "outgoing": outgoing.start_due,
        **{crew.name: crew.start_due for crew in crews},
        "provenances": lambda: provenances.write_next(gate, worker),
        "contracts": contracts.ContractWatch(gate).tell_next,
        "deadlines": lambda: deadlines.expire_next(gate, worker),
        "escalations": lambda: escalations.escalate_next(gate, worker),
        "handoffs": lambda: handoff_tasks.keep_next(gate, worker),
        "erasures": lambda: erasure.finish_next(gate),
        "retention": retention.Retention(gate).delete_next,
        "scrub": vault.Scrubbing(gate).scrub_next,
        "atna": feeds.send_next,
        "break-glass": lambda: break_glass.settle_next(gate),
    }


async def _loop(
    name: str, step: Step, gate: Gate, wakeups: Wakeups, stopping: asyncio.Event
) -> None:
    log = structlog.get_logger().bind(loop=name)
    interval_s = gate.config.worker.poll_interval_s
    if name == "ledger":
        interval_s = min(interval_s, gate.config.ledger.interval_s)
    while not stopping.is_set():
        woken = wakeups.next()
        try:
            did = await step()
        except ChartgateError as error:
            log.warning("step", error=type(error).__name__, detail=error.operator_detail)
            did, interval_now_s = 0, AFTER_ERROR_S
        except Exception as error:  # noqa: BLE001 - the top of a loop
            log.error("step", error=type(error).__name__, where=place_of(error))
            did, interval_now_s = 0, AFTER_ERROR_S
        else:
            interval_now_s = interval_s
        if not did and not stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(interval_now_s):
                    await (asyncio.Event().wait() if name == "ledger" else woken.wait())
