"""`chartgate proposals`: what was proposed and where it stands, without any chart content."""

import argparse
from typing import Any

from chartgate.cli.session import add_json_flag, show, with_gate
from chartgate.config import load_config
from chartgate.errors import NotFound
from chartgate.gate import Gate
from chartgate.model.proposal import Proposal, Status
from chartgate.store.proposals import ProposalStore


def add_parser(commands: Any) -> None:
    """proposals list, proposals show"""
    parser = commands.add_parser(
        "proposals",
        help="list proposals and where they stand",
        description="Shows states, times and reasons; content of charts is only on the pages, "
        "for people who signed in.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    listing = verbs.add_parser("list", help="newest first")
    listing.add_argument("--status", choices=[status.value for status in Status])
    listing.add_argument("--limit", type=int, default=50)
    add_json_flag(listing)
    listing.set_defaults(run=run_list)
    one = verbs.add_parser("show", help="one proposal")
    one.add_argument("id")
    add_json_flag(one)
    one.set_defaults(run=run_show)


def run_list(arguments: argparse.Namespace) -> int:
    """Prints one line a proposal."""
    statuses = [Status(arguments.status)] if arguments.status else None

    async def act(gate: Gate) -> Any:
        store = ProposalStore(gate.database)
        return await store.listed(statuses=statuses, limit=arguments.limit)

    found = with_gate(load_config(arguments.config), act)
    rows = [_row(proposal) for proposal in found]
    lines = [f"{r['id']}  {r['status']:<15} {r['charter']}/{r['action']}" for r in rows]
    show(arguments.json, rows, *(lines or ["no proposals"]))
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Prints one proposal's facts."""

    async def act(gate: Gate) -> Any:
        return await ProposalStore(gate.database).get(arguments.id)

    proposal = with_gate(load_config(arguments.config), act)
    if proposal is None:
        raise NotFound(f"no proposal {arguments.id}; `chartgate proposals list` shows them")
    row = _row(proposal)
    show(arguments.json, row, *(f"{key:<14} {value}" for key, value in row.items()))
    return 0


def _row(proposal: Proposal) -> dict[str, Any]:
    return {
        "id": proposal.id,
        "status": proposal.status.value,
        "charter": proposal.charter,
        "action": proposal.action,
        "site": proposal.site,
        "author": proposal.author,
        "stage": proposal.stage,
        "confidence": proposal.confidence,
        "created_at": proposal.created_at.isoformat(timespec="seconds"),
        "due_at": proposal.due_at.isoformat(timespec="seconds"),
        "decided_by": proposal.decided_by,
        "reason": proposal.reason,
        "attempts": proposal.attempts,
    }
