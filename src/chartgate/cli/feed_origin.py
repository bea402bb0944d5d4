"""`chartgate feed origin`: the Provenance of one resource of the record."""

import argparse
import sys
from typing import Any

import orjson

from chartgate.cli.session import with_store
from chartgate.config import load_config
from chartgate.flows.origins import provenance
from chartgate.gate import Gate
from chartgate.model.resource import Resource


def add_parser(verbs: Any) -> None:
    """feed origin"""
    parser = verbs.add_parser(
        "origin",
        help="say which message, segment and table row made a resource of the record",
        description="Prints the FHIR Provenance of the current version of a resource that messages "
        "made: the message by its SHA-256, who sent it, and for the resource which rows of which "
        'tables took which fields, e.g. "3 PID.Patient 3,5,7": of the third segment, by the table '
        "PID.Patient, the fields 3, 5 and 7.",
        epilog="example: chartgate feed origin north-adt Patient/69d8fc46-cccb-569d-bfed-4ce2d4ea9884",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("connection", help="the feed that it came over")
    parser.add_argument("reference", help="e.g. Patient/…")
    parser.set_defaults(run=run_origin)


def run_origin(arguments: argparse.Namespace) -> int:
    """Prints JSON: it is a FHIR resource either way."""
    config = load_config(arguments.config)

    async def act(gate: Gate) -> Resource:
        return await provenance(gate, arguments.connection, arguments.reference)

    found = with_store(config, act)
    sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
    return 0
