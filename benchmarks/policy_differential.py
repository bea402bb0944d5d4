"""The policy engine against a naive reading of its rules, on generated cases.

Charters, forbids and questions are drawn from a seed; the engine (Cedar, compiled and sliced) and
the oracle (tests/policy/reference.py, under 60 lines) must agree on every answer and on which
forbid decided. `python -m benchmarks.policy_differential [--n 1000000] [--seed 1]`
"""

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import orjson

from chartgate.policy.decide import decide
from tests.policy.generated import difference, draw_request, draw_world

QUESTIONS_OF_WORLD = 2_000  # that share one compiled book
SHOWN_MAX = 10
TOLD_EVERY_S = 15.0


@dataclass
class Tally:
    """What was found so far."""

    asked: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


def main() -> None:
    """Prints n, the result and the time; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1_000_000, help="questions; default: a million")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    parser.add_argument("--quick", action="store_true", help="20,000 questions")
    arguments = parser.parse_args()
    n = min(arguments.n, 20_000) if arguments.quick else arguments.n
    started = time.monotonic()
    tally = compare(n, seed=arguments.seed, told=sys.stdout.isatty() or n > 100_000)
    took_s = time.monotonic() - started
    for line in tally.differences[:SHOWN_MAX]:
        print(line)
    shares = ", ".join(f"{k} {v / n:.1%}" for k, v in sorted(tally.answers.items()))
    print(f"n {tally.asked:,}, seed {arguments.seed}: {len(tally.differences)} differences")
    print(f"{shares}; {took_s:.0f} s, {n / took_s:,.0f} a second")
    if arguments.out:
        figures = {
            "n": tally.asked,
            "seed": arguments.seed,
            "differences": len(tally.differences),
            "answers": dict(tally.answers),
            "took_s": round(took_s, 1),
        }
        arguments.out.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2))
    sys.exit(1 if tally.differences else 0)


def compare(n: int, *, seed: int, told: bool = False) -> Tally:
    """Asks n questions of as many worlds as it takes."""
    tally, last = Tally(), time.monotonic()
    random = Random(seed)
    while tally.asked < n:
        world = draw_world(random)
        for _ in range(min(QUESTIONS_OF_WORLD, n - tally.asked)):
            request = draw_request(random, world)
            if found := difference(world, request):
                tally.differences.append(found)
            decision = decide(world.book, request)
            refused = "forbidden" if decision.rule else "no rule"
            tally.answers["permitted" if decision.permitted else refused] += 1
            tally.asked += 1
        if told and time.monotonic() - last > TOLD_EVERY_S:
            last = time.monotonic()
            print(f"{tally.asked:,} asked, {len(tally.differences)} differences", flush=True)
    return tally


if __name__ == "__main__":
    main()
