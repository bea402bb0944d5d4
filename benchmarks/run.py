"""`make bench`: every benchmark in turn, each with processes of its own, and one summary.

Figures are ratios within one run on one machine; benchmarks/results/*.json keeps them with commit,
machine, n, median and p99. `python -m benchmarks.run [--quick]`
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

BENCHMARKS = (
    "bench_codec",
    "bench_policy",
    "bench_reads",
    "bench_refusals",
    "bench_intake",
    "bench_transform",
    "bench_record",
    "bench_isolation",
    "bench_commits",
    "bench_writes",
    "bench_ledger",
    "bench_audit",
)
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Runs all; exit code 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer requests; a first look")
    quick: bool = parser.parse_args().quick
    RESULTS.mkdir(exist_ok=True)
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.2f} at the start", flush=True)
    if load > 1.0:
        print("something else is running on this machine: the figures will be too low", flush=True)
    failed = []
    for name in BENCHMARKS:
        started = time.monotonic()
        print(f"\n== {name}", flush=True)
        command = [
            sys.executable,
            "-m",
            f"benchmarks.{name}",
            "--out",
            str(RESULTS / f"{name}.json"),
        ]
        code = subprocess.run([*command, *(["--quick"] if quick else [])], check=False).returncode
        if code:
            failed.append(name)
        print(f"({time.monotonic() - started:.0f} s)", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
