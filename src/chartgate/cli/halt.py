"""`chartgate halt` and `chartgate resume`: stop all new writes within a second, and go on."""

import argparse
import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from chartgate.cli.session import add_json_flag, charters_or_mistakes, show, with_store
from chartgate.config import load_config
from chartgate.errors import ConfigError
from chartgate.flows import halts
from chartgate.gate import Gate
from chartgate.model.principal import Process
from chartgate.store.halts import EVERYTHING


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
    resume = commands.add_parser(
        "resume",
        help="allow writes again after a halt",
        description="Ends the halt of everything, or of one charter. What waited is checked anew "
        "before it is written.",
    )
    _arguments(resume)
    resume.set_defaults(run=run_resume)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--charter", default=EVERYTHING, help="only this charter; default: everything"
    )
    parser.add_argument("--reason", required=True, help="kept in the audit; no patient data")
    add_json_flag(parser)


def operator() -> Process:
    """Whoever has a shell on this machine, by their account's name or else its number."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # e.g. a container's uid without an entry in /etc/passwd
        name = f"uid-{os.geteuid()}"
    return Process(id=f"cli/{name}")


def run_halt(arguments: argparse.Namespace) -> int:
    """Halts."""
    _act(arguments, halts.halt)
    show(arguments.json, {"halted": arguments.charter}, f"halted: {_what(arguments)}")
    return 0


def run_resume(arguments: argparse.Namespace) -> int:
    """Resumes."""
    _act(arguments, halts.resume)
    show(arguments.json, {"resumed": arguments.charter}, f"resumed: {_what(arguments)}")
    return 0


def _act(arguments: argparse.Namespace, walk: Callable[..., Awaitable[None]]) -> None:
    """A broken charter must not keep anyone from stopping everything."""
    config = load_config(arguments.config)
    book, mistakes = charters_or_mistakes(config)
    if mistakes and arguments.charter != EVERYTHING:
        raise ConfigError(
            f"{mistakes}\nuntil that is mended, {arguments.command} everything: leave out --charter"
        )

    async def act(gate: Gate) -> None:
        await walk(gate, operator(), scope=arguments.charter, reason=arguments.reason)

    with_store(config, act, book=book)
    if mistakes:
        print(f"chartgate: done, but the charters have mistakes: {mistakes}", file=sys.stderr)


def _what(arguments: argparse.Namespace) -> str:
    return "everything" if arguments.charter == EVERYTHING else arguments.charter
