"""`chartgate hold add | list | lift`: what may be neither deleted nor erased."""

import argparse
from dataclasses import asdict
from typing import Any

from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, show, with_store
from chartgate.config import load_config
from chartgate.flows import erasure
from chartgate.gate import Gate
from chartgate.store.holds import Hold, HoldStore


def add_parser(commands: Any) -> None:
    """hold add, list, lift"""
    parser = commands.add_parser(
        "hold",
        help="legal holds: nothing under one is deleted or erased",
        description="A legal hold beats every period and every erasure. It covers one patient, or "
        "everybody, at one site or at all.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    add = verbs.add_parser("add", help="place one", description="In force at once.")
    who = add.add_mutually_exclusive_group(required=True)
    who.add_argument("--patient", default=None, help='e.g. "Patient/7"')
    who.add_argument("--everybody", action="store_true", help="all patients")
    add.add_argument("--site", default=None, help="default: all")
    add.add_argument("--reason", required=True, help="e.g. a docket number; no patient data")
    add_json_flag(add)
    add.set_defaults(run=run_add)
    listed = verbs.add_parser(
        "list", help="those in force", description="Holds in force, the oldest first."
    )
    listed.add_argument("--lifted", action="store_true", help="also those that were lifted")
    add_json_flag(listed)
    listed.set_defaults(run=run_list)
    lift = verbs.add_parser(
        "lift",
        help="end one",
        description="Ends a hold. What it alone kept is deleted when its period is over.",
    )
    lift.add_argument("id", help="as `chartgate hold list` shows it")
    lift.add_argument("--reason", required=True, help="no patient data")
    add_json_flag(lift)
    lift.set_defaults(run=run_lift)


def run_add(arguments: argparse.Namespace) -> int:
    """Places a hold."""

    async def act(gate: Gate) -> Hold:
        return await erasure.place_hold(
            gate,
            operator(),
            patient=arguments.patient,
            site=arguments.site,
            reason=arguments.reason,
        )

    hold = with_store(load_config(arguments.config), act)
    show(arguments.json, asdict(hold), _line(hold))
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """Lists holds."""

    async def act(gate: Gate) -> tuple[Hold, ...]:
        return await HoldStore(gate.database).all(lifted=arguments.lifted)

    holds = with_store(load_config(arguments.config), act)
    lines = [_line(hold) for hold in holds] or ["no legal hold is in force"]
    show(arguments.json, [asdict(hold) for hold in holds], *lines)
    return 0


def run_lift(arguments: argparse.Namespace) -> int:
    """Lifts a hold."""

    async def act(gate: Gate) -> None:
        await erasure.lift_hold(gate, operator(), arguments.id, reason=arguments.reason)

    with_store(load_config(arguments.config), act)
    show(arguments.json, {"lifted": arguments.id}, f"lifted {arguments.id}")
    return 0


def _line(hold: Hold) -> str:
    whom, where = hold.patient or "everybody", hold.site or "all sites"
    ended = f"; lifted by {hold.lifted_by}: {hold.lift_reason}" if hold.lifted_by else ""
    placed = f"{hold.placed_at:%Y-%m-%d %H:%M} by {hold.placed_by}"
    return f"{hold.id}  {whom}, {where}  {placed}: {hold.reason}{ended}"
