"""`chartgate listen`: takes HL7 v2 messages in."""

import argparse
import asyncio
import signal
import sys
from typing import Any

from chartgate.adapters.loader import load_feeds
from chartgate.cli.session import gate_on, running_store_url, serve_async
from chartgate.cli.watching import watch_gate
from chartgate.config import Config, load_config
from chartgate.errors import ConfigError
from chartgate.flows import intake
from chartgate.observe.logs import start_logs

DRAIN_S = 10.0


def add_parser(commands: Any) -> None:
    """listen"""
    parser = commands.add_parser(
        "listen",
        help="take HL7 v2 messages in over MLLP",
        description="Listens for every feed of the config. A message is acknowledged only once it "
        "is on disk; what cannot be read is quarantined with its bytes.",
    )
    parser.set_defaults(run=run_listen)


def run_listen(arguments: argparse.Namespace) -> int:
    """Listens until SIGTERM or SIGINT."""
    config = load_config(arguments.config)
    start_logs("listener")
    serve_async(_listen(config, running_store_url(config)))
    return 0


async def _listen(config: Config, url: str) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with (
        gate_on(config, url) as gate,
        watch_gate(gate),
        load_feeds(config, clock=gate.clock) as feeds,
    ):
        if not feeds:
            raise ConfigError('no connection has a feed; add one with adapter = "hl7v2_mllp"')
        listening = asyncio.create_task(intake.listen(gate, feeds, ready=_ready))
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait((listening, stopped), return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        stopped.cancel()
        ended, _ = await asyncio.wait([listening], timeout=DRAIN_S)
        if ended and not listening.cancelled() and (error := listening.exception()):
            raise error


def _ready(connection: str, port: int) -> None:
    print(f"{connection} listens on port {port}", file=sys.stderr, flush=True)
