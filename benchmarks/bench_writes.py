"""Writes at a rate: submissions until they can be reviewed, commits with several in flight, a halt.

A sample hospital and PostgreSQL in processes of their own; this process is the worker, with the crew
that `chartgate work` has. auth-clerk changes a Task of its own each time, staff approve, and what is
approved is committed: guards, one conditional patch, receipt and read-back of each, all durable.
In turn with them runs what the same writes ask of the hospital alone (read, patch, read).

`python -m benchmarks.bench_writes [--quick] [--out FILE]`; exit status 1 where nothing stands still
after a halt. The other figures are of this machine, and compared with one another alone.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.bench_commits import EHR, OPERATOR, beside_a_hospital
from benchmarks.own import own_folder, tell
from benchmarks.ward import AT_ONCE, CLERK, PERIOD, STAFF, charter_of, patch_of, see, send_in
from chartgate.cli.session import serve_async
from chartgate.clock import utc_now
from chartgate.config import Config, ConnectionConfig
from chartgate.flows import commits, halts, probes, reviews
from chartgate.flows.crews import Crew, open_crew
from chartgate.flows.sending import claim
from chartgate.gate import Gate
from chartgate.model.proposal import Proposal, Status
from chartgate.policy.charters import compile_book
from chartgate.store.proposals import ProposalStore

COUNT, QUICK = 1_000, 200
SIZES_APART = 30  # of what waits for the worker: to take one up may not cost more where many wait
IN_FLIGHT = 16
SUBMITTERS = 4
TAKEN_UP = 51
HALT_MAX_S = 1.0
SUBMIT_P99_MAX_MS = 50.0
COMMITS_MIN = 300
UNTIL_HALT = 10  # commits, before the halt
PATIENCE_S = 600.0
QUIET_S = 2.0  # after a halt: nothing may begin any more
RESULTS = Path(__file__).parent / "results" / "writes.json"


def main() -> None:
    """Measures, prints and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer proposals")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with own_folder() as folder:
        results = serve_async(measure(folder, QUICK if options.quick else COUNT))
    tell(results, options.out)
    sys.exit(0 if results["targets"]["halt_holds"] else 1)


async def measure(folder: Path, count: int) -> dict[str, Any]:
    """On one hospital and one store."""
    book = compile_book([charter_of("prior-authorisation")])
    async with beside_a_hospital(folder, _config, book) as (gate, http, base):
        bench = Bench(gate=gate, http=http, base=base)
        await probes.probe(gate, EHR)
        await halts.set_stage(gate, OPERATOR, CLERK.charter, "suggest")
        results: dict[str, Any] = {"count": count, "in_flight": IN_FLIGHT}
        _, proposals = await bench.submissions(count // SIZES_APART)
        few_ms = await bench.taking_up()
        await bench.commits(proposals)
        results["submit"], proposals = await bench.submissions(count)
        many_ms = await bench.taking_up()
        results["taking_up"] = {"of_few_ms": few_ms, "of_many_ms": many_ms}
        results["bare"] = await bench.bare(count)
        results["commit"] = await bench.commits(proposals)
        _, proposals = await bench.submissions(count)
        results["halt"] = await bench.halt(proposals)
        results["targets"] = _targets(results)
        return results


@dataclass(kw_only=True)
class Bench:
    """A gate on the hospital."""

    gate: Gate
    http: aiohttp.ClientSession
    base: str
    made: int = 0
    sample: dict[str, Any] = field(default_factory=dict)

    async def submissions(self, count: int) -> tuple[dict[str, Any], list[Proposal]]:
        """Proposals, each on a Task of its own; milliseconds until each can be reviewed."""
        tasks = [await self._task() for _ in range(count)]
        took: list[float] = []
        proposals: list[Proposal] = []

        async def one(task: str) -> None:
            interaction = await see(self.gate, CLERK, task)
            changes = [patch_of(task, ("replace", "/status", "accepted"), _period())]
            started = time.perf_counter()
            made = await send_in(self.gate, CLERK, "update-status", changes, interaction)
            took.append((time.perf_counter() - started) * 1000)
            assert made.status is Status.PENDING_REVIEW, (made.status, made.reason)
            proposals.append(made)

        seconds = await _by(SUBMITTERS, one, tasks)
        for made in proposals:
            await reviews.review(
                self.gate, STAFF, made.id, verdict="approve", digest=made.content.digest
            )
        async with self.gate.database.bookkeeping() as transaction:
            # What PostgreSQL does by itself where a table grows slower than it does here.
            await transaction.execute("ANALYZE proposal, proposal_content")
        return _shown(took) | {"per_second": round(count / seconds, 1)}, proposals

    async def taking_up(self) -> float:
        """Milliseconds in which the worker has the next one of all that wait; it is given back."""
        took: list[float] = []
        store = ProposalStore(self.gate.database)
        for _ in range(TAKEN_UP):
            started = time.perf_counter()
            proposal = await claim(self.gate, *commits.COMMITS.statuses)
            took.append((time.perf_counter() - started) * 1000)
            assert proposal is not None
            await store.postpone(proposal, until=utc_now(), failed=False)
        return round(statistics.median(took), 3)

    async def bare(self, count: int) -> dict[str, Any]:
        """What as many writes ask of the hospital, without Chartgate."""
        tasks = [await self._task() for _ in range(count)]
        took: list[float] = []

        async def one(task: str) -> None:
            started = time.perf_counter()
            async with self.http.get(f"{self.base}/fhir/{task}") as answer:
                etag = answer.headers["ETag"]
            patch = patch_of(task, ("replace", "/status", "accepted"), _period())["patch"]
            headers = {"If-Match": etag, "Content-Type": "application/json-patch+json"}
            url = f"{self.base}/fhir/{task}"
            async with self.http.patch(url, data=json.dumps(patch), headers=headers) as answer:
                assert answer.status == 200, await answer.text()
            async with self.http.get(url) as answer:
                await answer.read()
            took.append((time.perf_counter() - started) * 1000)

        seconds = await _by(IN_FLIGHT, one, tasks)
        return _shown(took) | {"per_second": round(count / seconds, 1)}

    async def commits(self, proposals: Sequence[Proposal]) -> dict[str, Any]:
        """All that was approved, until each is verified."""
        began = len(await self._journal())
        started, cpu = time.perf_counter(), time.process_time()
        async with open_crew(self.gate, commits.COMMITS, "bench") as crew:
            await self._until(crew, lambda: self._verified(proposals))
        seconds = time.perf_counter() - started
        worker_ms = (time.process_time() - cpu) * 1000 / len(proposals)
        effects = (await self._journal())[began:]
        assert len(effects) == len(proposals), "each was written once"
        return {
            "per_second": round(len(proposals) / seconds, 1),
            "seconds": round(seconds, 2),
            "worker_cpu_ms": round(worker_ms, 2),
        }

    async def halt(self, proposals: Sequence[Proposal]) -> dict[str, Any]:
        """With all of them approved and the crew at work, everything is stopped."""
        began = len(await self._journal())
        async with open_crew(self.gate, commits.COMMITS, "bench") as crew:
            while len(await self._journal()) < began + UNTIL_HALT:
                await crew.start_due()
            told = utc_now()
            await halts.halt(self.gate, OPERATOR, reason="the benchmark says so")
            took = (utc_now() - told).total_seconds()
            quiet = time.perf_counter() + QUIET_S
            while time.perf_counter() < quiet:
                await crew.start_due()
                await asyncio.sleep(0.05)
        effects = (await self._journal())[began:]
        last = max(datetime.fromisoformat(effect["at"]) for effect in effects)
        return {
            "approved": len(proposals),
            "written_before": sum(datetime.fromisoformat(e["at"]) <= told for e in effects),
            "written_after": sum(datetime.fromisoformat(e["at"]) > told for e in effects),
            "halt_took_s": round(took, 3),
            "last_write_after_s": round((last - told).total_seconds(), 3),
        }

    async def _until(self, crew: Crew, there: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await there():
                while await crew.start_due():
                    pass
                await asyncio.sleep(0.1)

    async def _verified(self, of: Sequence[Proposal]) -> bool:
        query = (
            "SELECT count(*) FILTER (WHERE status = 'verified') AS verified,"
            " count(*) FILTER (WHERE status NOT IN ('approved', 'committing', 'committed',"
            " 'verified')) AS elsewhere FROM proposal WHERE tenant = $1 AND id = ANY ($2)"
        )
        row = await self.gate.database.fetch_row(query, [made.id for made in of])
        assert row is not None
        assert not row["elsewhere"], "one was not committed"
        return bool(row["verified"] == len(of))

    async def _journal(self) -> list[dict[str, Any]]:
        async with self.http.get(f"{self.base}/control/journal") as answer:
            found: list[dict[str, Any]] = await answer.json()
            return [effect for effect in found if effect["client"] != "hospital-staff"]

    async def _task(self) -> str:
        """A prior authorisation of a patient of its own: what is about one patient is written one
        after the other."""
        if not self.sample:
            async with self.http.get(f"{self.base}/control/scenario") as answer:
                reference = (await answer.json())["authorisation"]
            async with self.http.get(f"{self.base}/fhir/{reference}") as answer:
                self.sample = await answer.json()
        self.made += 1
        patient = {"resourceType": "Patient", "id": f"b{self.made}"}
        about = {"reference": f"Patient/b{self.made}"}
        for made in (patient, {**self.sample, "id": f"b{self.made}", "for": about}):
            async with self.http.put(f"{self.base}/control/chart", json=made) as answer:
                assert answer.status == 200, await answer.text()
        return f"Task/b{self.made}"


def _period() -> tuple[str, str, Any]:
    return ("add", "/executionPeriod", PERIOD)


async def _by(lanes: int, act: Callable[[str], Awaitable[None]], tasks: Sequence[str]) -> float:
    """So many at a time; seconds for all of them."""
    waiting = iter(tasks)

    async def lane() -> None:
        for task in waiting:
            await act(task)

    started = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(lanes)))
    return time.perf_counter() - started


def _shown(took: Sequence[float]) -> dict[str, Any]:
    return {
        "n": len(took),
        "p50_ms": round(statistics.median(took), 2),
        "p99_ms": round(statistics.quantiles(took, n=100)[-1], 2),
    }


def _config(folder: Path, fhir_url: str) -> Config:
    options = {"url": fhir_url, "dialect": "sample-hospital", "concurrency_max": 32}
    connection = ConnectionConfig(name=EHR, adapter="fhir_r4", options=options)
    return Config(folder=folder, connections={EHR: connection}, review=AT_ONCE)


def _targets(results: dict[str, Any]) -> dict[str, Any]:
    return {
        "submit_p99_max_ms": SUBMIT_P99_MAX_MS,
        "submit_holds": results["submit"]["p99_ms"] <= SUBMIT_P99_MAX_MS,
        "commits_per_second_min": COMMITS_MIN,
        "commits_hold": results["commit"]["per_second"] >= COMMITS_MIN,
        "taking_up_many_to_few": round(
            results["taking_up"]["of_many_ms"] / results["taking_up"]["of_few_ms"], 2
        ),
        "halt_max_s": HALT_MAX_S,
        "halt_holds": results["halt"]["last_write_after_s"] <= HALT_MAX_S,
        "bare_to_commit": round(results["bare"]["per_second"] / results["commit"]["per_second"], 1),
    }


if __name__ == "__main__":
    main()
