"""`chartgate charter check`: what is wrong with the charters, before they run."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chartgate.cli.session import add_json_flag, show
from chartgate.config import load_config
from chartgate.flows.charters import load_book
from chartgate.model.charter import Charter
from chartgate.policy.charters import not_enforced


def add_parser(commands: Any) -> None:
    """charter check"""
    parser = commands.add_parser("charter", help="check charters")
    verbs = parser.add_subparsers(dest="verb", required=True)
    check = verbs.add_parser(
        "check",
        help="parse and check every charter of the config",
        description="Parses every charter with its model file, checks it against the published "
        "JSON Schema and against FHIR R4, and compiles it to policy. Exit code 2 if one is wrong.",
    )
    check.add_argument("--charters", type=Path, help="folder; default: charters_dir of the config")
    add_json_flag(check)
    check.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace) -> int:
    """Prints one line a charter, and one for what it asks for that has no effect yet."""
    config = load_config(arguments.config)
    book = load_book(config, folder=arguments.charters)
    charters = sorted(book.charters.values(), key=lambda charter: charter.name)
    rows = [
        {
            "charter": c.name,
            "revision": c.revision,
            "digest": c.digest,
            "clients": list(c.clients),
            "reads": sorted(c.reads),
            "proposes": sorted(c.proposes),
            "sites": dict(c.sites),
            "not_enforced": list(not_enforced(c)),
        }
        for c in charters
    ]
    lines = [line for charter in charters for line in _lines(charter)]
    show(arguments.json, rows, *lines, f"{len(rows)} charters are right")
    return 0


def _lines(c: Charter) -> Iterator[str]:
    yield (
        f"{c.name} revision {c.revision} ({c.digest[:12]}): reads {', '.join(sorted(c.reads))}; "
        f"proposes {', '.join(sorted(c.proposes)) or 'nothing'}"
    )
    if keys := not_enforced(c):
        yield f"  note: {c.name} uses keys that are read but not enforced yet: {', '.join(keys)}"
