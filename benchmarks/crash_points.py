"""16 crash points x 5 faults x seeds: at each place of a write something breaks, and who counts is
the sample hospital.

A process walks one booking from submission to read-back (or, for c15, until it is taken back) on a
real PostgreSQL and over real sockets. At the named place (src/chartgate/failpoints.py) it is
killed; or PostgreSQL and all its backends are killed; or it is stopped until its lease is lost and
comes back as a zombie; or the network is cut, by reset or in silence; or PostgreSQL cannot write
to any file, as with a full or broken disk. Then another process goes on, and the hospital's
journal is held against what the store says. Prints the count and the bound 3/n.

`python -m benchmarks.crash_points [--seeds 10] [--first 0] [--points c08,c10] [--faults stop]`
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from benchmarks import crash_child
from benchmarks.crash_child import Job, limit_files
from benchmarks.crash_proxy import Proxy
from chartgate.demo.hospital import Hospital, running_hospital
from chartgate.errors import ChartgateError
from chartgate.store.embedded import EmbeddedServer, start_embedded
from chartgate.store.migrate import migrate
from tests.simulation.world import fill

POINTS = tuple(f"c{n:02}" for n in range(1, 17))
FAULTS = ("kill-app", "kill-postgres", "stop", "network", "disk")
SHARED = frozenset({"kill-postgres", "disk"})  # hit every run that is under way: one at a time
ROLLBACK = (("c15.06", 0), ("c15.07", 0), ("c15.08", 0), ("c09", 1), ("c10", 1), ("c15.11", 0),
            ("c15.13", 0), ("c15.14", 0))  # fmt: skip
START = ("c16.start", "c16.migration")
TOGETHER = 3
REST_WITHIN_S = 60.0
STOP_S_MAX = 5.0  # how long a process stands still, if the other one does not end before
FULL_S = 0.7  # how long the disk is full
LOOK_EVERY_S = 0.02
MEMORY = Path("/dev/shm")
TELL_EVERY = 40
FACTS = """
SELECT p.status, p.reason,
  (SELECT array_agg(a.direction || ' ' || coalesce(a.verdict, 'open')) FROM proposal_attempt a
   WHERE a.tenant = p.tenant AND a.proposal = p.id) AS attempts,
  p.id::text AS id
FROM proposal p"""


@dataclass(frozen=True)
class Case:
    """One run of the matrix."""

    point: str
    fault: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.point}-{self.fault}-{self.seed}"

    def place(self) -> tuple[str, int]:
        """The failpoint, and after how many passes."""
        if self.point == "c15":
            return ROLLBACK[self.seed % len(ROLLBACK)]
        if self.point == "c16":
            return START[self.seed % len(START)], 0
        return self.point, 0


@dataclass
class Result:
    """What came of one run."""

    case: Case
    seconds: float = 0.0
    recovered_s: float = 0.0  # from the fault to rest
    status: str = ""
    wrong: list[str] = field(default_factory=list)
    effects: int = 0


@dataclass
class Drill:
    """What all runs share."""

    server: EmbeddedServer
    folder: Path
    processes: Any = field(default_factory=lambda: forkserver("benchmarks.crash_child"))
    databases: int = 0

    async def keep_postgres(self) -> None:
        """Starts PostgreSQL again whenever it is dead, as `chartgate up` does."""
        while True:
            if not self.server.is_alive():
                with suppress(Exception):  # tried again at the next look
                    await asyncio.to_thread(self.server.restart)
            await asyncio.sleep(LOOK_EVERY_S)


def forkserver(module: str) -> Any:
    """Processes that begin with `module` imported, and with nothing of ours open."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


def main() -> None:
    """Exit code 1 if anything was doubled, lost, stuck or wrongly told, or a fault not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed: to go on from one")
    parser.add_argument("--points", default=",".join(POINTS))
    parser.add_argument("--faults", default=",".join(FAULTS))
    options = parser.parse_args()
    cases = [
        Case(point, fault, seed)
        for seed in range(options.first, options.first + options.seeds)
        for fault in options.faults.split(",")
        for point in options.points.split(",")
    ]
    total = summed(asyncio.run(drill(cases, tell=True)))
    print(json.dumps(total, indent=2))
    sys.exit(0 if total["held"] else 1)


async def drill(cases: Sequence[Case], *, tell: bool = False) -> list[Result]:
    """Runs all cases on one PostgreSQL: those that hit it one by one, the others together."""
    folder = Path(tempfile.mkdtemp(prefix="cg-crash-", dir=MEMORY if MEMORY.is_dir() else None))
    folder.chmod(0o711)
    server = start_embedded(folder / "data")
    results: list[Result] = []
    try:
        await migrate(server.url)
        shared = Drill(server=server, folder=folder)
        keeping = asyncio.create_task(shared.keep_postgres())
        alone = [c for c in cases if c.fault in SHARED]
        others = [c for c in cases if c.fault not in SHARED]
        for share, together in ((others, TOGETHER), (alone, 1)):
            slots = asyncio.Semaphore(together)
            await asyncio.gather(*(_one(shared, c, slots, results, tell) for c in share))
        keeping.cancel()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return results


async def _one(
    shared: Drill, case: Case, slots: asyncio.Semaphore, results: list[Result], tell: bool
) -> None:
    async with slots:
        started = time.monotonic()
        result = Result(case)
        try:
            await _run(shared, case, result)
        except Exception as error:  # noqa: BLE001 - one run must not end the campaign
            result.wrong.append(f"the drill itself failed: {type(error).__name__} {error}")
        result.seconds = time.monotonic() - started
        results.append(result)
        if tell and result.wrong:
            print(f"{case.name}: {'; '.join(result.wrong)}", flush=True)
        if tell and len(results) % TELL_EVERY == 0:
            print(f"{len(results)} runs", flush=True)


async def _run(shared: Drill, case: Case, result: Result) -> None:
    folder = shared.folder / case.name
    folder.mkdir()
    async with running_hospital(fill=fill) as hospital:
        proxy = Proxy(hospital.port, silent=bool(case.seed % 2))
        await proxy.start()
        try:
            job = await _job(shared, case, hospital, proxy, folder)
            await _until_rest(shared, job, result)
            await _count(job, hospital, result)
        finally:
            await proxy.stop()


async def _job(shared: Drill, case: Case, hospital: Hospital, proxy: Proxy, folder: Path) -> Job:
    point, after = case.place()
    url, story = shared.server.url, hospital.scenario
    if point == "c16.migration":
        url = await _new_database(shared)
    return Job(
        url=url,
        tenant=f"drill-{case.name}",
        hospital=f"http://127.0.0.1:{proxy.port}/fhir",
        scenario=story,
        slot=hospital.resource(story.free_slots[0]),
        folder=folder,
        rolls_back=case.point == "c15",
        migrates=point == "c16.migration",
        point=point,
        after=after,
        fault=case.fault,
        control=proxy.control,
        postmaster=shared.server.pid,
        hit=folder / "hit",
    )


async def _new_database(shared: Drill) -> str:
    shared.databases += 1
    name = f"drill_{shared.databases}"

    async def act(connection: Any) -> None:
        await connection.execute(f"DROP DATABASE IF EXISTS {name}")  # cut off, and tried again
        await connection.execute(f"CREATE DATABASE {name} OWNER chartgate")

    await _once_up(shared.server.admin_url, act)
    head, _, tail = shared.server.url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{tail}" if tail else "")


async def _until_rest(shared: Drill, job: Job, result: Result) -> None:
    """The process with the fault; then, where it is dead or stands still, another one."""
    assert job.hit is not None
    started, calm = time.monotonic(), replace(job, point="", fault="")
    running = [_start(shared, job)]
    repair = asyncio.create_task(_repair(shared, job, running, calm))
    while None in (codes := [p.exitcode for p in running]) or 0 not in codes:
        if time.monotonic() - started > REST_WITHIN_S:
            result.wrong.append(f"stuck: {codes}, {_last_said(job)}")
            break
        if None not in codes:
            running.append(_start(shared, calm))
        await asyncio.sleep(LOOK_EVERY_S)
    repair.cancel()
    for process in running:
        process.kill()
    if job.hit.exists():
        result.recovered_s = time.time() - job.hit.stat().st_mtime
    else:
        result.wrong.append("the fault was not met")
    by_itself = [p.exitcode for p in running if p.exitcode not in (None, 0, -9)]
    if by_itself:
        result.wrong.append(f"a process ended by itself with {by_itself[0]}: {_last_said(job)}")


def _last_said(job: Job) -> list[str]:
    log = job.folder / "child.log"
    return log.read_text().splitlines()[-2:] if log.exists() else []


async def _repair(shared: Drill, job: Job, running: list[Any], calm: Job) -> None:
    """What comes back after a while: room on the disk, or the process that stood still."""
    assert job.hit is not None
    while not job.hit.exists():
        await asyncio.sleep(LOOK_EVERY_S)
    if job.fault == "disk":
        await asyncio.sleep(FULL_S)
        _lift_limits(shared.server)
    if job.fault == "stop":
        while not _is_stopped(running[0].pid):
            await asyncio.sleep(LOOK_EVERY_S)
        running.append(_start(shared, calm))
        with suppress(TimeoutError):  # one that stands in a transaction keeps its row for so long
            async with asyncio.timeout(STOP_S_MAX):
                while running[1].exitcode is None:
                    await asyncio.sleep(LOOK_EVERY_S)
        psutil.Process(running[0].pid).resume()  # a zombie, to whom nobody has told anything


def _start(shared: Drill, job: Job) -> Any:
    process = shared.processes.Process(target=crash_child.run, args=(job,), daemon=True)
    process.start()
    return process


def _is_stopped(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False


def _lift_limits(server: EmbeddedServer) -> None:
    """There is room again."""
    with suppress(ChartgateError, OSError):  # it is being started again, and has no limits then
        limit_files(server.pid, resource.RLIM_INFINITY)


async def _count(job: Job, hospital: Hospital, result: Result) -> None:
    """The hospital's journal against the store."""
    rows = await _facts(job)
    if len(rows) != 1:
        result.wrong.append(f"{'lost' if not rows else 'doubled'}: {len(rows)} proposals")
        return
    row, effects = rows[0], hospital.journal.effects
    result.status, result.effects = row["status"], len(effects)
    created = [e for e in effects if e.interaction == "create" and row["id"] in e.markers]
    undone = [e for e in effects if e.reference.startswith("Appointment/") and e not in created]
    if len(created) > 1 or len(undone) > 1:
        result.wrong.append(f"doubled: {len(created)} created, {len(undone)} taken back")
    if len(effects) != 2 * (len(created) + len(undone)):
        result.wrong.append(f"half: {len(effects)} effects")
    status = row["status"]
    if status in ("verified", "rolled-back") and not created:
        result.wrong.append(f"lost: {status}, and nothing is there")
    if (status == "rolled-back") != bool(undone):
        result.wrong.append(f"wrong verdict: {status}, {len(undone)} taken back")
    wanted = "rolled-back" if job.rolls_back else "verified"
    if status != wanted:
        result.wrong.append(f"wrong verdict: {status} ({row['reason']}), {row['attempts']}")


async def _facts(job: Job) -> list[Any]:
    async def act(connection: Any) -> list[Any]:
        return list(await connection.fetch(FACTS))

    settings = {"chartgate.tenant": job.tenant}
    found: list[Any] = await _once_up(job.url, act, server_settings=settings)
    return found


async def _once_up(url: str, act: Callable[[Any], Awaitable[Any]], **settings: Any) -> Any:
    """What a connection gives, once PostgreSQL is back from what was done to it."""
    for _ in range(200):
        try:
            connection = await asyncpg.connect(url, **settings)
            try:
                return await act(connection)
            finally:
                await connection.close()
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.05)
    raise TimeoutError("PostgreSQL did not come back")


def summed(results: Sequence[Result]) -> dict[str, Any]:
    """The campaign in one table."""
    wrong = Counter(word.partition(":")[0] for r in results for word in r.wrong)
    count = len(results)
    return {
        "runs": count,
        "points": len({r.case.point for r in results}),
        "faults": sorted({r.case.fault for r in results}),
        "seeds": len({r.case.seed for r in results}),
        "statuses": dict(Counter(r.status for r in results)),
        "doubled": wrong["doubled"],
        "lost": wrong["lost"],
        "stuck": wrong["stuck"],
        "wrong_verdicts": wrong["wrong verdict"] + wrong["half"],
        "faults_not_met": wrong["the fault was not met"],
        "recovered_s_max": round(max((r.recovered_s for r in results), default=0.0), 1),
        "bound_95": 3 / max(1, count),
        "held": bool(results) and not wrong,
        "wrong": {r.case.name: r.wrong for r in results if r.wrong},
    }


if __name__ == "__main__":
    main()
