"""`chartgate audit export | feeds`: the audit as files, and how record repositories stand."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, charters_or_mistakes, show, with_store
from chartgate.config import load_config
from chartgate.flows import atna, audit_export, audit_search
from chartgate.gate import Gate


def add_verbs(verbs: Any) -> None:
    """audit export, feeds"""
    export = verbs.add_parser(
        "export",
        help="write the audit into a file",
        description="Writes numbered events as FHIR AuditEvents by IHE BALP (fhir: a line each; "
        "bundle: one Bundle) or as the ledger's own lines (ndjson). The same command goes on "
        "where one that was interrupted stopped. For evidence that can be checked by strangers: "
        "`chartgate ledger export`.",
    )
    export.add_argument(
        "--format", choices=audit_export.FORMS, required=True, dest="form", help="of the file"
    )
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new file")
    export.add_argument("--since", metavar="TIME", help="as for `chartgate audit search`")
    export.add_argument("--until", metavar="TIME", help="the same; up to, but without")
    add_json_flag(export)
    export.set_defaults(run=run_export)
    feeds = verbs.add_parser(
        "feeds",
        help="how far each audit record repository has been sent the audit",
        description="Each [atna.NAME] with what it has taken and what waits for it. Exit code 1 "
        "if one does not take what it is sent.",
    )
    add_json_flag(feeds)
    feeds.set_defaults(run=run_feeds)


def run_export(arguments: argparse.Namespace) -> int:
    """Writes the file."""
    config = load_config(arguments.config)
    book, _ = charters_or_mistakes(config)

    async def act(gate: Gate) -> int:
        now = gate.clock()
        since, until = (
            audit_search.parse_time(text, now=now) if text else None
            for text in (arguments.since, arguments.until)
        )
        return await audit_export.export(
            gate,
            operator(),
            arguments.out,
            form=arguments.form,
            since=since,
            until=until,
            progress=_progress,
        )

    count = with_store(config, act, book=book)
    value = {"file": str(arguments.out), "format": arguments.form, "events": count}
    show(arguments.json, value, f"wrote {count} events into {arguments.out}")
    return 0


def run_feeds(arguments: argparse.Namespace) -> int:
    """Prints how each destination stands."""
    config = load_config(arguments.config)

    async def act(gate: Gate) -> Any:
        return await atna.standing(gate)

    found = with_store(config, act)
    lines = []
    for each in found:
        since = f", oldest {each.oldest.isoformat(timespec='seconds')}" if each.oldest else ""
        trouble = f"; FAILS ({each.failures} in a row): {each.last_error}" if each.failures else ""
        lines.append(f"{each.destination}: {each.sent} sent, {each.lag} wait{since}{trouble}")
    show(arguments.json, [asdict(each) for each in found], *(lines or ["no [atna.NAME] is set"]))
    return 1 if any(each.failures for each in found) else 0


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {of}", end="\n" if done == of else "", file=sys.stderr, flush=True)
