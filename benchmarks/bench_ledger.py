"""The ledger: durable audit events, numbering, proofs at two sizes, and whole checks.

Real PostgreSQL with its durability on. Sizes grow thirtyfold in one run, so that what grows with
the ledger shows; the figures of one run are compared with one another, never with another day's.

`python -m benchmarks.bench_ledger [--quick] [--out FILE]`
"""

import argparse
import asyncio
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import uvloop

from benchmarks.own import own_postgres, tell
from chartgate.clock import utc_now
from chartgate.config import Config
from chartgate.flows import ledger
from chartgate.formats.checkpoint import Signer
from chartgate.gate import Gate, Running
from chartgate.model.audit import AuditEvent
from chartgate.model.interaction import Seen
from chartgate.policy.charters import compile_book
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database, append_audit_events, open_database
from chartgate.store.vault_keys import new_masters
from chartgate.store.witness import Witness, create_signing_key, load_signer

CONCURRENCIES = (16, 64)
FULL_SIZE, QUICK_SIZE = 300_000, 15_000  # events; proofs are timed at a thirtieth of it too
GROWTH = 30
PROOFS = 500
INSERT_BATCH = 1_000
VERIFIER = Path(__file__).parents[1] / "tools" / "verify_ledger.py"


def read_event(number: int) -> AuditEvent:
    """As a governed read leaves it."""
    return AuditEvent(
        recorded=utc_now(),
        action="fhir.read",
        agent="client:slot-picker",
        entities=(f"Slot/{number}",),
        patient=f"Patient/{number % 997}",
        site="north-clinic",
        charter="clinic-booking",
        charter_digest="ab" * 32,
        purpose="TREAT",
        interaction=str(uuid.UUID(int=number % 50)),
        rule="clinic-booking/read",
        decision="cd" * 16,
    )


async def append_rate(writer: AuditWriter, *, concurrency: int, seconds: float) -> dict[str, Any]:
    """Events a second, each with a row of its read set, each awaited until it is durable."""
    waits: list[float] = []
    start = time.perf_counter()
    seen = (Seen(reference="Slot/1", version="1", digest=bytes(32), as_of=utc_now()),)

    async def ask() -> None:
        while (begun := time.perf_counter()) < start + seconds:
            await writer.record(read_event(len(waits)), seen=seen)
            waits.append(time.perf_counter() - begun)

    await asyncio.gather(*(ask() for _ in range(concurrency)))
    return {
        "concurrency": concurrency,
        "n": len(waits),
        "events_per_s": round(len(waits) / (time.perf_counter() - start)),
        **percentiles(waits),
    }


async def grow(database: Database, count: int) -> None:
    """So many more events, as fast as they go in."""
    for first in range(0, count, INSERT_BATCH):
        events = [read_event(n) for n in range(first, min(first + INSERT_BATCH, count))]
        async with database.bookkeeping() as connection:
            await append_audit_events(connection, database.tenant, events)


async def sequence_rate(gate: Gate, signer: Signer, witness: Witness) -> dict[str, Any]:
    """Numbers all there is, heads included."""
    start = time.perf_counter()
    total = 0
    while count := await ledger.sequence_next(gate, signer, witness):
        total += count
    elapsed = time.perf_counter() - start
    await asyncio.sleep(gate.config.ledger.interval_s)
    await ledger.sequence_next(gate, signer, witness)  # the head over the last of them
    return {"n": total, "events_per_s": round(total / elapsed)}


async def merge_delay(gate: Gate, signer: Signer, witness: Witness, *, seconds: float) -> Any:
    """From an event's making to its number, while the writer and the sequencer both run."""
    delays: list[float] = []
    stop = time.perf_counter() + seconds

    async def sequence() -> None:
        while time.perf_counter() < stop:
            done = await ledger.sequence_round(gate, signer, witness)
            if done.merge_delay_s is not None:
                delays.append(done.merge_delay_s)
            await asyncio.sleep(gate.config.ledger.interval_s if done.count == 0 else 0)

    _, rate = await asyncio.gather(
        sequence(), append_rate(gate.audit, concurrency=16, seconds=seconds)
    )
    return {"events_per_s_beside_it": rate["events_per_s"], **percentiles(delays)}


async def proof_waits(database: Database, *, size: int) -> dict[str, Any]:
    """Inclusion proofs of random events, one after another."""
    dice = random.Random(size)
    waits = []
    for _ in range(PROOFS):
        begun = time.perf_counter()
        await ledger.prove(database, dice.randrange(size))
        waits.append(time.perf_counter() - begun)
    return {"size": size, "n": PROOFS, **percentiles(waits)}


async def timed(work: Callable[[], Awaitable[Any]], count: int) -> dict[str, Any]:
    """How many a second, of `count`."""
    start = time.perf_counter()
    await work()
    elapsed = time.perf_counter() - start
    return {"n": count, "seconds": round(elapsed, 2), "events_per_s": round(count / elapsed)}


async def stranger(folder: Path, witness: Path) -> None:
    """The independent verifier in a process of its own; fails if it finds anything."""
    arguments = [str(folder), "--key", str(folder / "public_key.txt"), "--witness", str(witness)]
    await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-I", str(VERIFIER), *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def percentiles(waits: list[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    ordered = sorted(waits) or [0.0]
    return {
        f"p{share}_ms": round(ordered[len(ordered) * share // 100] * 1000, 2) for share in (50, 99)
    }


async def measure(url: str, folder: Path, *, quick: bool) -> dict[str, Any]:
    """All figures of one run."""
    size, seconds = (QUICK_SIZE, 2.0) if quick else (FULL_SIZE, 8.0)
    create_signing_key(folder / "ledger.pem")
    async with AsyncExitStack() as stack:
        database = await open_database(url, tenant="main", masters=new_masters())
        stack.push_async_callback(database.close)
        writer = AuditWriter(database)
        await writer.start()
        stack.push_async_callback(writer.close)
        gate = Gate(
            config=Config(folder=folder),
            clock=utc_now,
            database=database,
            audit=writer,
            running=Running(charters=compile_book([])),
            sources={},
            sinks={},
        )
        signer = load_signer(folder / "ledger.pem", origin=gate.config.ledger.origin)
        witness = Witness(folder / "witness.txt")
        figures: dict[str, Any] = {"cores": psutil.cpu_count(), "size": size}

        await grow(database, size // GROWTH)
        figures["sequence_small"] = await sequence_rate(gate, signer, witness)
        figures["prove_small"] = await proof_waits(database, size=size // GROWTH)
        await grow(database, size - size // GROWTH)
        figures["sequence_large"] = await sequence_rate(gate, signer, witness)
        figures["prove_large"] = await proof_waits(database, size=size)

        verdict = await ledger.verify(database, witness=witness, public_key=signer.key)
        assert verdict.holds, verdict.findings
        figures["verify"] = await timed(
            lambda: ledger.verify(database, witness=witness, public_key=signer.key), size
        )
        figures["export"] = await timed(
            lambda: ledger.export(database, folder / "export", public_key=signer.key), size
        )
        figures["verify_independent"] = await timed(
            lambda: stranger(folder / "export", witness.path), size
        )
        figures["append"] = [
            await append_rate(writer, concurrency=number, seconds=seconds)
            for number in CONCURRENCIES
        ]
        await sequence_rate(gate, signer, witness)
        figures["merge_delay"] = await merge_delay(gate, signer, witness, seconds=seconds)
        figures["rss_mb"] = round(psutil.Process().memory_info().rss / 1e6)
        return figures


def main() -> None:
    """Runs all of it on a PostgreSQL of its own, and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller, for a first look")
    parser.add_argument("--out", type=Path, help="also write the figures there")
    options = parser.parse_args()
    with own_postgres() as (folder, url):
        figures = uvloop.run(measure(url, folder, quick=options.quick))
    tell(figures, options.out)


if __name__ == "__main__":
    main()
