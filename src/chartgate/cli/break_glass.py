"""`chartgate break-glass`: which charts were opened in an emergency, and what became of it."""

import argparse
from typing import Any

from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, add_limit, show, with_store
from chartgate.config import load_config
from chartgate.flows import break_glass
from chartgate.gate import Gate
from chartgate.model.break_glass import FINDINGS, BreakGlass
from chartgate.store.break_glass import BreakGlassStore

LIMIT_MAX = 10_000


def add_parser(commands: Any) -> None:
    """break-glass list, break-glass review, break-glass end"""
    parser = commands.add_parser(
        "break-glass",
        help="charts that were opened in an emergency",
        description="A person breaks the glass on the page /break-glass, for one patient and an "
        "hour at most; nobody does it here. A privacy officer must have looked at it within 72 "
        "hours, on the page or with `break-glass review`.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    listing = verbs.add_parser(
        "list",
        help="those not reviewed yet first",
        description="One line each. Exit code 1 if one is overdue for review.",
    )
    listing.add_argument(
        "--to-review", action="store_true", help="only those that nobody has reviewed"
    )
    add_limit(listing, LIMIT_MAX)
    add_json_flag(listing)
    listing.set_defaults(run=run_list)
    ending = verbs.add_parser(
        "end", help="end one before its time, at once", description="It cannot be opened again."
    )
    ending.add_argument("id", help="as `chartgate break-glass list` shows it")
    add_json_flag(ending)
    ending.set_defaults(run=run_end)
    review = verbs.add_parser(
        "review",
        help="note what was found when somebody looked at it",
        description="Once and for all, once it has ended. Whoever broke the glass cannot.",
    )
    review.add_argument("id", help="as `chartgate break-glass list` shows it")
    review.add_argument("--finding", required=True, choices=tuple(FINDINGS), help="what it was")
    review.add_argument(
        "--because", required=True, metavar="TEXT", help="what was looked at and found"
    )
    add_json_flag(review)
    review.set_defaults(run=run_review)


def run_list(arguments: argparse.Namespace) -> int:
    """Prints one line each, without what somebody wrote about a patient."""

    async def act(gate: Gate) -> list[dict[str, Any]]:
        store = BreakGlassStore(gate.database)
        found = await store.listed(to_review=arguments.to_review, limit=arguments.limit)
        return [_row(gate, glass) for glass in found]

    rows: list[dict[str, Any]] = with_store(load_config(arguments.config), act)
    lines = [
        f"{r['id']}  {r['state']:<10} {r['person']:<16} {r['patient']} at {r['site']}  {r['code']}  "
        f"from {r['opened_at']}  "
        + (r["finding"] or f"review due {r['review_due_at']}{' OVERDUE' if r['overdue'] else ''}")
        for r in rows
    ]
    show(arguments.json, rows, *(lines or ["nobody has broken the glass"]))
    return 1 if any(row["overdue"] for row in rows) else 0


def run_end(arguments: argparse.Namespace) -> int:
    """Ends one."""

    async def act(gate: Gate) -> dict[str, Any]:
        return _row(gate, await break_glass.end_glass(gate, operator(), arguments.id))

    row = with_store(load_config(arguments.config), act)
    show(arguments.json, row, f"{arguments.id} has ended; it waits for review")
    return 0


def run_review(arguments: argparse.Namespace) -> int:
    """Notes a review."""

    async def act(gate: Gate) -> dict[str, Any]:
        glass = await break_glass.review(
            gate,
            operator(),
            arguments.id,
            finding=arguments.finding,
            remark=arguments.because,
        )
        return _row(gate, glass)

    row = with_store(load_config(arguments.config), act)
    show(arguments.json, row, f"{arguments.id} is reviewed: {FINDINGS[arguments.finding]}")
    return 0


def _row(gate: Gate, glass: BreakGlass) -> dict[str, Any]:
    now = gate.clock()
    return {
        "id": glass.id,
        "state": glass.state(now),
        "person": glass.person,
        "sealed": glass.sealed,
        "site": glass.site,
        "patient": glass.patient,
        "code": glass.code,
        "opened_at": glass.opened_at.isoformat(timespec="seconds"),
        "ends_at": glass.ends_at.isoformat(timespec="seconds"),
        "review_due_at": glass.review_due_at.isoformat(timespec="seconds"),
        "overdue": glass.overdue(now),
        "reviewed_by": glass.reviewed_by,
        "finding": glass.finding,
    }
