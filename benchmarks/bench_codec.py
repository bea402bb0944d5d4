"""The HL7 v2 codec: messages parsed a second, beside splitting the same bytes and nothing else.

One process, one thread, no I/O. `parse` is what every message costs (header, character set,
laziness); `values` also reads ten fields of it; the larger size shows what grows with a message.

`python -m benchmarks.bench_codec [--quick] [--out FILE]`
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.own import tell
from chartgate.formats.hl7v2 import parse, read_header
from chartgate.formats.hl7v2_write import SegmentSpec, write_message
from chartgate.testing.messages import adt

RESULTS = Path(__file__).parent / "results" / "bench_codec.json"
RUNS = 5
FULL_COUNT, QUICK_COUNT = 40_000, 4_000
GROWTH = 30  # observations more in the larger message
FIELDS = (("PID", 3), ("PID", 5), ("PID", 7), ("PID", 8), ("PID", 11),
          ("PV1", 2), ("PV1", 3), ("PV1", 19), ("PV1", 44), ("EVN", 2))  # fmt: skip
OBSERVATION = "OBX|1|NM|8867-4^Heart rate^LN||72|/min^beats per minute^UCUM|60-100|N|||F"


def main() -> None:
    """Measures, prints, and writes the figures down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer messages")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    results = measure(QUICK_COUNT if options.quick else FULL_COUNT)
    tell(results, options.out)


def measure(count: int) -> dict[str, Any]:
    """Messages a second, by size; `count` messages of the usual size in each run."""
    large = adt(more=[OBSERVATION] * (5 * GROWTH))
    return {
        "usual": _figures(adt(more=[OBSERVATION] * 5), count),
        "large": _figures(large, count // GROWTH),
        "write": _rate(lambda: write_message(SPECS), count // 4),
    }


def parsed(raw: bytes) -> None:
    """What the listener and the worker do with every message."""
    parse(raw, header=read_header(raw))


def with_values(raw: bytes) -> None:
    """And what a table asks of it."""
    message = parse(raw, header=read_header(raw))
    for segment, field in FIELDS:
        message.value(segment, field)


def split_only(raw: bytes) -> None:
    """The floor: text, lines and fields, with no delimiter, escape or character set looked at."""
    for line in raw.decode("ascii").split("\r"):
        line.split("|")


SPECS = (
    SegmentSpec("MSH", [None, None, "A", "B", "C", "D", "20240101", None, (("ADT", "A01"),), "1"]),
    SegmentSpec("PID", ["1", None, (("1001", None, None, "NORTH", "MR"),), None, (("Ex", "Zoë"),)]),
)


def _figures(raw: bytes, count: int) -> dict[str, Any]:
    figures = {
        "bytes": len(raw),
        "parse": _rate(lambda: parsed(raw), count),
        "values": _rate(lambda: with_values(raw), count // 4),
        "split_only": _rate(lambda: split_only(raw), count),
    }
    figures["values_to_split_only"] = round(figures["values"] / figures["split_only"], 2)
    return figures


def _rate(once: Callable[[], object], count: int) -> float:
    """The median of some runs, a second."""
    rates = []
    for _ in range(RUNS):
        started = time.perf_counter()
        for _ in range(count):
            once()
        rates.append(count / (time.perf_counter() - started))
    return round(statistics.median(rates), 1)


if __name__ == "__main__":
    main()
