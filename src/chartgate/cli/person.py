"""`chartgate person add`: a member of staff who may sign in to the pages."""

import argparse
import getpass
import sys
from typing import Any

from chartgate.cli.session import add_json_flag, show, with_gate
from chartgate.config import load_config
from chartgate.errors import Invalid
from chartgate.flows import people
from chartgate.gate import Gate


def add_parser(commands: Any) -> None:
    """person add"""
    parser = commands.add_parser("person", help="people who may sign in")
    verbs = parser.add_subparsers(dest="verb", required=True)
    add = verbs.add_parser(
        "add",
        help="add a person, or set their password and roles anew",
        description="Asks for the password, or reads it from standard input if that is no "
        "terminal. Roles are those that charters name (scheduler, clinician, …) and operator.",
    )
    add.add_argument("name")
    add.add_argument("--role", action="append", required=True, dest="roles")
    add.add_argument("--site", action="append", required=True, dest="sites")
    add_json_flag(add)
    add.set_defaults(run=run_add)


def run_add(arguments: argparse.Namespace) -> int:
    """Adds the person."""
    password = _password()

    async def act(gate: Gate) -> None:
        await people.add_person(
            gate,
            arguments.name,
            password,
            roles=tuple(arguments.roles),
            sites=tuple(arguments.sites),
        )

    with_gate(load_config(arguments.config), act)
    value = {"person": arguments.name, "roles": arguments.roles, "sites": arguments.sites}
    show(arguments.json, value, f"{arguments.name} may sign in")
    return 0


def _password() -> str:
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not password:
        raise Invalid("no password was given")
    return password
