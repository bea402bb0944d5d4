"""`chartgate feed drift`: what changed in what the senders send, and taking it for normal."""

import argparse
from typing import Any

from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, add_limit, show, whole_number, with_store
from chartgate.config import load_config
from chartgate.flows import drift
from chartgate.gate import Gate
from chartgate.model.drift import DriftFinding

ID_MAX = 2**62


def add_parser(commands: Any) -> None:
    """drift list, drift show, drift ack: below `feed`, whose commands these are"""
    parser = commands.add_parser(
        "drift",
        help="changes in what the senders send",
        description="Per sender and message type: new segments, fields, codes, formats and "
        "lengths, and fields that vanished. Shows classes of values and codes of tables, nothing "
        "of a patient.",
    )
    verbs = parser.add_subparsers(dest="drift_verb", required=True, metavar="VERB")
    listing = verbs.add_parser(
        "list", help="open findings", description="One line a finding, the latest seen first."
    )
    listing.add_argument("--all", action="store_true", help="acknowledged ones, too")
    add_limit(listing, drift.LISTED_MAX, default=100)
    add_json_flag(listing)
    listing.set_defaults(run=run_list)
    for verb, run, words in (
        ("show", run_show, "one finding, with ids of example messages"),
        ("ack", run_ack, "take a finding for the new normal"),
    ):
        one = verbs.add_parser(verb, help=words, description=f"{words.capitalize()}.")
        one.add_argument(
            "id", type=whole_number(1, ID_MAX), help="as `chartgate feed drift list` shows it"
        )
        add_json_flag(one)
        one.set_defaults(run=run)


def run_list(arguments: argparse.Namespace) -> int:
    """Prints one line a finding."""

    async def act(gate: Gate) -> tuple[DriftFinding, ...]:
        return await drift.findings(gate, with_acknowledged=arguments.all, limit=arguments.limit)

    found = with_store(load_config(arguments.config), act)
    lines = [_line(one) for one in found]
    show(arguments.json, [_row(one) for one in found], *(lines or ["no schema drift"]))
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Prints all that is known of a finding."""

    async def act(gate: Gate) -> DriftFinding:
        return await drift.finding(gate, arguments.id)

    row = _row(with_store(load_config(arguments.config), act))
    show(arguments.json, row, *(f"{name:<16} {_text(value)}" for name, value in row.items()))
    return 0


def run_ack(arguments: argparse.Namespace) -> int:
    """Acknowledges a finding."""

    async def act(gate: Gate) -> DriftFinding:
        return await drift.acknowledge(gate, operator(), arguments.id)

    one = with_store(load_config(arguments.config), act)
    show(arguments.json, _row(one), f"acknowledged: {_line(one)}")
    return 0


def _line(one: DriftFinding) -> str:
    feed = f"{one.feed.connection} {one.feed.sender} {one.feed.message_type}"
    change = f"{one.kind:<14} {one.position:<9} {one.was or 'nothing'} -> {one.now}"
    closed = f", acknowledged by {one.acknowledged_by}" if one.acknowledged_by else ""
    return f"{one.id:>6}  {feed}  {change}  ({one.count} messages{closed})"


def _row(one: DriftFinding) -> dict[str, Any]:
    acknowledged_at = one.acknowledged_at
    return {
        "id": one.id,
        **one.feed._asdict(),
        "kind": one.kind,
        "position": one.position,
        "was": one.was,
        "now": one.now,
        "messages": one.count,
        "examples": list(one.examples),
        "first_seen_at": one.first_seen_at.isoformat(timespec="seconds"),
        "last_seen_at": one.last_seen_at.isoformat(timespec="seconds"),
        "acknowledged_by": one.acknowledged_by,
        "acknowledged_at": acknowledged_at.isoformat(timespec="seconds")
        if acknowledged_at
        else None,
    }


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value is None else str(value)
