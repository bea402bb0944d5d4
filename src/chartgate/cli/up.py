"""`chartgate up`: PostgreSQL, gateway, worker and listener on one machine, kept running."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from chartgate.cli.address import bind
from chartgate.config import Config, config_file, load_config
from chartgate.errors import ChartgateError, ConfigError
from chartgate.flows.charters import load_book
from chartgate.observe.logs import start_logs
from chartgate.store.embedded import EmbeddedServer, start_embedded
from chartgate.store.migrate import check_store, migrate

LOOK_EVERY_S = 0.1
LAUNCHER = Path(__file__).with_name("launch.py")
WRONG_INPUT = 2  # the exit code of a child that no restart can mend
STOP_WITHIN_S = 30.0
RESTART_CAP_S = 10.0
STEADY_AFTER_S = 5.0  # a child that lived this long starts again without delay


@dataclass
class Child:
    """One process that is kept running."""

    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    started_at: float = 0.0
    failures: int = 0
    start_after: float = 0.0


def add_parser(commands: Any) -> None:
    """up"""
    parser = commands.add_parser(
        "up",
        help="run everything on this machine",
        description="Starts PostgreSQL (unless database_url names another), brings its schema up "
        "to date, and runs `serve`, `work` and `listen`, starting each again when it dies. Stops "
        "all on SIGTERM or Ctrl-C; if it is killed outright, they stop by themselves.",
    )
    parser.set_defaults(run=run_up)


def run_up(arguments: argparse.Namespace) -> int:
    """Runs until told to stop."""
    config = load_config(arguments.config)
    start_logs("supervisor")
    load_book(config)  # a broken charter stops here, with its sentence, before anything starts
    bind(config.web).close()
    server = None
    if not config.store.database_url:
        server = start_embedded(config.data_dir, postgres_bin=config.store.postgres_bin)
    try:
        url = server.url if server else config.store.database_url
        asyncio.run(_prepare(url))
        supervise(arguments.config, config, server)
    finally:
        if server:
            server.stop()
    return 0


async def _prepare(url: str) -> None:
    await migrate(url)
    await check_store(url)


def supervise(config_path: Path | None, config: Config, server: EmbeddedServer | None) -> None:
    """Keeps the processes running until SIGTERM or SIGINT. Raises ConfigError if one cannot."""
    stopping = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.append(True))
    verbs = ["serve", "work"]
    if any(c.adapter == "hl7v2_mllp" for c in config.connections.values()):
        verbs.append("listen")
    command = [sys.executable, "-m", "chartgate", "--config", str(config_file(config_path))]
    children = [Child([*command, verb]) for verb in verbs]
    try:
        while not stopping:
            if server and not server.is_alive():
                _restart_server(server)
            for child in children:
                _keep(child)
            time.sleep(LOOK_EVERY_S)
    finally:
        _stop(children)


def _restart_server(server: EmbeddedServer) -> None:
    log = structlog.get_logger()
    log.warning("postgres.died")
    try:
        server.restart()
        log.info("postgres.restarted", pid=server.pid)
    except ChartgateError as error:
        log.error("postgres.restart_failed", error=str(error), detail=error.operator_detail)
        time.sleep(1.0)  # tried again at the next look


def _keep(child: Child) -> None:
    """Starts the child when it does not run; waits longer after each quick death.

    Raises ConfigError where its first start says that the input is wrong. After that it is tried
    again and again, because the others do their work without it: a charter that is broken now must
    not end the intake of messages.
    """
    now = time.monotonic()
    if child.process and child.process.poll() is not None:
        code, verb = child.process.returncode, child.command[-1]
        if code == WRONG_INPUT and child.starts == 1:
            raise ConfigError(f"`chartgate {verb}` cannot run; its own message stands above")
        steady = now - child.started_at > STEADY_AFTER_S
        child.failures = 0 if steady else child.failures + 1
        wait_s = min(RESTART_CAP_S, 0.1 * 2**child.failures) if child.failures > 1 else 0.0
        child.start_after = now + wait_s
        child.process = None
        structlog.get_logger().warning("process.died", process=verb, code=code, again_in_s=wait_s)
    if child.process is None and now >= child.start_after:
        launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())]
        child.process = subprocess.Popen([*launch, *child.command])
        child.starts += 1
        child.started_at = now


def _stop(children: Sequence[Child]) -> None:
    running = [c.process for c in children if c.process and c.process.poll() is None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + STOP_WITHIN_S
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
