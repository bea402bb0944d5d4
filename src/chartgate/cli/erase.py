"""`chartgate erase`: what is stored about a patient can be read no more."""

import argparse
from dataclasses import asdict
from typing import Any

from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, charters_or_mistakes, show, with_store
from chartgate.config import load_config
from chartgate.errors import Invalid
from chartgate.flows import erasure
from chartgate.gate import Gate

REMAINS = (
    "what remains: ids in the audit trail and in the notice of this erasure; times and digests; "
    "backups, until the master key that was in force is destroyed (`chartgate vault rotate`)"
)


def add_parser(commands: Any) -> None:
    """erase"""
    parser = commands.add_parser(
        "erase",
        help="erase what is stored about a patient at a site",
        description="Deletes the patient's keys, at once and in every process, and then the rows "
        "that they sealed; messages about the patient are emptied, also in the quarantine. The "
        "audit trail stays whole: it holds ids and digests. Refused while a legal hold is in "
        "force, or while proposals or messages about the patient are under way. A patient is "
        "named as the record names them; where systems name one patient differently, erase each "
        "name. An erasure that was interrupted is finished by the worker, or by asking again. "
        "What a hospital sends of the patient afterwards is stored anew.",
    )
    parser.add_argument("patient", metavar="PATIENT", help='e.g. "Patient/7", or "7"')
    parser.add_argument("--site", required=True, help="e.g. north-clinic")
    parser.add_argument("--reason", default="", help="kept in the audit; no patient data")
    parser.add_argument("--dry-run", action="store_true", help="only say what there is")
    add_json_flag(parser)
    parser.set_defaults(run=run_erase)


def run_erase(arguments: argparse.Namespace) -> int:
    """Erases, or says what would be."""
    config = load_config(arguments.config)
    book, mistakes = charters_or_mistakes(config)
    if mistakes:
        raise Invalid(f"the charters say which connections belong to a site: {mistakes}")
    if arguments.dry_run:

        async def look(gate: Gate) -> erasure.Found:
            return await erasure.look(gate, arguments.site, arguments.patient)

        found = with_store(config, look, book=book)
        facts = asdict(found)
        lines = [f"{name}: {_said(value)}" for name, value in facts.items()]
        show(arguments.json, facts, *lines, "nothing was changed")
        return 1 if found.hindrances else 0

    async def act(gate: Gate) -> erasure.Erased:
        return await erasure.erase(
            gate, operator(), arguments.site, arguments.patient, reason=arguments.reason
        )

    erased = with_store(config, act, book=book)
    lines = [f"{name}: {count}" for name, count in erased.counts.items() if count]
    show(arguments.json, asdict(erased), f"erased ({erased.id})", *lines, REMAINS)
    return 0


def _said(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
