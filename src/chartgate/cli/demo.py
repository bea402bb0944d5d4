"""`chartgate demo`: the whole walk, with real processes, on a sample hospital."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """demo"""
    parser = commands.add_parser(
        "demo",
        help="one AI action end to end, on a sample hospital",
        description="Starts a sample hospital, Chartgate and three AI clients as real processes, "
        "tells the story step by step, then stays up for you to look around (with CI=1 it ends).",
    )
    parser.add_argument("--bundles", type=Path, metavar="DIR", help="load these FHIR bundles")
    parser.add_argument("--messages", type=Path, metavar="FILE", help="send these HL7 v2 messages")
    parser.add_argument("--folder", type=Path, default=Path("var/demo"), help="where to work")
    parser.set_defaults(run=run_demo)


def run_demo(arguments: argparse.Namespace) -> int:
    """Becomes the demo: it lives beside the command line, which it drives as a person would."""
    command = [sys.executable, "-m", "chartgate.demo", "--folder", str(arguments.folder)]
    if arguments.bundles:
        command += ["--bundles", str(arguments.bundles)]
    if arguments.messages:
        command += ["--messages", str(arguments.messages)]
    os.execv(command[0], command)
