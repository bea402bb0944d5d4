"""`chartgate interaction show`: what an AI client saw, byte for byte."""

import argparse
import sys
from dataclasses import asdict
from typing import Any

from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, show, whole_number, with_store
from chartgate.config import load_config
from chartgate.errors import NotFound
from chartgate.flows import interactions
from chartgate.gate import Gate

NUMBER_MAX = 2**31


def add_parser(commands: Any) -> None:
    """interaction show"""
    parser = commands.add_parser(
        "interaction",
        help="what an AI client was shown in one interaction",
        description="An interaction is one unit of AI work: its id stands in each answer, in each "
        "audit event and with each proposal.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser(
        "show",
        help="every answer, put together again; exit code 1 if one cannot be",
        description="Puts each answer together from what was kept of it and compares it with the "
        "digest in its audit entry. Parts about patients who were erased say so. It shows patient "
        "data, and is audited itself.",
    )
    one.add_argument("id", metavar="ID", help="as Chartgate-Interaction gave it")
    one.add_argument(
        "--raw", type=whole_number(1, NUMBER_MAX), metavar="N", help="only the bytes of answer N"
    )
    add_json_flag(one)
    one.set_defaults(run=run_show)


def run_show(arguments: argparse.Namespace) -> int:
    """Shows."""

    async def act(gate: Gate) -> interactions.Shown:
        return await interactions.show(gate, arguments.id, agent=operator().agent)

    shown = with_store(load_config(arguments.config), act)
    if arguments.raw:
        return _raw(shown, arguments.raw)
    facts = asdict(shown)
    for answer in facts["answers"]:
        answer["body"] = None if answer["body"] is None else answer["body"].decode()
    started = f"{shown.site}, {shown.started_at:%Y-%m-%d %H:%M:%S}"
    lines = [f"interaction {shown.interaction} of {shown.client} under {shown.charter}, {started}"]
    for one in shown.answers:
        lines.append(f"[{one.number}] {one.at:%H:%M:%S} {one.action}: {one.says}")
        lines += [f"    {digest[:12]}  {state}, {size} bytes" for digest, state, size in one.parts]
        lines += [one.body.decode()] if one.body is not None else []
    show(arguments.json, facts, *lines)
    return 0 if all(one.holds for one in shown.answers) else 1


def _raw(shown: interactions.Shown, number: int) -> int:
    found = next((one for one in shown.answers if one.number == number), None)
    if found is None or found.body is None:
        why = found.says if found else f"it has {len(shown.answers)} answers"
        raise NotFound(f"answer {number} cannot be shown: {why}")
    sys.stdout.buffer.write(found.body)
    return 0 if found.holds else 1
