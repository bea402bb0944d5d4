"""From the socket to the record: a rate held for minutes, a burst, and how far behind it fell.

Real processes on loopback: PostgreSQL, one listener, workers, a paced sender, 1,000 patients. The
latency of each message is the store's own: from its acknowledgement to the commit that made it
record. The floor inserts the same versions, events and audit by a bare loop.

`python -m benchmarks.bench_record [--quick] [--rate 2000] [--minutes 10] [--workers 1] [--out F]`
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bench_intake import Bench
from benchmarks.bench_reads import rss_mb, running
from benchmarks.mllp_load import AT, Plan, prepared
from benchmarks.own import own_folder, tell
from chartgate.flows.events import PROCESS_MAX
from chartgate.flows.folding import Folded, Held, Reading, fold, read
from chartgate.formats.hl7v2 import parse
from chartgate.model.audit import AuditEvent
from chartgate.model.message import Event, Queued
from chartgate.model.resource import Copy
from chartgate.store.database import Database, open_database
from chartgate.store.inbox import InboxStore
from chartgate.store.outbox import OutboxStore, Subscription
from chartgate.store.record import RecordStore
from chartgate.store.vault_keys import MasterKeys
from chartgate.transform.hl7v2.settings import FeedSettings

RESULTS = Path(__file__).parent / "results" / "record.json"
BURST = 5  # times the rate
BURST_S = 60
WITHIN_S = 1200.0
CONNECTIONS = 32
FLOOR_MESSAGES = 20_000
SHARES = """
SELECT count(*) AS messages,
       percentile_cont(ARRAY[0.5, 0.99, 1.0]) WITHIN GROUP
         (ORDER BY extract(epoch FROM ended_at - received_at)) AS seconds
FROM inbox WHERE tenant = $1 AND control_id LIKE $2 || '-%' AND status = 'delivered'
"""


def main() -> None:
    """Measures, prints and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 seconds, and a burst of 5")
    parser.add_argument("--rate", type=float, default=2_000, help="messages a second")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    seconds = 20.0 if options.quick else options.minutes * 60
    burst_s = 5.0 if options.quick else BURST_S
    with own_folder() as folder, ExitStack() as stack:
        bench = RecordBench(folder, stack)
        results = asyncio.run(
            bench.held(options.rate, seconds, burst_s=burst_s, workers=options.workers)
        )
    tell(results, options.out)


class RecordBench(Bench):
    """One rate for long, then a burst of it."""

    async def held(
        self, rate: float, seconds: float, *, burst_s: float, workers: int
    ) -> dict[str, Any]:
        """Both runs, on processes that are warm."""
        url = self._write_files()
        listener = self.stack.enter_context(running(self._command("listen"), self._log))
        workings = [
            self.stack.enter_context(running(self._command("work"), self._log))
            for _ in range(workers)
        ]
        await self._listening()
        masters = MasterKeys(self.folder / "keys" / "vault.key")
        database = await open_database(url, tenant="main", masters=masters)
        try:
            await self._paced(database, "W", rate / 4, 5.0)
            results = {
                "rate_per_s": rate,
                "workers": workers,
                "floor": await floor(database),
                "sustained": await self._paced(database, "S", rate, seconds),
                "burst": await self._paced(database, "B", rate * BURST, burst_s),
                "counts": dict(await InboxStore(database).counts()),
            }
        finally:
            await database.close()
        results["listener_rss_mb"] = rss_mb(psutil.Process(listener.pid))
        results["worker_rss_mb"] = [rss_mb(psutil.Process(p.pid)) for p in workings]
        return results

    async def _paced(
        self, database: Database, prefix: str, rate: float, seconds: float
    ) -> dict[str, Any]:
        count = int(rate * seconds)
        plan = Plan(
            port=self.port,
            connections=CONNECTIONS,
            count=count,
            prefix=f"{prefix}-",
            kind="adt",
            window=4,
            rate=rate,
        )
        started = time.perf_counter()
        sent = await self._sent(plan)
        behind = (await InboxStore(database).counts()).get("queued", 0)
        while (await InboxStore(database).counts()).get("queued", 0):
            assert time.perf_counter() - started < WITHIN_S, "it never caught up"
            await asyncio.sleep(0.2)
        row = (await database.fetch(SHARES, prefix))[0]
        assert row["messages"] == count, f"{count} sent, {row['messages']} in the record"
        p50, p99, most = (round(value * 1000, 1) for value in row["seconds"])
        return {
            "messages": count,
            "sent_per_s": sent["per_s"],
            "ack_ms": sent["latency_ms"],
            "behind_at_the_end": behind,
            "drained_after_s": round(time.perf_counter() - started, 1),
            "record_per_s": round(count / (time.perf_counter() - started), 1),
            "to_record_ms": {"p50": p50, "p99": p99, "max": most},
        }


async def floor(database: Database) -> dict[str, Any]:
    """The versions, events and audit of as many messages, made beforehand, in the same commits
    as a worker's, and nothing else."""
    settings = FeedSettings(connection="floor", site="bench-site")
    plan = Plan(port=0, connections=0, count=FLOOR_MESSAGES, prefix="F-", kind="adt")
    held = Held()
    batches: list[tuple[list[Copy], list[Event]]] = []
    for number, raw in enumerate(prepared(plan), 1):
        trigger = str(parse(raw).message_type)
        queued = Queued(
            id=number, connection="floor", message_type=trigger, raw=raw, received_at=AT
        )
        reading = read(queued, settings)
        assert isinstance(reading, Reading), reading
        folded = fold(queued, reading, held)
        assert isinstance(folded, Folded), folded
        event = Event(
            site="bench-site",
            kind=trigger,
            focus=reading.said.focus,
            occurred_at=AT,
            message=number,
        )
        if number % PROCESS_MAX == 1:
            batches.append(([], []))
        batches[-1][0].extend(folded.copies)
        batches[-1][1].append(event)
    record, outbox = RecordStore(database), OutboxStore(database)
    started = time.perf_counter()
    for copies, events in batches:
        audit = AuditEvent(recorded=AT, action="message.process", agent="process:floor")
        async with database.change(audit) as transaction:
            await record.keep_in(transaction, "floor", copies)
            nobody: dict[tuple[str, str], Sequence[Subscription]] = {
                (event.site, event.kind): () for event in events
            }
            await outbox.append_in(transaction, events, nobody, at=AT)
    return {"per_s": round(FLOOR_MESSAGES / (time.perf_counter() - started), 1)}


if __name__ == "__main__":
    main()
