"""Governed reads against the bare upstream: speed, added latency, growth and memory.

Everything that governs a read is on: policy, each patient's consent (the site is opt-in), labels by
content, minimisation, the kept copy of what left, and the audit. Real processes on loopback: a sample hospital, PostgreSQL, one gateway, one load generator. The
figures of one run are compared with one another, never with those of another day.

`python -m benchmarks.bench_reads [--quick] [--out FILE]`
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil
from joserfc import jwt
from joserfc.jwk import ECKey

from benchmarks.http_load import Plan
from benchmarks.own import own_folder, tell
from chartgate.store.embedded import start_embedded
from chartgate.store.vault_keys import create_master_key
from chartgate.store.witness import create_signing_key

SITE = "bench-site"
CLIENT = "bench-client"
CONCURRENCY = 16
SIZES = (200, 6_000)  # resources in the record, 30 times apart
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
RSS_READS = 100_000
RELATIONSHIP = "http://terminology.hl7.org/CodeSystem/v2-0131"
CONSENT_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
RESULTS = Path(__file__).parent / "results" / "reads.json"

CONFIG = """\
[store]
database_url = "{database_url}"
[web]
port = {port}
[ledger]
signing_key_file = "ledger.pem"
[connections.bench-ehr]
adapter = "fhir_r4"
url = "{fhir_url}"
dialect = "sample-hospital"
[clients.{client}]
jwks_file = "jwks.json"
[sites.bench-site]
consent = "opt-in"
consent_from = "bench-ehr"
consent_fresh_s = 3600.0
"""
CHARTER = """\
charter: {name}
revision: 1
purpose_of_use: TREAT
sites: {{{site}: bench-ehr}}
clients: [{client}]
model: models/bench.yaml
reads:
  Patient: {{elements: [name, birthDate, gender, telecom], fresh: {fresh}}}
rollout: [{{stage: suggest}}]
"""
MODEL = 'model: bench\nversion: "1"\n'


def main() -> None:
    """Measures, prints a table and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer requests, no memory run")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with own_folder() as folder, ExitStack() as stack:
        bench = Bench(folder, stack)
        results = asyncio.run(bench.measure(quick=options.quick))
    tell(results, options.out)


class Bench:
    """The processes, and the runs on them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.port = free_port()
        self.hospital_port = free_port()
        self.key = ECKey.generate_key("P-384")
        self.gateway: psutil.Process | None = None

    async def measure(self, *, quick: bool) -> dict[str, Any]:
        """All runs, in an order that gives each its own warm-up."""
        requests = 4_000 if quick else 20_000
        self.stack.enter_context(running(self._hospital_command(), self.folder / "hospital.log"))
        await wait_for(f"http://127.0.0.1:{self.hospital_port}/fhir/metadata")
        await self._fill(max(SIZES))
        self._write_files()
        # Without a worker that signs heads nothing is answered for long.
        self.stack.enter_context(running(self._gateway_command("work"), self._log))
        gateway = self.stack.enter_context(running(self._gateway_command("serve"), self._log))
        await wait_for(f"http://127.0.0.1:{self.port}/health/ready")
        process = self.gateway = psutil.Process(gateway.pid)
        results: dict[str, Any] = {"concurrency": CONCURRENCY}
        for size in SIZES:
            results[f"records_{size}"] = await self._runs(size, requests)
        results["one_at_a_time"] = await self._latency(requests // 4)
        if not quick:
            results["memory"] = await self._memory(process)
        results["gateway_rss_mb"] = rss_mb(process)
        results["ratios"] = ratios(results)
        return results

    async def _runs(self, size: int, requests: int) -> dict[str, Any]:
        bare = [f"/fhir/Patient/p{n}" for n in range(size)]
        gated = [f"/fhir/{SITE}/Patient/p{n}" for n in range(size)]
        aged, live = await self._headers("aged"), await self._headers("live")
        for headers in (aged, live):  # fills the record, and minimises once for each charter
            await self._load(self.port, gated, headers, max(size, 1000))
        return {
            "bare": await self._load(self.hospital_port, bare, {}, requests),
            "age": await self._load(self.port, gated, aged, requests),
            "live": await self._load(self.port, gated, live, requests),
        }

    async def _latency(self, requests: int) -> dict[str, Any]:
        """One at a time, so that only the path is measured and not the queue."""
        paths, gated = ["/fhir/Patient/p1"], [f"/fhir/{SITE}/Patient/p1"]
        return {
            "bare": await self._load(self.hospital_port, paths, {}, requests, concurrency=1),
            "age": await self._load(
                self.port, gated, await self._headers("aged"), requests, concurrency=1
            ),
            "live": await self._load(
                self.port, gated, await self._headers("live"), requests, concurrency=1
            ),
        }

    async def _memory(self, process: psutil.Process) -> dict[str, Any]:
        paths = [f"/fhir/{SITE}/Patient/p{n}" for n in range(max(SIZES))]
        before = rss_mb(process)
        half = await self._load(self.port, paths, await self._headers("aged"), RSS_READS // 2)
        middle = rss_mb(process)
        await self._load(self.port, paths, await self._headers("aged"), RSS_READS // 2)
        return {
            "reads": RSS_READS,
            "rss_mb": [before, middle, rss_mb(process)],
            "per_second": half["per_second"],
        }

    async def _load(
        self,
        port: int,
        paths: list[str],
        headers: dict[str, str],
        requests: int,
        *,
        concurrency: int = CONCURRENCY,
    ) -> dict[str, Any]:
        plan = Plan("127.0.0.1", port, paths, headers, requests, concurrency)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.http_load",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        before_s = self._gateway_cpu_s()
        out, _ = await process.communicate(json.dumps(asdict(plan)).encode())
        result: dict[str, Any] = json.loads(out)
        if port == self.port:  # processor time is less moved by what else the machine does
            spent_s = self._gateway_cpu_s() - before_s
            result["gateway_cpu_us"] = round(spent_s / requests * 1e6)
        assert set(result["statuses"]) == {"200"}, result["statuses"]
        return result

    def _gateway_cpu_s(self) -> float:
        times = self.gateway.cpu_times() if self.gateway else None
        return times.user + times.system if times else 0.0

    async def _headers(self, charter: str) -> dict[str, str]:
        """A token under a charter, and one interaction for all its reads."""
        now = int(time.time())
        url = f"http://127.0.0.1:{self.port}/oauth/token"
        claims = {"iss": CLIENT, "sub": CLIENT, "aud": url, "exp": now + 240}
        header = {"alg": "ES384", "kid": self.key.thumbprint()}
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": jwt.encode(
                header, {**claims, "jti": str(uuid.uuid4())}, self.key, algorithms=["ES384"]
            ),
            "scope": f"charter:{charter} system/*.rs",
        }
        async with aiohttp.ClientSession() as http:
            async with http.post(url, data=form) as answer:
                token = (await answer.json())["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            first = f"http://127.0.0.1:{self.port}/fhir/{SITE}/Patient/p1"
            async with http.get(first, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                return {**headers, "Chartgate-Interaction": answer.headers["Chartgate-Interaction"]}

    async def _fill(self, size: int) -> None:
        """Puts synthetic patients, each with a consent, into the sample hospital."""
        url = f"http://127.0.0.1:{self.hospital_port}/control/chart"
        async with aiohttp.ClientSession() as http:
            for n in range(size):
                for resource in (patient(n), consent(n)):
                    async with http.put(url, data=orjson.dumps(resource)) as answer:
                        assert answer.status == 200, await answer.text()

    def _write_files(self) -> None:
        server = start_embedded(self.folder / "data")
        self.stack.callback(server.stop)
        charters = self.folder / "charters"
        (charters / "models").mkdir(parents=True)
        (charters / "models" / "bench.yaml").write_text(MODEL)
        for name, fresh in (("aged", "1h"), ("live", "live")):
            text = CHARTER.format(name=name, fresh=fresh, site=SITE, client=CLIENT)
            (charters / f"{name}.yaml").write_text(text)
        public = {**self.key.as_dict(private=False), "kid": self.key.thumbprint()}
        (self.folder / "jwks.json").write_bytes(orjson.dumps({"keys": [public]}))
        fhir_url = f"http://127.0.0.1:{self.hospital_port}/fhir"
        text = CONFIG.format(
            database_url=server.url, port=self.port, fhir_url=fhir_url, client=CLIENT
        )
        create_signing_key(self.folder / "ledger.pem")
        create_master_key(self.folder / "keys" / "vault.key")
        (self.folder / "chartgate.toml").write_text(text)

    @property
    def _log(self) -> Path:
        return self.folder / "gateway.log"

    def _hospital_command(self) -> list[str]:
        module = ["-m", "chartgate.demo.hospital", "--port", str(self.hospital_port)]
        return [sys.executable, *module]

    def _gateway_command(self, verb: str) -> list[str]:
        config = str(self.folder / "chartgate.toml")
        return [sys.executable, "-m", "chartgate", "--config", config, verb]


def patient(n: int) -> dict[str, Any]:
    """A synthetic patient of 3 kB; a tenth of it is what the charter shows."""
    return {
        "resourceType": "Patient",
        "id": f"p{n}",
        "identifier": [{"system": "urn:example:mrn", "value": f"{n:08}"}],
        "name": [{"use": "official", "family": f"Family{n % 97}", "given": [f"Given{n % 89}"]}],
        "telecom": [{"system": "phone", "value": f"555-{n:07}", "use": "home"}],
        "gender": ("female", "male", "other")[n % 3],
        "birthDate": f"{1930 + n % 80}-0{1 + n % 9}-1{n % 9}",
        "address": [{"line": [f"{n} Test Street"], "city": "Testville", "postalCode": "00000"}],
        "maritalStatus": {"text": "unknown"},
        "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "en"}]}}],
        "generalPractitioner": [{"reference": f"Practitioner/{n % 7}", "display": "Dr Example"}],
        "contact": [
            {
                "relationship": [{"coding": [{"system": RELATIONSHIP, "code": "N"}]}],
                "name": {"family": f"Family{n % 97}", "given": [f"Relative{number}"]},
                "telecom": [{"system": "phone", "value": f"555-{number:07}"}],
                "address": {"line": [f"{number} Test Street"], "city": "Testville"},
            }
            for number in range(8)
        ],
    }


def consent(n: int) -> dict[str, Any]:
    """What that patient consents to: everything, as most do."""
    return {
        "resourceType": "Consent",
        "id": f"c{n}",
        "status": "active",
        "scope": {"coding": [{"system": CONSENT_SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/p{n}"},
        "dateTime": "2025-01-01T00:00:00Z",
        "policy": [{"uri": "http://example.org/policy"}],
        "provision": {"type": "permit"},
    }


def ratios(results: dict[str, Any]) -> dict[str, float]:
    """What the targets are about; all within this run."""
    small, large = (results[f"records_{size}"] for size in SIZES)
    alone = results["one_at_a_time"]
    return {
        "age_to_bare": round(large["age"]["per_second"] / large["bare"]["per_second"], 2),
        "live_to_bare": round(large["live"]["per_second"] / large["bare"]["per_second"], 2),
        "age_large_to_small": round(large["age"]["per_second"] / small["age"]["per_second"], 2),
        "added_live_p50_ms": round(alone["live"]["p50_ms"] - alone["bare"]["p50_ms"], 3),
    }


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process, ended at the end."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def wait_for(url: str, *, within_s: float = 60.0) -> None:
    """Until `url` answers 200. Raises TimeoutError."""
    async with asyncio.timeout(within_s), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def rss_mb(process: psutil.Process) -> float:
    """Resident memory of a process."""
    return round(process.memory_info().rss / 1e6, 1)


if __name__ == "__main__":
    main()
