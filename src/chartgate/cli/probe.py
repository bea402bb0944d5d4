"""`chartgate probe CONNECTION`: what a live system really does, and so whether it may be written."""

import argparse
import sys
from dataclasses import asdict
from typing import Any

from chartgate.cli.session import add_json_flag, show, with_gate
from chartgate.config import load_config
from chartgate.flows import probes
from chartgate.flows.probes import Probed
from chartgate.gate import Gate
from chartgate.model.verdict import Verdict


def add_parser(commands: Any) -> None:
    """probe"""
    parser = commands.add_parser(
        "probe",
        help="try on the live system what its dialect claims",
        description="Creates resources of its own on the connection, tries each line of the "
        "dialect on them, removes them, and stores the verdicts. Until a working precondition "
        "was shown, Chartgate does not write to that system. Probe again after each upgrade of "
        "that system; a 429 is waited out as long as it asks, and nothing is tried in masses.",
    )
    parser.add_argument("connection", help="its name in chartgate.toml, e.g. north-ehr")
    parser.add_argument(
        "--last", action="store_true", help="show what the last probe found, and try nothing"
    )
    add_json_flag(parser)
    parser.set_defaults(run=run_probe)


def run_probe(arguments: argparse.Namespace) -> int:
    """Prints one line a verdict and one a kind of write; exit code 1 if a line does not hold."""

    async def act(gate: Gate) -> Probed:
        if not arguments.last:
            await probes.probe(gate, arguments.connection, report=_progress)
        return await probes.last_of(gate, arguments.connection)

    found = with_gate(load_config(arguments.config), act)
    facts = [asdict(verdict) for verdict in found.verdicts]
    show(arguments.json, facts, *_lines(found))
    return 0 if found.verdicts and all(verdict.holds for verdict in found.verdicts) else 1


def _lines(found: Probed) -> list[str]:
    if found.probed_at is None:
        return [f"{found.connection} was never probed: writes are off"]
    lines = [f"{found.connection}, probed {found.probed_at:%Y-%m-%d %H:%M} UTC"]
    lines += [f"{'holds' if v.holds else 'FAILS'}  {v.line}: {v.detail}" for v in found.verdicts]
    lines += [f"{'on ' if r.on else 'OFF'}  {r.kind}{_reason(r.sentence)}" for r in found.rights]
    return lines


def _reason(sentence: str) -> str:
    return f": {sentence}" if sentence else ""


def _progress(verdict: Verdict) -> None:
    print(f"tried {verdict.line}", file=sys.stderr)
