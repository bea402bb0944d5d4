"""`chartgate serve`: the gateway, one process of it."""

import argparse
import signal
import socket
from typing import Any

import uvicorn

from chartgate.cli.address import bind, cannot_listen
from chartgate.cli.session import gate_on, running_store_url, serve_async
from chartgate.cli.watching import watch_gate
from chartgate.config import Config, load_config
from chartgate.flows.ledger import require_proof
from chartgate.observe.logs import start_logs
from chartgate.web.app import build_app
from chartgate.web.protocol import LimitedProtocol

BACKLOG = 2048


def add_parser(commands: Any) -> None:
    """serve"""
    parser = commands.add_parser(
        "serve",
        help="run the gateway: FHIR, JSON API, pages",
        description="Runs the gateway on [web] host and port. Start more processes on other ports "
        "to scale out; they meet in the store.",
    )
    parser.set_defaults(run=run_serve)


def run_serve(arguments: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT, then drains."""
    config = load_config(arguments.config)
    start_logs("gateway")
    serve_async(_serve(config, running_store_url(config), bind(config.web)))
    return 0


async def _serve(config: Config, url: str, bound: socket.socket) -> None:
    async with gate_on(config, url) as gate, watch_gate(gate):
        require_proof(gate)
        server = uvicorn.Server(
            uvicorn.Config(
                build_app(gate),
                loop="none",
                http=LimitedProtocol,
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                ws="none",
                backlog=BACKLOG,
                timeout_graceful_shutdown=25,
                limit_concurrency=None,  # web/limits.py answers with an OperationOutcome instead
            )
        )

        def stop(*_: object) -> None:
            server.should_exit = True

        # uvicorn raises a signal again once it has drained; ours lets the gate be closed then.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        try:
            bound.listen(BACKLOG)  # only now: two may have bound an address that nobody listens on
        except OSError as error:
            raise cannot_listen(config.web, error) from error
        await server.serve(sockets=[bound])
