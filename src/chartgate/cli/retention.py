"""`chartgate retention status | run`: what is older than its period."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, charters_or_mistakes, show, with_store
from chartgate.config import load_config
from chartgate.errors import Invalid
from chartgate.flows import retention
from chartgate.gate import Gate


def add_parser(commands: Any) -> None:
    """retention status, run"""
    parser = commands.add_parser(
        "retention",
        help="what is older than its period, and deleting it",
        description="Each class of what is stored has a period under [retention]; the worker "
        "deletes what is older, in batches, each with an audit event that holds counts and a "
        "digest. A legal hold (`chartgate hold`) beats every period. Audit events are kept six "
        "years at least; of those deleted then, the leaves stay, so the ledger still verifies.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    status = verbs.add_parser(
        "status", help="periods, and what is due", description="Changes nothing."
    )
    add_json_flag(status)
    status.set_defaults(run=run_status)
    run = verbs.add_parser(
        "run",
        help="delete what is due now",
        description="As the worker does by itself, all at once.",
    )
    run.add_argument("--dry-run", action="store_true", help="only say what is due")
    add_json_flag(run)
    run.set_defaults(run=run_run)


def run_status(arguments: argparse.Namespace) -> int:
    """Prints each class."""

    async def act(gate: Gate) -> tuple[retention.Standing, ...]:
        return await retention.standing(gate)

    standing = _with(arguments, act)
    lines = [
        f"{one.name:<12} {one.days:>7g} days  due: {_due(one)}  (before {one.before:%Y-%m-%d})"
        for one in standing
    ]
    show(arguments.json, [asdict(one) for one in standing], *lines)
    return 0


def run_run(arguments: argparse.Namespace) -> int:
    """Deletes."""
    if arguments.dry_run:
        return run_status(arguments)

    async def act(gate: Gate) -> Mapping[str, int]:
        return await retention.run(gate, agent=operator().agent)

    counts = _with(arguments, act)
    lines = [f"{name}: {count}" for name, count in counts.items() if count] or ["nothing was due"]
    show(arguments.json, counts, *lines)
    return 0


def _with(arguments: argparse.Namespace, act: Any) -> Any:
    config = load_config(arguments.config)
    book, mistakes = charters_or_mistakes(config)
    if mistakes:
        raise Invalid(f"the charters have periods of their own, and cannot be read: {mistakes}")
    return with_store(config, act, book=book)


def _due(one: retention.Standing) -> str:
    return str(one.due) if one.due else "none"
