"""What one patient, message or destination in trouble costs all others, and what a large inbox costs.

Real processes on loopback: PostgreSQL, one listener, one worker, a paced sender. In one run the
same load goes through in calm and beside each kind of trouble: from acknowledged to in the record,
and from the sender's socket to a healthy client's notification. The share of the p99s has to stay
under 2. Then a claim is timed over a small inbox and over one of 30 times its rows.

`python -m benchmarks.bench_isolation [--quick] [--out FILE]`
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from benchmarks.bench_intake import WITHIN_S, Bench, references, serving
from benchmarks.bench_reads import free_port, running
from benchmarks.own import own_folder, tell
from chartgate.demo.sender import send_all
from chartgate.flows.events import PROCESS_MAX
from chartgate.store.database import Database, open_database
from chartgate.store.inbox import InboxStore
from chartgate.store.vault_keys import MasterKeys
from chartgate.testing.messages import adt, siu

RESULTS = Path(__file__).parent / "results" / "isolation.json"
RATE = 100  # messages a second of the others, and as many in trouble
PATIENTS = 50
CROWD = 10_001  # messages of one patient, at once
RATIO_MAX = 2.0
ROWS = (33_334, 1_000_000)  # of the inbox, 30 times apart
CLAIMS = 200
CLAIM_RATIO_MAX = 1.2
HANG_S = 60.0
CALM, CALM_AGAIN = "calm", "again_calm"

SENDS = """\
send_host = "127.0.0.1"
send_port = {closed}
"""
MORE = """\
[clients.closed-client]
jwks_file = "jwks.json"
notify_url = "http://127.0.0.1:{closed}/notify"
notify_secret_file = "client.whsec"
[clients.hanging-client]
jwks_file = "jwks.json"
notify_url = "http://127.0.0.1:{hanging}/notify"
notify_secret_file = "client.whsec"
"""
CHARTER = """\
charter: {name}
revision: 1
purpose_of_use: TREAT
sites: {{bench-site: bench-ehr}}
clients: [{client}]
model: models/bench.yaml
reads:
  Appointment: {{elements: [status, start, end]}}
events: [{events}]
rollout: [{{stage: suggest}}]
"""
CHARTERS = {  # client: events; the healthy one hears of all that the others hear of
    "bench-client": "SIU^S12, SIU^S13, SIU^S14",
    "closed-client": "SIU^S13",
    "hanging-client": "SIU^S14",
}
# What the store finds out only when it writes: the batch's transaction fails with it.
TRAP = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN IF NEW.id = 'trap' THEN RAISE division_by_zero; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON record_version FOR EACH ROW EXECUTE FUNCTION refuse();
"""
LATENCIES = """
SELECT extract(epoch FROM ended_at - received_at)::float8 AS seconds FROM inbox
WHERE tenant = $1 AND status = 'delivered' AND control_id LIKE $2 || '-%'
"""
CROWD_STATE = """
SELECT count(*) FILTER (WHERE status = 'delivered') AS delivered,
       count(*) FILTER (WHERE ended_at < before) AS overtaken
FROM (SELECT status, ended_at, max(ended_at) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING
        AND 1 PRECEDING) AS before FROM inbox
      WHERE tenant = $1 AND control_id LIKE 'many-%') one
"""
# Rows as they stand after months: nearly all of them done.
FILL = """
INSERT INTO inbox (tenant, connection, sender, control_id, message_type, lane, digest, raw, ack,
                   received_at, status, ended_at)
SELECT $1, 'bench-adt', 'OLD|NORTH', 'old-' || n, 'ADT^A08', n % 1024, decode(md5(n::text) ||
       md5(n::text), 'hex'), convert_to(repeat('x', 400), 'UTF8'), convert_to(repeat('y', 80),
       'UTF8'), now() - interval '1 day', 'delivered', now()
FROM generate_series($2::int, $3::int) AS n
"""
# As many messages wait, each of another patient.
QUEUE = """
UPDATE inbox SET status = 'queued', ended_at = NULL, reason = NULL, lane = id % 1024
WHERE tenant = $1 AND id IN (SELECT id FROM inbox WHERE tenant = $1 ORDER BY id DESC LIMIT $2)
"""


def main() -> None:
    """Measures, prints and writes the JSON; exit code 1 where a share is over its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with own_folder() as folder, ExitStack() as stack:
        results = asyncio.run(IsolationBench(folder, stack).isolated(quick=options.quick))
    tell(results, options.out)
    sys.exit(0 if results["held"] else 1)


class IsolationBench(Bench):
    """One load again and again, each time beside another trouble."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        super().__init__(folder, stack)
        self.closed_port = free_port()
        self.hanging_port = free_port()

    async def isolated(self, *, quick: bool) -> dict[str, Any]:
        """All phases on processes that are warm, then the claims."""
        url = self._write_files()
        self._write_more()
        seconds = 5.0 if quick else 30.0
        self.stack.enter_context(running(self._command("listen"), self._log))
        await self._listening()
        masters = MasterKeys(self.folder / "keys" / "vault.key")
        database = await open_database(url, tenant="main", masters=masters)
        results: dict[str, Any] = {}
        try:
            async with database.connection() as connection:
                await connection.execute(TRAP)
            async with (
                serving(self._notify, self.notify_port),
                serving(_hang, self.hanging_port),
            ):
                with running(self._command("work"), self._log):
                    await self._phase(database, "warm", 2.0)
                    for name, trouble in self._troubles().items():
                        print(name, file=sys.stderr, flush=True)
                        results[name] = await self._phase(database, name, seconds, **trouble)
                    results["crowd"] |= await self._crowd_done(database)
            results["claim_ms"] = await claims(database, ROWS if not quick else (1_000, 30_000))
        finally:
            await database.close()
        results["ratios"] = ratios(results)
        results["held"] = held(results)
        return results

    def _troubles(self) -> dict[str, dict[str, Any]]:
        """By phase: what is sent beside the load, or as what trigger the load itself goes."""
        return {
            CALM: {},
            "refused_patient": {"beside": _refused},
            "failing_patient": {"beside": _failing},
            "closed_notification": {"trigger": "S13"},
            "hanging_notification": {"trigger": "S14"},
            "dead_outgoing": {"beside": _asking},
            CALM_AGAIN: {},
            "crowd": {"before": _crowd},
        }

    async def _phase(
        self,
        database: Database,
        name: str,
        seconds: float,
        *,
        trigger: str = "S12",
        beside: Callable[[int], bytes] | None = None,
        before: Callable[[], Iterator[bytes]] | None = None,
    ) -> dict[str, Any]:
        sent: dict[str, float] = {}
        count = int(RATE * seconds)
        prefix = name.replace("_", "-")  # as FHIR ids want it

        def messages() -> Iterator[bytes]:
            for number in range(count):
                one = f"{prefix}-{number}"
                raw = siu(trigger, one, mrn=f"{number % PATIENTS}", appointment=one)
                sent[f"Appointment/{one}"] = time.perf_counter()
                yield raw

        if before is not None:
            await send_all(before(), "127.0.0.1", self.port, 1, 50)
        async with asyncio.TaskGroup() as tasks:
            if beside is not None:
                troubled = (beside(number) for number in range(count))
                tasks.create_task(send_all(troubled, "127.0.0.1", self.port, 2, rate=RATE))
            loading = tasks.create_task(send_all(messages(), "127.0.0.1", self.port, 4, rate=RATE))
        assert loading.result().codes == {"AA": count}, loading.result().codes
        async with asyncio.timeout(WITHIN_S):
            while not sent.keys() <= self.seen.keys():
                await asyncio.sleep(0.05)
        told = [self.seen[reference] - at for reference, at in sent.items()]
        stored = [row["seconds"] for row in await database.fetch(LATENCIES, prefix)]
        assert len(stored) == count, f"{count - len(stored)} messages of {name} are missing"
        return {"messages": count, "to_record_ms": shares(stored), "to_notified_ms": shares(told)}

    async def _crowd_done(self, database: Database) -> dict[str, Any]:
        """The last message of the crowd, and whether any came before its turn."""
        started = time.perf_counter()
        async with asyncio.timeout(WITHIN_S):
            while True:
                [row] = await database.fetch(CROWD_STATE)
                if row["delivered"] == CROWD:
                    break
                await asyncio.sleep(0.2)
        return {
            "crowd_delivered": row["delivered"],
            "crowd_overtaken": row["overtaken"],
            "crowd_done_s_after_the_load": round(time.perf_counter() - started, 1),
        }

    async def _notify(self, request: web.Request) -> web.Response:
        now = time.perf_counter()
        for reference in references(orjson.loads(await request.read())):
            self.seen.setdefault(reference, now)
        return web.Response(status=204)

    def _write_more(self) -> None:
        config = self.folder / "chartgate.toml"
        option = 'id_from = "identifier"\n'
        text = config.read_text().replace(option, option + SENDS.format(closed=self.closed_port))
        config.write_text(text + MORE.format(closed=self.closed_port, hanging=self.hanging_port))
        for client, events in CHARTERS.items():
            text = CHARTER.format(name=client, client=client, events=events)
            (self.folder / "charters" / f"{client}.yaml").write_text(text)
        (self.folder / "charters" / "bench.yaml").unlink()


def _refused(number: int) -> bytes:
    return adt("A08", f"refused-{number}", mrn="poison").replace(b"19800102", b"19801399")


def _failing(number: int) -> bytes:
    return adt("A08", f"failing-{number}", mrn="trap")


def _asking(number: int) -> bytes:
    """Wants an application acknowledgement, which has nowhere to go."""
    raw = adt("A08", f"asking-{number}", mrn=f"asking{number % PATIENTS}")
    return raw.replace(b"|P|2.5\r", b"|P|2.5|||AL|AL\r", 1)


def _crowd() -> Iterator[bytes]:
    for number in range(CROWD):
        yield adt("A08", f"many-{number}", mrn="crowd")


async def _hang(_: web.Request) -> web.Response:
    await asyncio.sleep(HANG_S)
    return web.Response(status=204)


async def claims(database: Database, sizes: tuple[int, ...]) -> dict[str, float]:
    """Median time of a claim of a full batch, by how many rows the inbox has."""
    found: dict[str, float] = {}
    filled = 0
    inbox = InboxStore(database)
    await database.fetch(QUEUE, PROCESS_MAX * 4)
    for size in sizes:
        async with database.connection() as connection:
            await connection.execute(FILL, database.tenant, filled, size - 1, timeout=600)
            await connection.execute("VACUUM ANALYZE inbox", timeout=600)
        filled = size
        times = []
        for _ in range(CLAIMS):
            async with database.connection() as connection:
                transaction = connection.transaction()
                await transaction.start()
                started = time.perf_counter()
                claimed = await inbox.claim(connection, count_max=PROCESS_MAX)
                times.append(1000 * (time.perf_counter() - started))
                assert len(claimed) == PROCESS_MAX
                await transaction.rollback()
        found[f"rows_{size}"] = round(statistics.median(times), 3)
    return found


def shares(seconds: list[float]) -> dict[str, float]:
    """Median, p99 and the most, in milliseconds."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {
        name: round(1000 * ordered[min(last, int(len(ordered) * share))], 1)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }


def ratios(results: dict[str, Any]) -> dict[str, float]:
    """p99 beside each trouble to that in calm, and the claim over many rows to that over few."""
    found = {
        f"{phase}_{what.removesuffix('_ms')}": round(
            run[what]["p99"] / results[CALM][what]["p99"], 2
        )
        for phase, run in results.items()
        for what in ("to_record_ms", "to_notified_ms")
        if phase != CALM and what in run
    }
    small, large = results["claim_ms"].values()
    return found | {"claim_large_to_small": round(large / small, 2)}


def held(results: dict[str, Any]) -> bool:
    """Whether all shares are within their limits, and the crowd came through in order."""
    limits = {name: RATIO_MAX for name in results["ratios"]}
    limits["claim_large_to_small"] = CLAIM_RATIO_MAX
    crowd = results["crowd"]
    return (
        all(share <= limits[name] for name, share in results["ratios"].items())
        and crowd["crowd_delivered"] == CROWD
        and not crowd["crowd_overtaken"]
    )


if __name__ == "__main__":
    main()
