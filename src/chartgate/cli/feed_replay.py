"""`chartgate feed replay`: queue again what was set aside."""

import argparse
import sys
from typing import Any

from chartgate.cli.feed_text import TIME_HELP, point_in_time, progress_after, shown
from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, show, whole_number, with_store
from chartgate.config import load_config
from chartgate.errors import Invalid
from chartgate.flows import feed_replay
from chartgate.flows.feed_replay import ReplayPlan
from chartgate.gate import Gate
from chartgate.store.quarantine import Selection

ID_MAX = 2**63 - 1
PROGRESS_AFTER_S = 2.0


def add_parser(verbs: Any) -> None:
    """feed replay"""
    parser = verbs.add_parser(
        "replay",
        help="queue again what was quarantined, once its cause is gone",
        description="Puts messages back into the queue, each into its patient's lane, in the order "
        "in which they came: by id, or by class, connection and time together. Without --yes it "
        "only says how many. Twice is once: what is queued or delivered is left alone. A replayed "
        "message is processed as one that comes late: what newer messages of the same patient have "
        "said since is not overwritten. Bytes that never became a message cannot be replayed; mend "
        "a copy with `chartgate feed quarantine fix ID --file FILE`.",
    )
    parser.add_argument(
        "ids",
        nargs="*",
        type=whole_number(1, ID_MAX),
        metavar="ID",
        help="as `chartgate feed quarantine list` shows it",
    )
    add_selectors(parser)
    parser.add_argument(
        "--all",
        action="store_true",
        help="also what was filtered; --reason is then also the reason of a filter",
    )
    doing = parser.add_mutually_exclusive_group()
    doing.add_argument("--yes", action="store_true", help="do it; default: only say what")
    doing.add_argument("--dry-run", action="store_true", help="only say what: the default")
    add_json_flag(parser)
    parser.set_defaults(run=run_replay)


def add_selectors(parser: Any) -> None:
    """--reason, --connection, --since, --until"""
    parser.add_argument("--reason", metavar="CLASS", help="only this reason class, e.g. content")
    parser.add_argument("--connection", metavar="NAME", help="only what came over this one")
    parser.add_argument(
        "--since",
        type=point_in_time,
        metavar="TIME",
        help=f"only what was last seen then or later: {TIME_HELP}",
    )
    parser.add_argument(
        "--until", type=point_in_time, metavar="TIME", help="only what was last seen before"
    )


def selection_of(arguments: argparse.Namespace) -> Selection:
    """What the selectors say. Raises Invalid."""
    if arguments.since and arguments.until and arguments.since >= arguments.until:
        raise Invalid("--since is not before --until, so nothing can match")
    return Selection(
        reason=arguments.reason,
        connection=arguments.connection,
        since=arguments.since,
        until=arguments.until,
    )


def run_replay(arguments: argparse.Namespace) -> int:
    """Queues again, or says what would be."""
    chosen = selection_of(arguments)
    ids = tuple(dict.fromkeys(arguments.ids)) or None
    if ids and (arguments.all or chosen != Selection()):
        raise Invalid("name IDs, or select by --reason, --connection, --since, --until; not both")
    selection = Selection(
        ids=ids,
        reason=chosen.reason,
        connection=chosen.connection,
        since=chosen.since,
        until=chosen.until,
        filtered=arguments.all,
    )

    async def act(gate: Gate) -> tuple[ReplayPlan, int | None]:
        plan = await feed_replay.plan_replay(gate, selection)
        if not arguments.yes:
            return plan, None
        progress = progress_after(PROGRESS_AFTER_S, lambda text: print(text, file=sys.stderr))
        return plan, await feed_replay.replay(gate, operator(), plan, progress=progress)

    plan, done = with_store(load_config(arguments.config), act)
    facts = {
        "found": plan.count,
        "by_connection": dict(plan.by_connection),
        "filtered": plan.filtered,
        "first": plan.first or None,
        "last": plan.last or None,
        "never_messages": plan.never_messages,
        "queued_again": done,
    }
    show(arguments.json, facts, *_lines(plan, done))
    return 0


def _lines(plan: ReplayPlan, done: int | None) -> list[str]:
    if done is None:
        lines = [f"{_messages(plan.count)} would be queued again"]
    else:
        lines = [f"{_messages(done)} queued again; `chartgate feed status` shows what comes of it"]
    for connection, count in plan.by_connection.items():
        lines.append(f"  {shown(connection)}: {count}")
    if plan.filtered:
        lines.append(f"  of these {plan.filtered} were filtered")
    if plan.never_messages:
        lines.append(
            f"{plan.never_messages} more never became a message and cannot be replayed; "
            "mend a copy: `chartgate feed quarantine fix ID --file FILE`"
        )
    if done is None and plan.count:
        lines.append("nothing is done yet: add --yes to do it")
    return lines


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"
