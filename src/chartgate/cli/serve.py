"""`chartgate serve`: the gateway, one process of it."""

import argparse
import socket
from contextlib import suppress
from typing import Any

import uvicorn

from chartgate.cli.session import gate_on, run_async, running_store_url
from chartgate.cli.watching import watch_gate
from chartgate.config import Config, WebConfig, load_config
from chartgate.errors import ConfigError
from chartgate.observe.logs import start_logs
from chartgate.web.app import build_app
from chartgate.web.protocol import LimitedProtocol


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
    listening = bind(config.web)
    run_async(_serve(config, running_store_url(config), listening))
    return 0


def bind(web: WebConfig) -> socket.socket:
    """The listening socket. Raises ConfigError if the port is taken or may not be used."""
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((web.host, web.port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"cannot listen on {web.host}:{web.port} ({error.strerror}); "
            "stop what uses it, or set another port under [web]"
        ) from error
    return listening


async def _serve(config: Config, url: str, listening: socket.socket) -> None:
    async with gate_on(config, url) as gate, watch_gate(gate):
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
                timeout_graceful_shutdown=25,
                limit_concurrency=None,  # web/limits.py answers with an OperationOutcome instead
            )
        )
        with suppress(KeyboardInterrupt):  # uvicorn raises the signal again once it has drained
            await server.serve(sockets=[listening])
