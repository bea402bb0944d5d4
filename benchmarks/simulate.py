"""Plays many seeds of the deterministic simulator, and says which broke an invariant.

Each seed is a hundred operations or more on the real flows and store, with a simulated clock,
network and EHR, processes that die and come back, and writes that arrive late or twice. Seeds that
were played on this very code are not played again; `--planted` puts a fault in and counts how many
seeds it takes to find it.

`python -m benchmarks.simulate [--seeds 10000] [--first 0] [--processes 2] [--steps 100]
[--planted no-last-look] [--state FILE]`
"""

import argparse
import hashlib
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import uvloop

import chartgate
from chartgate.store.embedded import start_embedded
from chartgate.store.migrate import migrate
from tests.simulation.planted import PLANTED
from tests.simulation.play import play
from tests.simulation.store import open_pool

MEMORY = Path("/dev/shm")
SEEDS_A_STORE = 400  # then an empty one: a store that grows gets slower
TELL_EVERY = 100
STATE = Path("build/simulated.ndjson")


def main() -> None:
    """Exit code 1 if an invariant broke, or if a planted fault was not found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100, help="operations a seed")
    parser.add_argument("--planted", choices=sorted(PLANTED), help="a fault to be found")
    parser.add_argument("--state", type=Path, default=STATE, help="what was played, to go on from")
    options = parser.parse_args()
    code = f"{code_digest()}/{options.steps}/{options.planted or ''}"
    known = dict(kept(options.state, code))
    wanted = range(options.first, options.first + options.seeds)
    results = {seed: known[seed] for seed in wanted if seed in known}
    left = [seed for seed in wanted if seed not in known]
    started = time.monotonic()
    for number, result in enumerate(played(left, options), start=1):
        results[result["seed"]] = result
        keep(options.state, code, result)
        if result["broken"]:
            print(f"seed {result['seed']}: {'; '.join(result['broken'][:3])}", flush=True)
            if options.planted:
                break
        if number % TELL_EVERY == 0:
            pace = (time.monotonic() - started) / number
            print(f"{number} of {len(left)} seeds, {pace:.2f} s each", flush=True)
    sys.exit(told(results, options))


def told(results: dict[int, dict[str, Any]], options: argparse.Namespace) -> int:
    """Prints the sum; the exit code."""
    broken = sorted(seed for seed, result in results.items() if result["broken"])
    states: Counter[str] = Counter()
    for result in results.values():
        states.update(result["states"])
    first = f"seed {broken[0]}, after {len(results)}" if broken else None
    total = {
        "seeds": len(results),
        "operations": sum(r["operations"] for r in results.values()),
        "writes_sent": sum(r["writes"] for r in results.values()),
        "processes_killed": sum(r["restarts"] for r in results.values()),
        "proposal_states": dict(states),
        "seeds_broken": len(broken),
        "bound_broken_95": 3 / max(1, len(results)) if not broken else None,
        "planted": options.planted,
        "first_broken": first,
    }
    print(json.dumps(total, indent=2))
    return int(not broken) if options.planted else int(bool(broken))


def played(seeds: Sequence[int], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The results of all seeds, as they come."""
    shares = [seeds[n : n + SEEDS_A_STORE] for n in range(0, len(seeds), SEEDS_A_STORE)]
    if len(shares) < options.processes:
        shares = [seeds[n :: options.processes] for n in range(options.processes)]
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Manager().Queue()
    parent = MEMORY if MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(
            prefix="cg-simulate-", dir=parent, ignore_cleanup_errors=True
        ) as root,
        context.Pool(options.processes) as pool,
    ):
        Path(root).chmod(0o711)
        tasks = [
            pool.apply_async(_play_all, (root, share, options.steps, options.planted, queue))
            for share in shares
        ]
        for _ in seeds:
            while queue.empty() and not any(t.ready() and not t.successful() for t in tasks):
                time.sleep(0.05)
            if queue.empty():
                next(t for t in tasks if t.ready() and not t.successful()).get()
            yield queue.get()
        pool.terminate()


def _play_all(root: str, seeds: Sequence[int], steps: int, planted: str | None, queue: Any) -> None:
    uvloop.run(_play_on_a_store(root, seeds, steps, planted, queue))


async def _play_on_a_store(
    root: str, seeds: Sequence[int], steps: int, planted: str | None, queue: Any
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="store-", dir=root))
    folder.chmod(0o711)
    server = start_embedded(folder / "data")
    try:
        await migrate(server.url)
        pool = await open_pool(server.url)
        with PLANTED[planted]() if planted else nullcontext():
            for seed in seeds:
                outcome = await play(pool, seed, folder, steps=steps)
                queue.put(
                    {
                        "seed": seed,
                        "broken": outcome.broken,
                        "operations": outcome.operations,
                        "states": outcome.states,
                        "restarts": outcome.restarts,
                        "writes": outcome.writes,
                    }
                )
        await pool.end()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def code_digest() -> str:
    """Of everything that a play depends on."""
    folders = (Path(chartgate.__file__).parent, Path(__file__).parent.parent / "tests/simulation")
    digest = hashlib.sha256()
    for path in sorted(p for f in folders for p in f.rglob("*") if p.suffix in (".py", ".sql")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def kept(state: Path, code: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """What was played on this code before."""
    if state.exists():
        for line in state.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if entry["code"] == code:
                yield entry["result"]["seed"], entry["result"]


def keep(state: Path, code: str, result: dict[str, Any]) -> None:
    """Notes one result down at once: an interrupted run goes on from there."""
    state.parent.mkdir(parents=True, exist_ok=True)
    with state.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"code": code, "result": result}) + "\n")


if __name__ == "__main__":
    main()
