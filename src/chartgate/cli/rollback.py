"""`chartgate rollback`: take back what was written, one proposal or many; first always a dry run."""

import argparse
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from chartgate.cli.halt import operator
from chartgate.cli.person import read_password
from chartgate.cli.session import add_json_flag, show, with_gate
from chartgate.config import load_config
from chartgate.errors import Invalid
from chartgate.flows import bulk_rollbacks, people, rollbacks, undo_views
from chartgate.flows.audit_search import parse_time
from chartgate.flows.undo_lists import Plan, Selection, plan_json
from chartgate.flows.undo_views import Compared, compared_json
from chartgate.gate import Gate
from chartgate.model.charter import STAGES
from chartgate.model.principal import Person, Principal

CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
TIME_HELP = "14:00 (the last time it was that here), 2h, 3d, 2026-11-01 or 2026-11-01T14:00:00Z"
VALUE_WIDTH = 40  # characters of one value in the three-way view

Answer = TypeVar("Answer")


def add_parser(commands: Any) -> None:
    """rollback"""
    parser = commands.add_parser(
        "rollback",
        help="take back what was written: one proposal, or all of a client, charter, stage, time",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Takes back what Chartgate wrote: the newest first, each with its stored\n"
        "compensation, once, verified and audited. What somebody changed since is\n"
        "left as it is. Ask for the list first, with --dry-run; then name that list,\n"
        "a reason, and who you are: the password is asked for, or read from standard\n"
        "input. Where a second factor is required, do it on the pages instead.",
        epilog="everything that slot-picker wrote since two o'clock:\n"
        "  chartgate halt --charter clinic-booking --reason 'wrong slots'\n"
        "  chartgate rollback --client slot-picker --since 14:00 --dry-run --as sofia\n"
        "  chartgate rollback --client slot-picker --since 14:00 --list 3f09… \\\n"
        "      --reason 'wrong slots' --as sofia\n"
        "  chartgate stage clinic-booking shadow\n"
        "  chartgate resume --charter clinic-booking --reason 'rolling back'\n"
        "A halt holds rollbacks too. At stage shadow nothing new is written, so that after\n"
        "the halt only what was written is taken back.",
    )
    parser.add_argument("--proposal", metavar="ID", help="this one alone")
    parser.add_argument("--client", help="what this AI client wrote, e.g. slot-picker")
    parser.add_argument("--charter", help="what was written under this charter")
    parser.add_argument("--stage", choices=STAGES, help="what was proposed at this stage")
    parser.add_argument("--since", metavar="TIME", help=TIME_HELP)
    parser.add_argument("--until", metavar="TIME", help="the same; default: now")
    parser.add_argument(
        "--dry-run", action="store_true", help="list what would be undone, and what cannot be"
    )
    parser.add_argument(
        "--list", dest="shown", metavar="DIGEST", help="the one that you were shown"
    )
    parser.add_argument("--reason", help="why; kept with each proposal")
    parser.add_argument("--as", dest="name", help="what you sign in with")
    add_json_flag(parser)
    parser.set_defaults(run=run_rollback)


def run_rollback(arguments: argparse.Namespace) -> int:
    """Lists, or asks for it."""
    many = (arguments.client, arguments.charter, arguments.stage, arguments.since, arguments.until)
    if arguments.proposal and any(many):
        raise Invalid("name one proposal with --proposal, or select by the others; not both")
    if not arguments.dry_run:
        _check_asked(arguments)
    if arguments.proposal:
        return _one(arguments)
    return _many(arguments)


def _check_asked(arguments: argparse.Namespace) -> None:
    missing = [
        flag
        for flag, value in (("--reason", arguments.reason), ("--as", arguments.name))
        if not value
    ]
    if not arguments.proposal and not arguments.shown:
        missing.insert(0, "--list")
    if missing:
        raise Invalid(
            f"{' and '.join(missing)} missing; look first at what would be undone, with --dry-run"
        )


def _many(arguments: argparse.Namespace) -> int:
    async def act(gate: Gate, who: Principal) -> Plan:
        selection = _selection(arguments, gate.clock())
        if arguments.dry_run:
            return await bulk_rollbacks.plan(gate, who, selection)
        return await bulk_rollbacks.roll_back(
            gate, who, selection, shown=arguments.shown, reason=arguments.reason
        )

    made = _with_who(arguments, act)
    value = plan_json(made) | {"dry_run": arguments.dry_run}
    show(arguments.json, value, *_plan_lines(made, dry_run=arguments.dry_run))
    return 0


def _one(arguments: argparse.Namespace) -> int:
    """The dry run of one is its three-way view, which only a person may see."""
    if not arguments.name:
        raise Invalid("a chart is shown to people only: name yourself with --as")

    async def compare(gate: Gate, who: Principal) -> tuple[Compared, ...]:
        return await undo_views.compare(gate, who, arguments.proposal)

    async def ask(gate: Gate, who: Principal) -> str:
        after = await rollbacks.request_rollback(
            gate, who, arguments.proposal, reason=arguments.reason
        )
        return after.status.value

    if arguments.dry_run:
        found = _with_who(arguments, compare)
        show(arguments.json, [compared_json(c) for c in found], *_compared_lines(found))
        return 0
    status = _with_who(arguments, ask)
    value = {"id": arguments.proposal, "status": status}
    show(arguments.json, value, f"{arguments.proposal}  {status}: a worker takes it back now")
    return 0


def _with_who(
    arguments: argparse.Namespace, act: Callable[[Gate, Principal], Awaitable[Answer]]
) -> Answer:
    """A shell on this machine is enough to look at the list; whoever undoes signs in for it."""
    config = load_config(arguments.config)
    password = read_password() if arguments.name else ""

    async def acting(gate: Gate) -> Answer:
        if not arguments.name:
            return await act(gate, operator())
        session = await people.sign_in(gate, arguments.name, password)
        try:
            person: Person = session.person
            return await act(gate, person)
        finally:
            await people.sign_out(gate, session.cookie)

    return with_gate(config, acting)


def _selection(arguments: argparse.Namespace, now: datetime) -> Selection:
    return Selection(
        client=arguments.client,
        charter=arguments.charter,
        stage=arguments.stage,
        since=_time(arguments.since, now) if arguments.since else None,
        until=_time(arguments.until, now) if arguments.until else None,
    )


def _time(text: str, now: datetime) -> datetime:
    """As the audit's times, and "14:00": the last time it was that on this machine's clock."""
    clock = CLOCK.fullmatch(text)
    if clock is None:
        return parse_time(text, now=now)
    here = now.astimezone()
    then = here.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
    return then if then <= here else then - timedelta(days=1)


def _plan_lines(made: Plan, *, dry_run: bool) -> list[str]:
    lines = []
    for item in made.items:
        proposal = item.proposal
        verb = item.verdict if dry_run or item.verdict == "cannot" else "asked"
        lines.append(
            f"{verb:<6} {proposal.id}  {item.written_at:%Y-%m-%d %H:%M:%S}  "
            f"{proposal.charter}/{proposal.action}"
        )
        if item.verdict == "cannot":
            lines.append(f"         {item.why}")
    undo, cannot = made.count("undo"), made.count("cannot")
    if dry_run:
        lines.append(f"would undo {undo}, newest first; {cannot} cannot be undone")
    else:
        lines.append(f"asked for {undo}, which workers take back newest first; {cannot} stay")
    if made.under_way:
        lines.append(f"note: {made.under_way} more may be written yet; `chartgate halt` holds them")
    if not made.complete:
        lines.append("note: there are more than one go takes; do it again for the older ones")
    if dry_run and undo:
        lines.append(f"to do it: the same with --list {made.digest} --reason WHY --as NAME,")
        lines.append("  who must see all of it: a dry run with --as NAME lists what they see")
    return lines


def _compared_lines(compared: tuple[Compared, ...]) -> list[str]:
    lines = []
    for found in compared:
        state = "the chart moved on" if found.moved_on else "as it was written"
        lines.append(f"{found.reference}  {state}")
        if not found.shown:
            lines.append("  the charter shows nothing of this type")
        for e in found.lines:
            mark = "!" if e.moved_on else " "
            values = f"before {_cut(e.before)} | written {_cut(e.written)} | now {_cut(e.now)}"
            lines.append(f"  {mark} {e.path}: {values}")
    return lines


def _cut(value: object) -> str:
    text = "-" if value is None else "".join(c if c.isprintable() else "?" for c in str(value))
    return text if len(text) <= VALUE_WIDTH else f"{text[: VALUE_WIDTH - 1]}…"
