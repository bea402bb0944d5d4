"""`chartgate worklist`: what waits for staff, and who is on call for it."""

import argparse
from datetime import datetime
from typing import Any

from chartgate.cli.session import add_json_flag, show, whole_number, with_store
from chartgate.clock import utc_now
from chartgate.config import load_config
from chartgate.errors import Invalid
from chartgate.flows.charters import load_book
from chartgate.gate import Gate
from chartgate.model.charter import ActionRule
from chartgate.model.handoff import Handoff, HandoffItem
from chartgate.model.roster import EscalationStep, Target
from chartgate.policy.charters import CharterBook
from chartgate.policy.roster import routed, steps_of
from chartgate.store.handoffs import HandoffStore

LIMIT_MAX = 10_000


def add_parser(commands: Any) -> None:
    """worklist list, worklist roster"""
    parser = commands.add_parser(
        "worklist",
        help="what waits for staff, and who is on call for it",
        description="Work that was given back to staff, without any chart content; and the on-call "
        "roster of policies/roster.yaml, as it holds at some moment.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    listing = verbs.add_parser(
        "list",
        help="what is not closed, the most urgent first",
        description="One line a handoff: until when, on which worklist, why the AI stopped, who "
        "has it, and where it stands in the EHR. Exit code 1 if anything is overdue.",
    )
    listing.add_argument("--worklist", metavar="NAME", help="only those on this one")
    listing.add_argument("--overdue", action="store_true", help="only those whose time is over")
    listing.add_argument(
        "--limit",
        type=whole_number(1, LIMIT_MAX),
        default=200,
        metavar="N",
        help="looks at so many at most; default: 200",
    )
    add_json_flag(listing)
    listing.set_defaults(run=run_list)
    roster = verbs.add_parser(
        "roster",
        help="who has each worklist at some moment, and where work goes that nobody takes",
        description="Reads the charters and policies/roster.yaml as they lie there; sends nothing. "
        "Work goes only to worklists that its charter names.",
    )
    roster.add_argument("--at", metavar="TIME", help="e.g. 2026-12-25T03:00+01:00; default: now")
    add_json_flag(roster)
    roster.set_defaults(run=run_roster)


def run_list(arguments: argparse.Namespace) -> int:
    """Prints one line a handoff."""

    async def act(gate: Gate) -> tuple[tuple[Handoff, ...], dict[str, HandoffItem]]:
        store = HandoffStore(gate.database)
        found = await store.unfinished(limit=arguments.limit)
        return found, await store.items([handoff.id for handoff in found])

    found, items = with_store(load_config(arguments.config), act)
    now = utc_now()
    chosen = [
        handoff
        for handoff in found
        if arguments.worklist in (None, handoff.worklist)
        and (handoff.due_at < now or not arguments.overdue)
    ]
    rows = [_row(handoff, items.get(handoff.id), now) for handoff in chosen]
    show(arguments.json, rows, *(map(_line, rows) if rows else ["nothing waits for staff"]))
    return 1 if any(row["overdue"] for row in rows) else 0


def run_roster(arguments: argparse.Namespace) -> int:
    """Prints, for each action, who would get its work then, and the chain."""
    at = _moment(arguments.at)
    book = load_book(load_config(arguments.config))
    rows = [
        _duty(book, charter.name, action, at)
        for charter in sorted(book.charters.values(), key=lambda c: c.name)
        for action in sorted(charter.proposes)
    ]
    lines = [f"{row['action']}: {row['goes_to']}" + "".join(_steps(row)) for row in rows]
    if not book.roster.digest:
        lines.append("there is no policies/roster.yaml; work stays where the charters send it")
    value = {"at": at.isoformat(timespec="seconds"), "actions": rows}
    show(arguments.json, value, *lines)
    return 0


def _duty(book: CharterBook, charter: str, name: str, at: datetime) -> dict[str, Any]:
    action = book.charters[charter].proposes[name]
    target = routed(book.roster, action.handoff_to, at, allowed=action.worklists)
    return {
        "action": f"{charter}/{name}",
        "worklist": action.handoff_to,
        "goes_to": _said(target),
        "steps": [_step(step, action) for step in steps_of(book.roster, action)],
        "as": action.handoff_as,
    }


def _said(target: Target) -> str:
    return target.worklist + (f", {target.person} first" if target.person else "")


def _step(step: EscalationStep, action: ActionRule) -> dict[str, Any]:
    there = step.target.worklist
    allowed = not there or there in (*action.worklists, *action.reviewers)
    return {"after_s": step.after_s, "to": there or step.target.person, "allowed": allowed}


def _steps(row: dict[str, Any]) -> list[str]:
    return [
        f"; after {step['after_s'] / 60:g} min to {step['to']}"
        + ("" if step["allowed"] else " (stays: the charter does not name it)")
        for step in row["steps"]
    ]


def _moment(text: str | None) -> datetime:
    if text is None:
        return utc_now()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("--at must be a time such as 2026-12-25T03:00+01:00") from None
    if at.tzinfo is None:
        raise Invalid("--at must say its offset, e.g. 2026-12-25T03:00+01:00")
    return at


def _row(handoff: Handoff, item: HandoffItem | None, now: datetime) -> dict[str, Any]:
    return {
        "id": handoff.id,
        "proposal": handoff.proposal,
        "worklist": handoff.worklist,
        "site": handoff.site,
        "cause": handoff.cause.value,
        "reason": handoff.reason,
        "status": handoff.status.value,
        "taken_by": handoff.taken_by,
        "asked": handoff.assigned_to,
        "escalated": handoff.step,
        "opened_at": handoff.opened_at.isoformat(timespec="seconds"),
        "due_at": handoff.due_at.isoformat(timespec="seconds"),
        "overdue": handoff.due_at < now,
        "outside": None if item is None else item.state.value,
        "outside_error": None if item is None else item.last_error,
    }


def _line(row: dict[str, Any]) -> str:
    late = "overdue" if row["overdue"] else "due"
    who = row["taken_by"] or (f"{row['asked']} first" if row["asked"] else "nobody yet")
    outside = f"; Task {row['outside']}" if row["outside"] else ""
    return (
        f"{row['id']}  {late} {row['due_at']}  {row['worklist']:<14} {row['cause']:<14} "
        f"{row['status']}: {who}{outside}"
    )
