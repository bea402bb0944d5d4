"""`python -m chartgate.demo.hospital`: the sample hospital as a process of its own."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

import uvloop

from chartgate.demo.hospital.bundles import LoadReport, bundle_patients
from chartgate.demo.hospital.oauth import load_clients
from chartgate.demo.hospital.population import Fill, sample_patients
from chartgate.demo.hospital.server import make_hospital
from chartgate.errors import ChartgateError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT. Prints one JSON line when it is ready."""
    options = parse(arguments)
    try:
        uvloop.run(serve(options))
    except ChartgateError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m chartgate.demo.hospital", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (default): a free one")
    parser.add_argument("--clients", type=Path, help="JSON file of registered clients")
    parser.add_argument(
        "--bundles", type=Path, help="folder of FHIR bundles to load instead of sample patients"
    )
    parser.add_argument("--today", type=date.fromisoformat, help="the clinic's day, YYYY-MM-DD")
    parser.add_argument("--seed", type=int, default=0, help="decides which slots are taken")
    parser.add_argument("--dialect", default="", help="behave as this product does, e.g. medplum")
    parser.add_argument("--empty", action="store_true", help="open without patients")
    return parser.parse_args(arguments)


async def serve(options: argparse.Namespace) -> None:
    """Opens the hospital and waits to be told to stop."""
    clients = load_clients(options.clients) if options.clients else ()
    report = LoadReport()
    fill: Fill | None = sample_patients(today=options.today, seed=options.seed)
    if options.bundles:
        fill = bundle_patients(options.bundles, report, today=options.today, seed=options.seed)
    elif options.empty:
        fill = None
    hospital = make_hospital(
        host=options.host,
        port=options.port,
        clients=clients,
        fill=fill,
        dialect=options.dialect,
    )
    await hospital.start()
    ready = {
        "ready": True,
        "fhir": hospital.fhir_url,
        "control": hospital.control_url,
        "token": hospital.token_url,
        "resources": hospital.chart.types(),
    }
    if options.bundles:
        ready["loaded"] = report.shown()
    print(json.dumps(ready), flush=True)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    with suppress(asyncio.CancelledError):
        await stopped.wait()
    await hospital.stop()


if __name__ == "__main__":
    sys.exit(main())
