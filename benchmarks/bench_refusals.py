"""Whether the time of a refusal tells of what is hidden: 1,000 tries of each, taken in turn.

Real processes on loopback, as bench_reads has them; the system of record takes 20 ms for each
answer, so that asking it or not would show. Pairs that must not be told apart, by the median:

* a type that the charter does not read: an id that is there, and one that is not;
* a type that it reads: an id whose patient's consent hides it, and one that is not there; once
  where the record would answer at once (fresh: 1h), and once where it is always asked (live).

A type that is not read and one that is may be told apart: what a charter reads is public.

`python -m benchmarks.bench_refusals [--quick] [--out FILE]`
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from benchmarks.bench_reads import SITE, Bench, consent, patient, running, wait_for
from benchmarks.own import own_folder, tell

TRIES = 1_000
HIDDEN = 50  # patients whose consent says no
LATENCY_S = 0.02
DIFFERENCE_MAX_MS = 5.0
WARM_UP = 20
READY_WITHIN_S = 60.0
RESULTS = Path(__file__).parent / "results" / "bench_refusals.json"


def main() -> None:
    """Measures, prints and writes the JSON; exit code 1 where a pair can be told apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 tries of each")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with own_folder() as folder, ExitStack() as stack:
        bench = RefusalBench(folder, stack)
        results = asyncio.run(bench.compare(200 if options.quick else TRIES))
    tell(results, options.out)
    worst = max(pair["median_difference_ms"] for pair in results["pairs"].values())
    sys.exit(1 if worst > DIFFERENCE_MAX_MS else 0)


class RefusalBench(Bench):
    """The processes of bench_reads, and patients who said no."""

    async def compare(self, tries: int) -> dict[str, Any]:
        """Each pair in turn."""
        self.stack.enter_context(running(self._hospital_command(), self.folder / "hospital.log"))
        await wait_for(f"http://127.0.0.1:{self.hospital_port}/fhir/metadata")
        await self._fill(2)
        await self._hide()
        self._write_files()
        for verb in ("work", "serve"):  # without a signed head nothing is answered for long
            self.stack.enter_context(running(self._gateway_command(verb), self._log))
        await wait_for(f"http://127.0.0.1:{self.port}/health/ready")
        pairs: dict[str, Any] = {}
        for charter in ("aged", "live"):
            headers = await self._headers_when_ready(charter)
            await self._slow(LATENCY_S)
            pairs[f"hidden or missing, {charter}"] = await self._pair(
                headers, "Patient/h{0}", "Patient/none{0}", tries
            )
            pairs[f"type not read, {charter}"] = await self._pair(
                headers, "Consent/no{0}", "Consent/none{0}", tries
            )
            await self._slow(0.0)
        return {"tries": tries, "latency_s": LATENCY_S, "pairs": pairs}

    async def _headers_when_ready(self, charter: str) -> dict[str, str]:
        """Nothing is answered before the first signed head. Raises TimeoutError."""
        async with asyncio.timeout(READY_WITHIN_S):
            while True:
                try:
                    return await self._headers(charter)
                except (KeyError, AssertionError):
                    await asyncio.sleep(0.2)

    async def _pair(
        self, headers: dict[str, str], there: str, missing: str, tries: int
    ) -> dict[str, Any]:
        """Times of the two, taken in turn and in an order by chance."""
        took: dict[str, list[float]] = {there: [], missing: []}
        async with aiohttp.ClientSession(headers=headers) as http:
            for number in range(WARM_UP + tries):
                order = [there, missing]
                random.shuffle(order)
                for template in order:
                    path = template.format(number % HIDDEN)
                    started = time.perf_counter()
                    url = f"http://127.0.0.1:{self.port}/fhir/{SITE}/{path}"
                    async with http.get(url) as answer:
                        await answer.read()
                        overloaded = answer.status == 503  # of the machine; says nothing here
                        assert overloaded or answer.status == 404, (path, answer.status)
                    if number >= WARM_UP and not overloaded:
                        took[template].append((time.perf_counter() - started) * 1e3)
        medians = {name: statistics.median(times) for name, times in took.items()}
        return {
            "median_there_ms": round(medians[there], 3),
            "median_missing_ms": round(medians[missing], 3),
            "median_difference_ms": round(abs(medians[there] - medians[missing]), 3),
            "p90_there_ms": round(statistics.quantiles(took[there], n=10)[8], 3),
            "p90_missing_ms": round(statistics.quantiles(took[missing], n=10)[8], 3),
        }

    async def _hide(self) -> None:
        """Patients who consent to nothing."""
        url = f"http://127.0.0.1:{self.hospital_port}/control/chart"
        async with aiohttp.ClientSession() as http:
            for n in range(HIDDEN):
                denied = consent(n) | {
                    "id": f"no{n}",
                    "patient": {"reference": f"Patient/h{n}"},
                    "provision": {"type": "deny"},
                }
                for resource in (patient(n) | {"id": f"h{n}"}, denied):
                    async with http.put(url, data=orjson.dumps(resource)) as answer:
                        assert answer.status == 200, await answer.text()

    async def _slow(self, latency_s: float) -> None:
        """How long the system of record takes for each answer."""
        url = f"http://127.0.0.1:{self.hospital_port}/control/faults"
        async with aiohttp.ClientSession() as http:
            body = orjson.dumps({"latency_s": latency_s})
            async with http.put(url, data=body) as answer:
                assert answer.status == 200, await answer.text()


if __name__ == "__main__":
    main()
