"""`chartgate feed rebuild`: the record made again with other tables, looked at, and switched."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chartgate.cli.feed_replay import PROGRESS_AFTER_S
from chartgate.cli.feed_text import progress_after, shown
from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, show, with_store
from chartgate.config import load_config
from chartgate.errors import Invalid
from chartgate.flows import rebuilds
from chartgate.flows.feeds import FILE_BYTES_MAX
from chartgate.flows.rebuilds import Progress, Report
from chartgate.gate import Gate
from chartgate.store.rebuilds import Rebuild

VERBS = (
    (
        "start",
        "note the tables that a record is to be made again with",
        (
            "Begins a rebuild: with the running tables, e.g. those of a new release, or with another "
            "file of overrides. Nothing is made yet; `run` does it."
        ),
    ),
    (
        "run",
        "make the record again from the inbox, beside the running one",
        (
            "Folds every delivered message in the order in which it came; goes on where it was "
            "interrupted. The running record is not touched."
        ),
    ),
    (
        "diff",
        "say what a switch would change",
        (
            "Counts the resources that would come, go or change, by type and element, and lists "
            "messages that these tables cannot take. Shows no patient data unless told to."
        ),
    ),
    (
        "switch",
        "put the rebuilt record in the place of the running one",
        (
            "Catches up with what came meanwhile while processing waits, and switches in one "
            "transaction. The feed must go by the same tables by then. Old versions stay. Without "
            "--yes it only says what."
        ),
    ),
    (
        "drop",
        "forget a rebuilt record",
        "The running record stays as it is. Without --yes it only says what.",
    ),
    ("status", "rebuilds under way", "One line a rebuild."),
)


def add_parser(verbs: Any) -> None:
    """feed rebuild start, run, diff, switch, drop, status"""
    parser = verbs.add_parser(
        "rebuild",
        help="make a record again from the inbox with other tables, compare, switch",
        description="Makes the record of a feed again from its messages, beside the running one, "
        "with another revision of the tables; says exactly what would change; and puts it in "
        "place.",
    )
    rebuild_verbs = parser.add_subparsers(dest="rebuild_verb", required=True, metavar="VERB")
    runs = {"start": run_start, "run": run_run, "diff": run_diff, "switch": run_switch}
    for name, words, description in VERBS:
        one = rebuild_verbs.add_parser(name, help=words, description=description)
        if name != "status":
            one.add_argument("connection", help="the feed, as the config names it")
        if name == "start":
            one.add_argument(
                "--overrides",
                type=Path,
                metavar="FILE",
                help="the site's file of overrides to try; default: the running one",
            )
        if name == "diff":
            one.add_argument(
                "--examples", action="store_true", help="references of some resources of each kind"
            )
        if name in ("switch", "drop"):
            one.add_argument("--yes", action="store_true", help="do it; default: only say what")
        add_json_flag(one)
        one.set_defaults(run={**runs, "drop": run_drop, "status": run_status}[name])


def run_start(arguments: argparse.Namespace) -> int:
    """Begins one."""
    overrides = None if arguments.overrides is None else _text(arguments.overrides)

    async def act(gate: Gate) -> Rebuild:
        return await rebuilds.start(gate, operator(), arguments.connection, overrides=overrides)

    begun = with_store(load_config(arguments.config), act)
    line = f"a rebuild of {begun.connection} by tables {begun.revision} is begun"
    show(arguments.json, _facts(begun), line, _next("run", begun))
    return 0


def run_run(arguments: argparse.Namespace) -> int:
    """Folds all there is."""

    async def act(gate: Gate) -> tuple[Rebuild, int]:
        rebuild = await rebuilds.run(gate, arguments.connection, progress=_progress("messages"))
        return rebuild, await rebuilds.remaining(gate, rebuild)

    rebuild, remaining = with_store(load_config(arguments.config), act)
    lines = [_line(rebuild, remaining), _next("diff", rebuild)]
    show(arguments.json, {**_facts(rebuild), "remaining": remaining}, *lines)
    return 0


def run_diff(arguments: argparse.Namespace) -> int:
    """Says what would change."""

    async def act(gate: Gate) -> Report:
        return await rebuilds.report(
            gate, arguments.connection, progress=_progress("resources that differ")
        )

    report = with_store(load_config(arguments.config), act)
    facts = {
        **_facts(report.rebuild),
        "remaining": report.remaining,
        "changes": [_change(change, arguments.examples) for change in map(asdict, report.changes)],
        "refused_messages": [asdict(refused) for refused in report.refused],
    }
    show(arguments.json, facts, *_report_lines(report, with_examples=arguments.examples))
    return 0


def run_switch(arguments: argparse.Namespace) -> int:
    """Switches, or says what would be."""

    async def act(gate: Gate) -> Rebuild:
        if not arguments.yes:
            return await rebuilds.check_switch(gate, arguments.connection)
        return await rebuilds.switch(
            gate, operator(), arguments.connection, progress=_progress("messages")
        )

    return _done_or_not(
        arguments, act, "would take the place of the running one", "is the running one"
    )


def run_drop(arguments: argparse.Namespace) -> int:
    """Forgets one, or says which."""

    async def act(gate: Gate) -> Rebuild:
        if not arguments.yes:
            return await rebuilds.get(gate, arguments.connection)
        return await rebuilds.drop(gate, operator(), arguments.connection)

    return _done_or_not(arguments, act, "would be dropped", "is dropped")


def run_status(arguments: argparse.Namespace) -> int:
    """One line a rebuild."""
    found = with_store(load_config(arguments.config), rebuilds.under_way)
    lines = [_line(rebuild, remaining) for rebuild, remaining in found]
    facts = [{**_facts(rebuild), "remaining": remaining} for rebuild, remaining in found]
    show(arguments.json, facts, *(lines or ["no rebuild is under way"]))
    return 0


def _done_or_not(arguments: argparse.Namespace, act: Any, would: str, done: str) -> int:
    rebuild = with_store(load_config(arguments.config), act)
    what = f"the rebuilt record of {rebuild.connection}, of {_messages(rebuild.folded)},"
    lines = [f"{what} {done}"] if arguments.yes else [f"{what} {would}"]
    if not arguments.yes:
        lines.append("nothing is done yet: add --yes to do it")
    show(arguments.json, {**_facts(rebuild), "done": arguments.yes}, *lines)
    return 0


def _report_lines(report: Report, *, with_examples: bool) -> Sequence[str]:
    lines = [_line(report.rebuild, report.remaining)]
    for change in report.changes:
        what = f"{change.kind:<8} {change.resource_type:<22} {change.element:<24}"
        examples = f"  {', '.join(change.examples)}" if with_examples else ""
        lines.append(f"  {change.count:>7} {what.rstrip() if not examples else what}{examples}")
    if not report.changes:
        lines.append("  the records do not differ")
    for refused in report.refused:
        lines.append(f"  message {refused.message} cannot be taken: {shown(refused.reason)}")
    more = report.rebuild.refused - len(report.refused)
    if report.refused and more > 0:
        lines.append(f"  and {_messages(more)} more")
    if report.remaining:
        lines.append(
            f"not all of it: {_messages(report.remaining)} to go; {_next('run', report.rebuild)}"
        )
    return lines


def _line(rebuild: Rebuild, remaining: int) -> str:
    by = "other overrides" if rebuild.overrides is not None else "the running overrides"
    parts = [f"{_messages(rebuild.folded)} folded"]
    parts += [f"{rebuild.filtered} filtered"] if rebuild.filtered else []
    parts += [f"{rebuild.refused} REFUSED"] if rebuild.refused else []
    parts += [f"{remaining} to go"] if remaining else []
    return f"{rebuild.connection}: tables {rebuild.revision} ({by}), {', '.join(parts)}"


def _next(verb: str, rebuild: Rebuild) -> str:
    return f"next: chartgate feed rebuild {verb} {rebuild.connection}"


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _change(change: dict[str, Any], with_examples: bool) -> dict[str, Any]:
    return change if with_examples else {k: v for k, v in change.items() if k != "examples"}


def _facts(rebuild: Rebuild) -> dict[str, Any]:
    """What it is, without the file of overrides."""
    return {
        "connection": rebuild.connection,
        "tables": rebuild.revision,
        "other_overrides": rebuild.overrides is not None,
        "folded": rebuild.folded,
        "filtered": rebuild.filtered,
        "refused": rebuild.refused,
        "started_by": rebuild.started_by,
        "started_at": rebuild.started_at.isoformat(timespec="seconds"),
    }


def _progress(of: str) -> Progress:
    return progress_after(PROGRESS_AFTER_S, lambda text: print(f"{text} {of}", file=sys.stderr))


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Invalid(f"{path} cannot be read ({error.strerror})") from None
    if len(content) > FILE_BYTES_MAX:
        raise Invalid(f"{path} is larger than {FILE_BYTES_MAX} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not UTF-8") from None
