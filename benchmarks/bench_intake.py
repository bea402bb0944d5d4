"""Intake: acknowledged messages a second, and from change to notified, beside the bare floor.

Real processes on loopback: PostgreSQL, one listener, a worker, a sender. The floor inserts the
same rows with the same commits and does nothing else; the figures of one run are compared with
one another, never with those of another day.

`python -m benchmarks.bench_intake [--quick] [--out FILE]`
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import psutil
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.bench_reads import free_port, rss_mb, running
from benchmarks.mllp_load import AT, Plan, prepared
from benchmarks.own import own_folder, tell
from chartgate.demo.sender import send_all
from chartgate.model.audit import AuditEvent
from chartgate.model.message import Arrival, Received
from chartgate.store.database import Database, open_database
from chartgate.store.embedded import start_embedded
from chartgate.store.inbox import InboxStore
from chartgate.store.quarantine import QuarantineStore
from chartgate.store.vault_keys import MasterKeys, create_master_key
from chartgate.testing.messages import siu
from chartgate.transform.hl7v2.admission import admit
from chartgate.transform.hl7v2.settings import FeedSettings

CONNECTIONS = (8, 64, 1)
SIZES = (2_000, 60_000)  # messages in the inbox before the run, 30 times apart
LATENCY_RATE = 100
RESULTS = Path(__file__).parent / "results" / "intake.json"
WITHIN_S = 120.0

CONFIG = """\
[store]
database_url = "{database_url}"
[ledger]
signing_key_file = "ledger.pem"
[mllp]
port = {port}
[connections.bench-adt]
adapter = "hl7v2_mllp"
site = "bench-site"
id_from = "identifier"
[connections.bench-ehr]
adapter = "fhir_r4"
url = "http://127.0.0.1:9/fhir"
[clients.bench-client]
jwks_file = "jwks.json"
notify_url = "http://127.0.0.1:{notify_port}/notify"
notify_secret_file = "client.whsec"
"""
CHARTER = """\
charter: bench
revision: 1
purpose_of_use: TREAT
sites: {bench-site: bench-ehr}
clients: [bench-client]
model: models/bench.yaml
reads:
  Appointment: {elements: [status, start, end]}
events: [SIU^S12]
rollout: [{stage: suggest}]
"""
MODEL = 'model: bench\nversion: "1"\n'
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def main() -> None:
    """Measures, prints and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer messages")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with own_folder() as folder, ExitStack() as stack:
        results = asyncio.run(Bench(folder, stack).measure(quick=options.quick))
    tell(results, options.out)


class Bench:
    """The processes, and the runs on them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.port = free_port()
        self.notify_port = free_port()
        self.runs = 0
        self.seen: dict[str, float] = {}  # when each focus was notified of

    async def measure(self, *, quick: bool) -> dict[str, Any]:
        """All runs."""
        url = self._write_files()
        listener = self.stack.enter_context(running(self._command("listen"), self._log))
        await self._listening()
        masters = MasterKeys(self.folder / "keys" / "vault.key")
        database = await open_database(url, tenant="main", masters=masters)
        results: dict[str, Any] = {}
        try:
            await self._send(8, 500)  # warms up
            for size in SIZES if not quick else SIZES[:1]:
                await self._fill(database, size)
                results[f"inbox_{size}"] = {
                    f"connections_{n}": {
                        "chartgate": await self._send(n, self._count(n, quick)),
                        "floor": await self._floor(database, n, self._count(n, quick)),
                    }
                    for n in CONNECTIONS
                }
            results["listener_rss_mb"] = rss_mb(psutil.Process(listener.pid))
            async with serving(self._notify, self.notify_port):
                worker = self.stack.enter_context(running(self._command("work"), self._log))
                results["processing"] = await self._drained(database)
                results["change_to_notified"] = await self._notified(200 if quick else 2_000)
            results["worker_rss_mb"] = rss_mb(psutil.Process(worker.pid))
        finally:
            await database.close()
        results["ratios"] = ratios(results)
        return results

    async def _send(self, connections: int, count: int) -> dict[str, Any]:
        self.runs += 1
        plan = Plan(port=self.port, connections=connections, count=count, prefix=f"R{self.runs}-")
        return await self._sent(plan)

    async def _sent(self, plan: Plan) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.mllp_load",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate(json.dumps(asdict(plan)).encode())
        result: dict[str, Any] = json.loads(out)
        assert result["codes"] == {"AA": plan.count}, result["codes"]
        return result

    async def _floor(self, database: Database, connections: int, count: int) -> dict[str, Any]:
        """The same rows in commits of as many as there are connections, and nothing else."""
        self.runs += 1
        plan = Plan(port=0, connections=0, count=count, prefix=f"F{self.runs}-")
        arrivals = list(admitted(prepared(plan)))
        inbox = InboxStore(database)
        started = time.perf_counter()
        for first in range(0, count, connections):
            event = AuditEvent(
                recorded=arrivals[0].received_at, action="message.accept", agent="process:floor"
            )
            await inbox.accept(arrivals[first : first + connections], event)
        return {"per_s": round(count / (time.perf_counter() - started), 1)}

    async def _fill(self, database: Database, size: int) -> None:
        """Brings the inbox to `size` messages."""
        held = sum((await InboxStore(database).counts()).values())
        await self._floor(database, 500, max(0, size - held))

    async def _drained(self, database: Database) -> dict[str, Any]:
        """How fast one worker turns the queue into record and events."""
        inbox = InboxStore(database)
        at_first = (await inbox.counts()).get("queued", 0)
        started = time.perf_counter()
        while left := (await inbox.counts()).get("queued", 0):
            assert time.perf_counter() - started < WITHIN_S * 5, f"{left} still queued"
            await asyncio.sleep(0.1)
        elapsed_s = time.perf_counter() - started
        undelivered = "SELECT count(*) FROM notification WHERE tenant = $1 AND delivered_at IS NULL"
        while await database.fetch_value(undelivered):
            assert time.perf_counter() - started < WITHIN_S * 5, "notifications are stuck"
            await asyncio.sleep(0.1)
        return {
            "messages": at_first,
            "per_s": round(at_first / elapsed_s, 1),
            "counts": dict(await inbox.counts()),
            "quarantine": [list(row[:3]) for row in await QuarantineStore(database).counts()],
        }

    async def _notified(self, count: int) -> dict[str, Any]:
        """From handing the message to the socket to the notification at the client."""
        sent: dict[str, float] = {}

        def messages() -> Iterator[bytes]:
            for number in range(count):
                appointment = f"N{self.runs}-{number}"
                message = siu("S12", f"N-{number}", mrn=f"{number % 50}", appointment=appointment)
                sent[f"Appointment/{appointment}"] = time.perf_counter()
                yield message

        await send_all(messages(), "127.0.0.1", self.port, 4, rate=LATENCY_RATE)
        async with asyncio.timeout(WITHIN_S):
            while not sent.keys() <= self.seen.keys():
                await asyncio.sleep(0.05)
        delays = sorted(1000 * (self.seen[reference] - at) for reference, at in sent.items())
        return {
            "messages": count,
            "rate_per_s": LATENCY_RATE,
            **{
                f"{name}_ms": round(delays[min(count - 1, int(count * share))], 1)
                for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
            },
        }

    async def _notify(self, request: web.Request) -> web.Response:
        now = time.perf_counter()
        for reference in references(orjson.loads(await request.read())):
            self.seen.setdefault(reference, now)
        return web.Response(status=204)

    async def _listening(self) -> None:
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                return

    @staticmethod
    def _count(connections: int, quick: bool) -> int:
        full = {1: 4_000, 8: 20_000, 64: 40_000}[connections]
        return full // 10 if quick else full

    def _write_files(self) -> str:
        server = start_embedded(self.folder / "data")
        self.stack.callback(server.stop)
        models = self.folder / "charters" / "models"
        models.mkdir(parents=True)
        (models / "bench.yaml").write_text(MODEL)
        (self.folder / "charters" / "bench.yaml").write_text(CHARTER)
        (self.folder / "client.whsec").write_text(SECRET)
        (self.folder / "jwks.json").write_text('{"keys": []}')
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / "ledger.pem").write_bytes(pem)
        create_master_key(self.folder / "keys" / "vault.key")
        text = CONFIG.format(database_url=server.url, port=self.port, notify_port=self.notify_port)
        (self.folder / "chartgate.toml").write_text(text)
        return server.url

    @property
    def _log(self) -> Path:
        return self.folder / "chartgate.log"

    def _command(self, verb: str) -> list[str]:
        config = str(self.folder / "chartgate.toml")
        return [sys.executable, "-m", "chartgate", "--config", config, verb]


@asynccontextmanager
async def serving(handler: Any, port: int) -> AsyncIterator[None]:
    """An AI client's notification endpoint."""
    app = web.Application()
    app.add_routes([web.post("/notify", handler)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield
    finally:
        await runner.cleanup()


def admitted(messages: Iterator[bytes]) -> Iterator[Arrival]:
    """The rows that the listener would insert."""
    settings = FeedSettings(connection="bench-adt", site="bench-site")
    for raw in messages:
        arrival = admit(Received(connection="bench-adt", raw=raw), settings, AT)
        assert isinstance(arrival, Arrival)
        yield arrival


def references(bundle: dict[str, Any]) -> list[str]:
    """The focus of a notification, relative to its site."""
    parameters = bundle["entry"][0]["resource"]["parameter"]
    parts = next(p["part"] for p in parameters if p["name"] == "notification-event")
    focus = next(p["valueReference"]["reference"] for p in parts if p["name"] == "focus")
    return ["/".join(focus.rsplit("/", 2)[-2:])]


def ratios(results: dict[str, Any]) -> dict[str, float]:
    """Against the floor, and of the large inbox against the small; all within this run."""
    found: dict[str, float] = {}
    sized = {name: runs for name, runs in results.items() if name.startswith("inbox_")}
    for name, runs in sized.items():
        for connections, run in runs.items():
            share = run["chartgate"]["per_s"] / run["floor"]["per_s"]
            found[f"{name}_{connections}_to_floor"] = round(share, 2)
    small, large = (sized.get(f"inbox_{size}") for size in SIZES)
    if small and large:
        for connections in small:
            share = (
                large[connections]["chartgate"]["per_s"] / small[connections]["chartgate"]["per_s"]
            )
            found[f"{connections}_large_to_small"] = round(share, 2)
    return found


if __name__ == "__main__":
    main()
