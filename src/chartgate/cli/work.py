"""`chartgate work`: the loops that do what is queued."""

import argparse
import signal
from asyncio import Event
from typing import Any

from chartgate.cli.session import gate_on, running_store_url, serve_async
from chartgate.cli.watching import watch_gate
from chartgate.cli.worker import run_loops
from chartgate.config import Config, load_config
from chartgate.flows.ledger import require_proof
from chartgate.observe.logs import start_logs


def add_parser(commands: Any) -> None:
    """work"""
    parser = commands.add_parser(
        "work",
        help="run a worker: messages, notifications, commits, deadlines, ledger",
        description="Takes queued work from the store: transforms messages, delivers "
        "notifications, commits and verifies what was approved, rolls back, expires, numbers and "
        "signs the ledger. Start as many as you like; leases and fences keep them apart.",
    )
    parser.set_defaults(run=run_work)


def run_work(arguments: argparse.Namespace) -> int:
    """Works until SIGTERM or SIGINT; what is under way is finished or left to be resumed."""
    config = load_config(arguments.config)
    start_logs("worker")
    serve_async(_work(config, running_store_url(config)))
    return 0


async def _work(config: Config, url: str) -> None:
    stopping = Event()
    async with gate_on(config, url) as gate, watch_gate(gate):
        require_proof(gate)
        await run_loops(gate, stopping, stop_on=(signal.SIGTERM, signal.SIGINT))
