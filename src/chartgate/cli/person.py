"""`chartgate person`: who may sign in, sealed accounts for when the provider is down, and whose
account ends."""

import argparse
import getpass
import sys
from typing import Any

from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, charters_or_mistakes, show, with_store
from chartgate.config import Config, load_config
from chartgate.errors import Invalid
from chartgate.flows import accounts, people
from chartgate.flows.break_glass import PRIVACY_OFFICER
from chartgate.flows.people import BREAK_GLASS
from chartgate.gate import Gate
from chartgate.policy.cedar import ADMINISTRATORS, OPERATOR
from chartgate.store.people import Listed

OPENED = "SEAL IT ANEW"


def add_parser(commands: Any) -> None:
    """person add, list, remove, restore, seal, sign-out"""
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
    listing = verbs.add_parser(
        "list",
        help="everybody who may sign in, or might once",
        description="One line a person: who vouches for them, roles, sites and open sessions. "
        "Exit code 1 if a sealed account was opened and waits to be sealed anew.",
    )
    add_json_flag(listing)
    listing.set_defaults(run=run_list)
    _add_seal(verbs)
    for verb, run, text, description in (
        (
            "remove",
            run_remove,
            "end an account, its sessions and its break-glasses, at once",
            "Nobody signs in by it again, whoever vouches for them, until `person restore`.",
        ),
        (
            "restore",
            run_restore,
            "take a removal back",
            "Who has a password here needs a new one: `chartgate person add`.",
        ),
        (
            "sign-out",
            run_sign_out,
            "end all sessions of a person, at once",
            "On whatever machine they are. They may sign in again.",
        ),
    ):
        parser = verbs.add_parser(verb, help=text, description=description)
        parser.add_argument("name", help="as `chartgate person list` shows it")
        add_json_flag(parser)
        parser.set_defaults(run=run)


def _add_seal(verbs: Any) -> None:
    parser = verbs.add_parser(
        "seal",
        help="make a sealed account for emergencies, or seal it anew",
        description="For when nobody can sign in at the provider. Prints a one-time secret, once: "
        "write it down and put it into a sealed envelope. Whoever opens it can break the glass, "
        "and nothing else, for an hour; opening it raises an alarm, and the account must then be "
        "sealed anew.",
    )
    parser.add_argument("name", help="of the account, e.g. emergency-1")
    parser.add_argument(
        "--site",
        action="append",
        required=True,
        dest="sites",
        metavar="SITE",
        help="where the glass may be broken; may be given several times",
    )
    add_json_flag(parser)
    parser.set_defaults(run=run_seal)


def run_add(arguments: argparse.Namespace) -> int:
    """Adds the person."""
    config = load_config(arguments.config)
    password = read_password()

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
    if config.oidc.issuer and not config.oidc.keep_passwords:
        print("note: passwords are off while [oidc] has an issuer", file=sys.stderr)
    value = {"person": arguments.name, "roles": arguments.roles, "sites": arguments.sites}
    show(arguments.json, value, f"{arguments.name} may sign in")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """Prints one line a person."""
    found = with_store(load_config(arguments.config), accounts.listed)
    rows = [_row(person) for person in found]
    lines = [
        f"{r['person']:<24} {r['kind']:<16} {' '.join(r['roles']) or '-'} · "
        f"{' '.join(r['sites']) or '-'} · {r['sessions']} session{'' if r['sessions'] == 1 else 's'}"
        for r in rows
    ]
    show(arguments.json, rows, *(lines or ["nobody; `chartgate person add` adds a person"]))
    return 1 if any(r["kind"] == OPENED for r in rows) else 0


def run_seal(arguments: argparse.Namespace) -> int:
    """Seals an account and prints its secret."""
    name, sites = arguments.name, arguments.sites
    secret: str = with_store(
        load_config(arguments.config),
        lambda gate: accounts.seal(gate, name, sites, by=operator()),
    )
    show(
        arguments.json,
        {"person": name, "sites": sites, "secret": secret},
        f"{name} is sealed. Its one-time secret, which is not shown again:",
        "",
        f"    {secret}",
        "",
        "Sign in with it on the page /login; opening it raises an alarm.",
    )
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    """Ends an account."""
    name = arguments.name
    with_store(
        load_config(arguments.config),
        lambda gate: accounts.remove_person(gate, name, by=operator()),
    )
    show(arguments.json, {"person": name, "removed": True}, f"{name} is removed and signed out")
    return 0


def run_restore(arguments: argparse.Namespace) -> int:
    """Takes a removal back."""
    name = arguments.name
    with_store(
        load_config(arguments.config),
        lambda gate: accounts.restore_person(gate, name, by=operator()),
    )
    show(arguments.json, {"person": name, "removed": False}, f"{name} may sign in again")
    return 0


def run_sign_out(arguments: argparse.Namespace) -> int:
    """Ends all sessions of a person."""
    name = arguments.name
    ended: int = with_store(
        load_config(arguments.config),
        lambda gate: accounts.end_sessions(gate, name, by=operator()),
    )
    show(
        arguments.json,
        {"person": name, "sessions": ended},
        f"{name} is signed out; {ended} session{'' if ended == 1 else 's'} ended",
    )
    return 0


def _row(person: Listed) -> dict[str, Any]:
    seen = person.seen_at
    return {
        "person": person.name,
        "kind": _kind(person),
        "roles": list(person.roles),
        "sites": list(person.sites),
        "issuer": person.issuer,
        "sessions": person.sessions,
        "seen_at": seen.isoformat(timespec="seconds") if seen else None,
    }


def _kind(person: Listed) -> str:
    if person.removed_at:
        return "removed"
    if person.sealed:
        return "sealed" if person.has_secret else OPENED
    if person.issuer:
        return "provider"
    return "password" if person.has_secret else "no password"


def _note_unknown(config: Config, arguments: argparse.Namespace) -> None:
    """A typo would silently leave them without any right."""
    book, mistakes = charters_or_mistakes(config)
    if mistakes:
        return
    actions = [a for c in book.charters.values() for a in c.proposes.values()]
    roles = {role for a in actions for role in (*a.reviewers, a.handoff_to)}
    roles |= {OPERATOR, BREAK_GLASS, PRIVACY_OFFICER, *ADMINISTRATORS}
    roles |= set(config.people.break_glass_roles)
    sites = {site for c in book.charters.values() for site in c.sites}
    for kind, given, known in (("role", arguments.roles, roles), ("site", arguments.sites, sites)):
        for name in sorted(set(given) - known):
            listed = ", ".join(sorted(known))
            print(f"note: no charter names the {kind} {name}; known: {listed}", file=sys.stderr)


def read_password() -> str:
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
