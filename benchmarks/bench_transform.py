"""Messages parsed, transformed, checked and serialised a second, on one core; no store, no socket.

The floor parses the same messages and takes every field apart. Two kinds: the ADT of a register,
and the sample hospital's mix of ADT, SIU and ORU.

`python -m benchmarks.bench_transform [--quick] [--out FILE]`
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.mllp_load import AT, Plan, prepared
from benchmarks.own import tell
from chartgate.flows.folding import Folded, Held, Reading, fold, read
from chartgate.formats.hl7v2 import parse
from chartgate.model.message import Queued
from chartgate.transform.hl7v2.settings import FeedSettings

RESULTS = Path(__file__).parent / "results" / "transform.json"
ROUNDS = 3  # the best of them counts: the others were disturbed


def main() -> None:
    """Measures, prints and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer messages")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    count = 2_000 if options.quick else 20_000
    results = {kind: measured(kind, count) for kind in ("adt", "mix")}
    tell(results, options.out)


def measured(kind: str, count: int) -> dict[str, Any]:
    """One kind of messages, by CPU time."""
    raws = list(prepared(Plan(port=0, connections=0, count=count, prefix="T-", kind=kind)))
    queued = [
        Queued(
            id=n,
            connection="bench",
            message_type=parse(raw).message_type,
            raw=raw,
            received_at=AT,
        )
        for n, raw in enumerate(raws)
    ]
    made = [transformed(queued) for _ in range(ROUNDS)]
    floor = [taken_apart(raws) for _ in range(ROUNDS)]
    best = min(seconds for seconds, _ in made)
    return {
        "messages": count,
        "mean_bytes": round(sum(map(len, raws)) / count),
        "resources_per_message": round(made[0][1] / count, 2),
        "per_s": round(count / best),
        "floor_per_s": round(count / min(floor)),
        "to_floor": round(min(floor) / best, 3),
    }


def transformed(queued: Sequence[Queued]) -> tuple[float, int]:
    """CPU seconds, and how many resources were made."""
    settings = FeedSettings(connection="bench", site="bench-site")
    held, resources = Held(), 0
    started = time.process_time()
    for message in queued:
        reading = read(message, settings)
        if isinstance(reading, Reading):
            folded = fold(message, reading, held)
            assert isinstance(folded, Folded), folded
            resources += len(folded.copies)
    return time.process_time() - started, resources


def taken_apart(raws: Sequence[bytes]) -> float:
    """CPU seconds for each message's segments and fields."""
    started = time.process_time()
    for raw in raws:
        for segment in parse(raw).segments():
            assert segment.fields
    return time.process_time() - started


if __name__ == "__main__":
    main()
