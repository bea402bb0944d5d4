"""PostgreSQL restarted every 5 to 20 seconds while thousands of proposals run.

Clients, people and workers are three sorts of processes that walk bookings, notes and task updates
from submission to read-back, against one sample hospital, while its store is restarted again and
again: told to stop at once, killed, or stopped in order, by turns. Afterwards the hospital's
journal is held against the store: nothing may be doubled, lost, stuck or wrongly told.

`python -m benchmarks.restarts [--proposals 11000] [--walkers 8] [--every 5-20] [--seed 0]`
"""

import argparse
import asyncio
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import uvloop

from benchmarks import restarts_child
from benchmarks.crash_points import forkserver
from benchmarks.restarts_child import Share
from chartgate.demo.hospital import Hospital, running_hospital
from chartgate.demo.hospital.chart import Chart
from chartgate.demo.hospital.scenario import Scenario
from chartgate.errors import ChartgateError
from chartgate.store.embedded import EmbeddedServer, start_embedded
from chartgate.store.migrate import migrate
from tests.simulation.world import fill

MEMORY = Path("/dev/shm")
LOOK_EVERY_S = 0.05
TELL_EVERY_S = 20.0
SETTLE_WITHIN_S = 300.0
WAYS = ("in order", "at once", "killed")
TENANT = "restarts"
STATES = "SELECT id::text, status, reason FROM proposal WHERE author = 'client:slot-picker'"
RESTS = frozenset({"verified", "handed-off"})


@dataclass
class Campaign:
    """What is under way."""

    server: EmbeddedServer
    every_s: tuple[float, float]
    dice: random.Random
    restarts: Counter[str] = field(default_factory=Counter)
    ready_s: list[float] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)


def main() -> None:
    """Exit code 1 if anything was doubled, lost, stuck or wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proposals", type=int, default=11_000)
    parser.add_argument("--walkers", type=int, default=4, help="processes")
    parser.add_argument("--every", default="5-20", help="seconds between restarts")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    low, _, high = options.every.partition("-")
    total = uvloop.run(
        campaign(
            options.proposals,
            walkers=options.walkers,
            every_s=(float(low), float(high or low)),
            seed=options.seed,
        )
    )
    print(json.dumps(total, indent=2))
    sys.exit(0 if total["held"] else 1)


async def campaign(
    proposals: int, *, walkers: int, every_s: tuple[float, float], seed: int
) -> dict[str, Any]:
    """Walks all proposals under restarts, then counts."""
    folder = Path(tempfile.mkdtemp(prefix="cg-restarts-", dir=MEMORY if MEMORY.is_dir() else None))
    folder.chmod(0o711)
    server = start_embedded(folder / "data")
    try:
        await migrate(server.url)
        async with running_hospital(fill=_slots(proposals)) as hospital:
            shared = Campaign(server, every_s, random.Random(seed))
            started = time.monotonic()
            restarting = asyncio.create_task(_restart_again_and_again(shared))
            await _walked(server, hospital, folder, proposals, walkers, restarting)
            shared.over.set()
            await restarting
            seconds = time.monotonic() - started
            await _calm(shared)
            return {
                "seconds": round(seconds, 1),
                "restarts": dict(shared.restarts),
                "ready_again_s_max": round(max(shared.ready_s, default=0.0), 2),
                **await _count(server.url, hospital, proposals, sum(shared.restarts.values())),
            }
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _slots(count: int) -> Any:
    """The small hospital of the simulator, with a free slot for each proposal."""

    def filled(chart: Chart) -> Scenario:
        story = fill(chart)
        pattern = dict(chart.current[story.free_slots[0]].resource or {})
        for number in range(count):
            day, minute = divmod(number, 24 * 60)
            start = f"2030-{1 + day // 28:02}-{1 + day % 28:02}T{minute // 60:02}:{minute % 60:02}"
            slot = {**pattern, "id": f"many-{number}", "status": "free",
                    "start": f"{start}:00Z", "end": f"{start}:30Z"}  # fmt: skip
            chart.put(f"Slot/many-{number}", slot, method="POST")
        return story

    return filled


async def _walked(
    server: EmbeddedServer,
    hospital: Hospital,
    folder: Path,
    proposals: int,
    walkers: int,
    restarting: asyncio.Task[None],
) -> None:
    """Until every walker is done, or the time for it is over; one that dies is started again."""
    context = forkserver("benchmarks.restarts_child")
    shares = [
        Share(
            url=server.url,
            tenant=TENANT,
            hospital=hospital.fhir_url,
            scenario=hospital.scenario,
            slots=tuple(f"Slot/many-{n}" for n in range(walker, proposals, walkers)),
            folder=folder / f"walker-{walker}",
        )
        for walker in range(walkers)
    ]
    running: list[Any] = []
    for share in shares:
        share.folder.mkdir()
        running.append(context.Process(target=restarts_child.run, args=(share,), daemon=True))
        running[-1].start()
    told = time.monotonic()
    while any(p.exitcode != 0 for p in running):
        if restarting.done():
            restarting.result()  # it never ends by itself
        for number, process in enumerate(running):
            if process.exitcode not in (None, 0):
                print(f"walker {number} ended with {process.exitcode}; see its log", flush=True)
                again = context.Process(
                    target=restarts_child.run, args=(shares[number],), daemon=True
                )
                again.start()
                running[number] = again
        if time.monotonic() - told > TELL_EVERY_S:
            told = time.monotonic()
            done = Counter(e.interaction for e in hospital.journal.effects)["create"]
            print(f"{done} of {proposals} booked", flush=True)
        await asyncio.sleep(LOOK_EVERY_S)


async def _restart_again_and_again(shared: Campaign) -> None:
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(shared.dice.uniform(*shared.every_s)):
                await shared.over.wait()
        if shared.over.is_set():
            return
        way = WAYS[sum(shared.restarts.values()) % len(WAYS)]
        began = time.monotonic()
        await asyncio.to_thread(_stop, shared.server, way)
        await _calm(shared)
        shared.restarts[way] += 1
        shared.ready_s.append(time.monotonic() - began)


def _stop(server: EmbeddedServer, way: str) -> None:
    process = psutil.Process(server.pid)
    if way == "killed":
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                one.kill()
    else:
        process.send_signal(signal.SIGINT if way == "in order" else signal.SIGQUIT)
    while server.is_alive():  # it is told by its own watcher, a little later
        time.sleep(LOOK_EVERY_S)


async def _calm(shared: Campaign) -> None:
    """Until PostgreSQL is up."""
    while not shared.server.is_alive():
        with suppress(ChartgateError):
            await asyncio.to_thread(shared.server.restart)
        await asyncio.sleep(LOOK_EVERY_S)


async def _count(url: str, hospital: Hospital, wanted: int, restarts: int) -> dict[str, Any]:
    connection = await asyncpg.connect(url, server_settings={"chartgate.tenant": TENANT})
    rows = await connection.fetch(STATES)
    await connection.close()
    effects = hospital.journal.effects
    created = Counter(m for e in effects if e.interaction == "create" for m in e.markers)
    patched = sum(e.interaction == "patch" for e in effects)
    known = {row["id"] for row in rows}
    verified = [row["id"] for row in rows if row["status"] == "verified"]
    others = [row for row in rows if row["status"] != "verified"]
    wrong = {
        "doubled": sum(n > 1 for n in created.values()),
        "lost": sum(not created[id_] for id_ in verified) + max(0, wanted - len(rows)),
        "stuck": sum(row["status"] not in RESTS for row in rows),
        "wrong": sum(created[row["id"]] for row in others)
        + sum(id_ not in known for id_ in created)
        + abs(patched - len(verified))
        + max(0, len(rows) - wanted),
    }
    return {
        "proposals": len(rows),
        "states": dict(Counter(row["status"] for row in rows)),
        "reasons": dict(Counter(row["reason"] for row in others)),
        **wrong,
        "bound_95": 3 / max(1, len(rows)),
        "held": not any(wrong.values()) and len(rows) == wanted and restarts > 0,
    }


if __name__ == "__main__":
    main()
