"""An MLLP load in a process of its own: prepares its messages, then sends them all.

`python -m benchmarks.mllp_load` takes a JSON plan on standard input and prints a JSON result.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle

import uvloop

from chartgate.demo.hl7v2_stream import material_of, stream
from chartgate.demo.hospital.chart import Chart
from chartgate.demo.hospital.population import sample_patients
from chartgate.demo.sender import send_all
from chartgate.testing.messages import adt

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to send. Control ids start with `prefix`."""

    port: int
    connections: int
    count: int
    prefix: str
    kind: str = "mix"  # "mix": ADT, SIU and ORU of the sample hospital; "adt": of `patients`
    patients: int = 1000
    window: int = 1
    rate: float = 0.0  # messages a second in all; 0: as fast as it goes


def main() -> None:
    """Reads the plan, sends, reports."""
    plan = Plan(**json.loads(sys.stdin.read()))
    messages = prepared(plan) if plan.rate else list(prepared(plan))
    report = uvloop.run(
        send_all(messages, "127.0.0.1", plan.port, plan.connections, plan.window, rate=plan.rate)
    )
    json.dump(report.shown(), sys.stdout)


def prepared(plan: Plan) -> Iterator[bytes]:
    """The messages of the plan; the same plan gives the same bytes."""
    if plan.kind == "adt":
        for number, trigger in zip(range(plan.count), cycle(("A01", "A08", "A03")), strict=False):
            mrn = f"{10_000 + number % plan.patients}"
            yield adt(trigger, f"{plan.prefix}{number}", mrn=mrn)
        return
    chart = Chart(clock=lambda: AT)
    sample_patients(today=AT.date())(chart)
    yield from stream(material_of(chart), count=plan.count, at=AT, prefix=plan.prefix)


if __name__ == "__main__":
    main()
