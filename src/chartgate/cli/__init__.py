"""The `chartgate` command: one file a command, imported only when it is asked for."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from chartgate import __version__
from chartgate.cli.faults import leaf_of, place_of
from chartgate.errors import ChartgateError, Invalid

COMMANDS: Mapping[str, str] = {  # to the module beside this one that adds it
    "init": "init",
    "demo": "demo",
    "up": "up",
    "serve": "serve",
    "work": "work",
    "listen": "listen",
    "feed": "feed",
    "transform": "transform",
    "charter": "charter",
    "policy": "policy",
    "change": "change",
    "probe": "probe",
    "proposals": "proposals",
    "worklist": "worklist",
    "review": "review",
    "halt": "halt",
    "resume": "halt",
    "rollback": "rollback",
    "stage": "stage",
    "person": "person",
    "token": "token",
    "vendor": "vendor",
    "config": "config_check",
    "consent": "consent",
    "break-glass": "break_glass",
    "audit": "audit",
    "ledger": "ledger",
    "vault": "vault",
    "interaction": "interaction",
    "retention": "retention",
    "hold": "hold",
    "erase": "erase",
    "status": "status",
}

EPILOG = """\
first steps:
  chartgate demo            the whole walk on a sample hospital
  chartgate init            write chartgate.toml, keys and sample charters here
  chartgate charter check   say what is wrong with the charters
  chartgate up              start PostgreSQL, the gateway, the worker and the listener
"""


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The whole command line, from which docs/reference/cli.md is written; or the part of it that
    holds `command`, because importing the others takes a second."""
    parser = argparse.ArgumentParser(
        prog="chartgate",
        description="The gate between clinical AI and a hospital's systems of record.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"chartgate {__version__}")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="default: $CHARTGATE_CONFIG or ./chartgate.toml"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = [COMMANDS[command]] if command else dict.fromkeys(COMMANDS.values())
    for module in modules:
        import_module(f"chartgate.cli.{module}").add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command. Exit codes: 0 done, 1 failed or found something, 2 wrong input."""
    try:
        try:
            code = _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()  # here, where what goes wrong with it can still be said
    except BrokenPipeError:  # the reader left, e.g. `| head`
        code = 0
        _drop_output()
    except KeyboardInterrupt:
        code = 130
    except Exception as error:  # noqa: BLE001 - the top of the process
        code = _fail(leaf_of(error))
        _drop_output()
    sys.exit(code)


def _run(words: Sequence[str]) -> int:
    if not all(_is_text(word) for word in words):
        raise Invalid("an argument is not UTF-8 text")
    parsed = build_parser(_command_of(words)).parse_args(words)
    code: int = parsed.run(parsed)
    return code


def _command_of(words: Sequence[str]) -> str | None:
    """The command that a line begins with. None: help, or a mistake; both need all commands."""
    rest = iter(words)
    for word in rest:
        if word == "--config":
            next(rest, None)
        elif not word.startswith("--config="):
            return word if word in COMMANDS else None
    return None


def _fail(error: BaseException) -> int:
    """Says what happened, in a sentence and never in a stack trace; the exit code."""
    if isinstance(error, ChartgateError):
        print(f"chartgate: {error}", file=sys.stderr)
        if error.operator_detail:
            print(f"  ({error.operator_detail})", file=sys.stderr)
        return 2 if isinstance(error, Invalid) else 1
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        print(f"chartgate: the system says: {error.strerror}{where}", file=sys.stderr)
        return 1
    # Its text may quote what it worked on, so only its kind and place are told.
    fault = f"{type(error).__name__} at {place_of(error)}"
    print(f"chartgate: a fault of its own, please report it: {fault}", file=sys.stderr)
    return 1


def _drop_output() -> None:
    """What is not printed yet goes nowhere; else Python would try, and complain, at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True
