"""What the watch over schema drift costs a message, once it has learned a feed.

One process, one thread, no I/O; messages are parsed and taken apart before, as the transform does
anyway. `python -m benchmarks.bench_drift [--quick]`
"""

import argparse
import json
import statistics
import time
from datetime import UTC, datetime

from chartgate.formats.hl7v2 import Message, parse
from chartgate.testing.varied import admissions, feed, results
from chartgate.transform.hl7v2.drift import Profile

AT = datetime(2026, 3, 2, tzinfo=UTC)
RUNS = 7
FULL_COUNT, QUICK_COUNT = 5_000, 2_000


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer messages")
    count = QUICK_COUNT if parser.parse_args().quick else FULL_COUNT
    print(json.dumps(measure(count), indent=2))


def measure(count: int) -> dict[str, dict[str, float]]:
    """Microseconds a message: while everything is new, and then the best and the median run."""
    figures = {}
    for kind in (admissions, results):
        messages = [parse(raw) for raw in feed(kind, count=count)]
        for message in messages:
            for segment in message.segments():
                _ = segment.fields
        profile = Profile()
        first = _observed_s(profile, messages[:200])
        runs = [_observed_s(profile, messages) for _ in range(RUNS)]
        figures[kind.__name__] = {
            "learning_us": round(first / 200 * 1e6, 1),
            "best_us": round(min(runs) / count * 1e6, 1),
            "median_us": round(statistics.median(runs) / count * 1e6, 1),
        }
    return figures


def _observed_s(profile: Profile, messages: list[Message]) -> float:
    started = time.perf_counter()
    for number, message in enumerate(messages):
        profile.observe(message, number=number, at=AT)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
