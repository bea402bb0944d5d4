"""`chartgate person add`: a member of staff who may sign in to the pages."""

import argparse
import getpass
import sys
from typing import Any

from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, charters_or_mistakes, show, with_store
from chartgate.config import Config, load_config
from chartgate.errors import Invalid
from chartgate.flows import people
from chartgate.gate import Gate
from chartgate.policy.cedar import OPERATOR


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
    add.add_argument("name", help="what they sign in with, e.g. sofia")
    for option, text in (("role", "e.g. scheduler"), ("site", "e.g. north-clinic")):
        add.add_argument(
            f"--{option}",
            action="append",
            required=True,
            dest=f"{option}s",
            metavar=option.upper(),
            help=f"{text}; may be given several times",
        )
    add_json_flag(add)
    add.set_defaults(run=run_add)


def run_add(arguments: argparse.Namespace) -> int:
    """Adds the person."""
    config = load_config(arguments.config)
    password = _password()

    async def act(gate: Gate) -> None:
        await people.add_person(
            gate,
            arguments.name,
            password,
            roles=tuple(arguments.roles),
            sites=tuple(arguments.sites),
            by=operator(),
        )

    with_store(config, act)
    _note_unknown(config, arguments)
    value = {"person": arguments.name, "roles": arguments.roles, "sites": arguments.sites}
    show(arguments.json, value, f"{arguments.name} may sign in")
    return 0


def _note_unknown(config: Config, arguments: argparse.Namespace) -> None:
    """A typo would silently leave them without any right."""
    book, mistakes = charters_or_mistakes(config)
    if mistakes:
        return
    actions = [a for c in book.charters.values() for a in c.proposes.values()]
    roles = {role for a in actions for role in (a.review_by, a.handoff_to)} | {OPERATOR}
    sites = {site for c in book.charters.values() for site in c.sites}
    for kind, given, known in (("role", arguments.roles, roles), ("site", arguments.sites, sites)):
        for name in sorted(set(given) - known):
            listed = ", ".join(sorted(known))
            print(f"note: no charter names the {kind} {name}; known: {listed}", file=sys.stderr)


def _password() -> str:
    """One line. Never from an argument, which other processes can see."""
    try:
        password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    except EOFError:
        password = ""
    except UnicodeDecodeError:
        raise Invalid("the password is not UTF-8 text") from None
    if not password:
        raise Invalid("no password was given; type it, or pipe it in as one line")
    if not password.isprintable():
        raise Invalid("the password holds characters that cannot be typed")
    return password
