"""The `chartgate` command: one file a command, found in `COMMANDS`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from chartgate import __version__
from chartgate.cli import (
    charter,
    demo,
    halt,
    init,
    ledger,
    listen,
    person,
    probe,
    proposals,
    serve,
    stage,
    status,
    up,
    work,
)
from chartgate.errors import ChartgateError, Invalid

COMMANDS = (
    init, demo, up, serve, work, listen, charter, probe, proposals, halt, stage, person, ledger,
    status,
)  # fmt: skip

EPILOG = """\
first steps:
  chartgate demo            the whole walk on a sample hospital
  chartgate init            write chartgate.toml, keys and sample charters here
  chartgate charter check   say what is wrong with the charters
  chartgate up              start PostgreSQL, the gateway, the worker and the listener
"""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; docs/reference/cli.md is written from it."""
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
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command. Exit codes: 0 done, 1 failed or found something, 2 wrong input."""
    parsed = build_parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
    except Invalid as error:
        code = _fail(error, 2)
    except ChartgateError as error:
        code = _fail(error, 1)
    except BrokenPipeError:
        code = 0  # the reader of our output left, e.g. `| head`
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _fail(error: ChartgateError, code: int) -> int:
    print(f"chartgate: {error}", file=sys.stderr)
    if error.operator_detail:
        print(f"  ({error.operator_detail})", file=sys.stderr)
    return code
