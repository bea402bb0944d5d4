"""`chartgate stage`: at which stage of its rollout a charter runs."""

import argparse
from typing import Any

from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, show, with_store
from chartgate.config import load_config
from chartgate.flows import halts
from chartgate.flows.charters import load_book
from chartgate.gate import Gate
from chartgate.model.charter import STAGES
from chartgate.store.changes import Change


def add_parser(commands: Any) -> None:
    """stage"""
    parser = commands.add_parser(
        "stage",
        help="move a charter to a stage of its rollout",
        description="shadow stores proposals and shows them to nobody; suggest and later stages "
        "send them to review.",
    )
    parser.add_argument("charter", help="its name, e.g. clinic-booking")
    parser.add_argument("stage", choices=STAGES, help="one that the charter's rollout has")
    add_json_flag(parser)
    parser.set_defaults(run=run_stage)


def run_stage(arguments: argparse.Namespace) -> int:
    """Sets the stage."""
    config = load_config(arguments.config)

    async def act(gate: Gate) -> Change | None:
        return await halts.set_stage(gate, operator(), arguments.charter, arguments.stage)

    change = with_store(config, act, book=load_book(config))
    if change is not None:
        waits = f"{change.sentences[0]} once two people approve: chartgate change approve"
        value = {"charter": arguments.charter, "change": change.digest, "status": change.status}
        show(arguments.json, value, f"{waits} {change.digest}")
        return 0
    show(
        arguments.json,
        {"charter": arguments.charter, "stage": arguments.stage},
        f"{arguments.charter} is at stage {arguments.stage}",
    )
    return 0
