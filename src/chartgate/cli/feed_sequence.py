"""`chartgate feed sequence`: numbered links, and how one goes on after a gap."""

import argparse
from dataclasses import asdict
from typing import Any

from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, show, with_store
from chartgate.config import load_config
from chartgate.flows import sequences
from chartgate.flows.sequences import Link
from chartgate.gate import Gate
from chartgate.store.sequences import ANY


def add_parser(verbs: Any) -> None:
    """feed sequence list, feed sequence reset"""
    parser = verbs.add_parser(
        "sequence",
        help="numbered links (MSH-13), and how one goes on after a gap",
        description="A feed with `sequence = true` refuses a message whose number is not the one "
        "awaited, until a person has found out what is missing and says how it goes on.",
    )
    verbs = parser.add_subparsers(dest="sequence_verb", required=True, metavar="VERB")
    listing = verbs.add_parser(
        "list", help="which number is awaited of whom", description="One line a link."
    )
    add_json_flag(listing)
    listing.set_defaults(run=run_list)
    resetting = verbs.add_parser(
        "reset",
        help="set the number that is awaited",
        description="Sets the number that is awaited of a sender; without --expect the next one "
        "is taken, whichever it is.",
    )
    resetting.add_argument("connection", help="the feed, as `feed sequence list` shows it")
    resetting.add_argument("sender", help="MSH-3|MSH-4, as `feed sequence list` shows it")
    resetting.add_argument(
        "--expect",
        type=int,
        default=ANY,
        metavar="N",
        help="the number that is awaited; default: whichever comes next",
    )
    add_json_flag(resetting)
    resetting.set_defaults(run=run_reset)


def run_list(arguments: argparse.Namespace) -> int:
    """Prints one line a link."""

    async def act(gate: Gate) -> tuple[Link, ...]:
        return await sequences.links(gate)

    found = with_store(load_config(arguments.config), act)
    lines = [_line(link) for link in found] or ["no feed goes by sequence numbers"]
    show(arguments.json, [asdict(link) for link in found], *lines)
    return 0


def run_reset(arguments: argparse.Namespace) -> int:
    """Sets what is awaited."""

    async def act(gate: Gate) -> Link:
        return await sequences.reset(
            gate,
            operator(),
            arguments.connection,
            arguments.sender,
            expected=arguments.expect,
        )

    link = with_store(load_config(arguments.config), act)
    show(arguments.json, asdict(link), _line(link))
    return 0


def _line(link: Link) -> str:
    awaited = "whichever comes next" if link.expected == ANY else str(link.expected)
    return f"{link.connection}  {link.sender}  awaits {awaited}"
