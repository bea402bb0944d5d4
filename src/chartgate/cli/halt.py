"""`chartgate halt` and `chartgate resume`: stop all new writes within a second, and go on."""

import argparse
import getpass
from typing import Any

from chartgate.cli.session import add_json_flag, show, with_gate
from chartgate.config import load_config
from chartgate.flows import halts
from chartgate.gate import Gate
from chartgate.model.principal import Process


def add_parser(commands: Any) -> None:
    """halt, resume"""
    halt = commands.add_parser(
        "halt",
        help="stop new writes to systems of record, everywhere, at once",
        description="No new write starts anywhere from now on; what is already on its way is "
        "finished or resolved by reading. Reads, proposals and reviews go on. One person is "
        "enough to halt.",
    )
    _arguments(halt)
    halt.set_defaults(run=run_halt)
    resume = commands.add_parser("resume", help="allow writes again after a halt")
    _arguments(resume)
    resume.set_defaults(run=run_resume)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--charter", default="*", help="only this charter; default: everything")
    parser.add_argument("--reason", required=True, help="kept in the audit; no patient data")
    add_json_flag(parser)


def operator() -> Process:
    """Whoever has a shell on this machine, by their account's name."""
    return Process(id=f"cli/{getpass.getuser()}")


def run_halt(arguments: argparse.Namespace) -> int:
    """Halts."""

    async def act(gate: Gate) -> None:
        await halts.halt(gate, operator(), scope=arguments.charter, reason=arguments.reason)

    with_gate(load_config(arguments.config), act)
    what = "everything" if arguments.charter == "*" else arguments.charter
    show(arguments.json, {"halted": arguments.charter}, f"halted: {what}")
    return 0


def run_resume(arguments: argparse.Namespace) -> int:
    """Resumes."""

    async def act(gate: Gate) -> None:
        await halts.resume(gate, operator(), scope=arguments.charter, reason=arguments.reason)

    with_gate(load_config(arguments.config), act)
    what = "everything" if arguments.charter == "*" else arguments.charter
    show(arguments.json, {"resumed": arguments.charter}, f"resumed: {what}")
    return 0
