"""`chartgate probe CONNECTION`: what a live system really does, and so whether it may be written."""

import argparse
import sys
from dataclasses import asdict
from typing import Any

from chartgate.cli.session import add_json_flag, show, with_gate
from chartgate.config import load_config
from chartgate.flows import probes
from chartgate.gate import Gate
from chartgate.model.verdict import Verdict


def add_parser(commands: Any) -> None:
    """probe"""
    parser = commands.add_parser(
        "probe",
        help="try on the live system what its dialect claims",
        description="Creates resources of its own on the connection, tries each line of the "
        "dialect on them, removes them, and stores the verdicts. Until a working precondition "
        "was shown, Chartgate does not write to that system.",
    )
    parser.add_argument("connection", help="its name in chartgate.toml, e.g. north-ehr")
    add_json_flag(parser)
    parser.set_defaults(run=run_probe)


def run_probe(arguments: argparse.Namespace) -> int:
    """Prints one line a verdict; exit code 1 if one does not hold."""

    async def act(gate: Gate) -> Any:
        return await probes.probe(gate, arguments.connection, report=_progress)

    verdicts = with_gate(load_config(arguments.config), act)
    lines = [f"{'holds' if v.holds else 'FAILS'}  {v.line}: {v.detail}" for v in verdicts]
    show(arguments.json, [asdict(v) for v in verdicts], *lines)
    return 0 if all(v.holds for v in verdicts) else 1


def _progress(verdict: Verdict) -> None:
    print(f"tried {verdict.line}", file=sys.stderr)
