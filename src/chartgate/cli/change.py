"""`chartgate change`: what weakens a rule waits here for two people."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from chartgate.cli.person import read_password
from chartgate.cli.session import add_json_flag, charters_or_mistakes, show, with_store
from chartgate.config import load_config
from chartgate.errors import ConfigError
from chartgate.flows import changes, people
from chartgate.flows.charters import load, pending_change, settle
from chartgate.gate import Gate
from chartgate.model.principal import Person
from chartgate.store.changes import Change, ChangeStore, rule_change_json

SAY_NOTHING = "nothing here is weaker than what runs, or two people are not asked for"


def add_parser(commands: Any) -> None:
    """change list, show, ask, approve, refuse"""
    parser = commands.add_parser(
        "change",
        help="approve, or refuse, what weakens a rule",
        description="Where two people are required ([people] two_people, always in production), a "
        "change that makes a charter, a policy, a label rule, a stage or a setting weaker waits "
        "until two administrators or privacy officers have approved exactly that change.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    listing = verbs.add_parser(
        "list", help="what waits, and what was decided", description="The latest first."
    )
    listing.set_defaults(run=run_list)
    asking = verbs.add_parser(
        "ask",
        help="let the files as they are now wait for approval",
        description="Compares chartgate.toml and the charters that --config leads to with what was "
        "adopted last, and lets what is weaker wait. So it can be approved before it is put in "
        "place.",
    )
    asking.set_defaults(run=run_ask)
    one = verbs.add_parser("show", help="one change", description="All that it makes weaker.")
    one.set_defaults(run=run_show)
    approving = verbs.add_parser(
        "approve",
        help="approve exactly this change",
        description="Asks for the password of --as, or reads it from standard input. Where a "
        "second factor is required, sign in on the pages instead and approve it there.",
    )
    approving.set_defaults(run=run_approve)
    refusing = verbs.add_parser(
        "refuse", help="refuse it", description="One person is enough to refuse."
    )
    refusing.add_argument("--reason", required=True, help="kept in the audit; no patient data")
    refusing.set_defaults(run=run_refuse)
    for verb in (one, approving, refusing):
        verb.add_argument("digest", help="as `chartgate change list` shows it")
    for verb in (approving, refusing):
        verb.add_argument("--as", dest="name", required=True, help="what you sign in with")
    for verb in (listing, asking, one, approving, refusing):
        add_json_flag(verb)


def run_list(arguments: argparse.Namespace) -> int:
    """Prints one line a change."""

    async def act(gate: Gate) -> tuple[Change, ...]:
        return await ChangeStore(gate.database).listed()

    found = with_store(load_config(arguments.config), act)
    lines = [f"{c.digest}  {c.status:<8} {c.kind} {c.subject}".rstrip() for c in found]
    show(
        arguments.json,
        [rule_change_json(c) for c in found],
        *(lines or ["nothing was ever asked for"]),
    )
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Prints one change, a line for each thing that it weakens."""

    async def act(gate: Gate) -> Change:
        return await ChangeStore(gate.database).get(arguments.digest)

    return _shown(arguments, with_store(load_config(arguments.config), act))


def run_ask(arguments: argparse.Namespace) -> int:
    """Lets what is weaker wait."""
    config = load_config(arguments.config)
    loaded = load(config)

    async def act(gate: Gate) -> list[Change]:
        last = await ChangeStore(gate.database).adopted("charters")
        several = (await changes.asked_config(gate), await pending_change(gate, loaded, last))
        return [change for change in several if change is not None]

    found = with_store(config, act, book=loaded.book)
    lines = [line for change in found for line in _lines(change)]
    show(arguments.json, [rule_change_json(change) for change in found], *(lines or [SAY_NOTHING]))
    return 0


def run_approve(arguments: argparse.Namespace) -> int:
    """Approves, as a person who signs in for it."""

    async def act(gate: Gate, person: Person) -> Change:
        return await changes.approve(gate, person, arguments.digest)

    return _shown(arguments, _as_person(arguments, act))


def run_refuse(arguments: argparse.Namespace) -> int:
    """Refuses, as a person who signs in for it."""

    async def act(gate: Gate, person: Person) -> Change:
        return await changes.refuse(gate, person, arguments.digest, reason=arguments.reason)

    return _shown(arguments, _as_person(arguments, act))


def _as_person(
    arguments: argparse.Namespace, act: Callable[[Gate, Person], Awaitable[Change]]
) -> Change:
    """A shell on this machine is not enough: whoever approves signs in, and out again."""
    config = load_config(arguments.config)
    password = read_password()
    book, mistakes = charters_or_mistakes(config)

    async def signed_in(gate: Gate) -> Change:
        await _settle(gate)
        session = await people.sign_in(gate, arguments.name, password)
        try:
            return await act(gate, session.person)
        finally:
            await people.sign_out(gate, session.cookie)

    change: Change = with_store(config, signed_in, book=book)
    if mistakes:
        print(f"chartgate: done, but the charters have mistakes: {mistakes}", file=sys.stderr)
    return change


async def _settle(gate: Gate) -> None:
    """What was adopted last decides who may approve, not files that wait to be approved."""
    try:
        await settle(gate)
    except ConfigError as error:
        print(f"chartgate: {error}", file=sys.stderr)


def _shown(arguments: argparse.Namespace, change: Change) -> int:
    show(arguments.json, rule_change_json(change), *_lines(change))
    return 0


def _lines(change: Change) -> list[str]:
    by = ", ".join(change.approved_by) or "nobody"
    return [
        f"{change.digest}  {change.status}",
        f"  {change.kind} {change.subject}".rstrip()
        + f", asked for by {change.asked_by}; lapses at {change.expires_at:%Y-%m-%d %H:%M} UTC",
        f"  approved by {by}",
        *(f"  weaker: {sentence}" for sentence in change.sentences),
    ]
