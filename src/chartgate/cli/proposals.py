"""`chartgate proposals`: what was proposed and where it stands, without any chart content."""

import argparse
from typing import Any

from chartgate.cli.session import add_json_flag, add_limit, show, with_store
from chartgate.config import load_config
from chartgate.errors import NotFound
from chartgate.gate import Gate
from chartgate.model.proposal import Proposal, Status, proposal_json
from chartgate.store.proposals import ProposalStore

LIMIT_MAX = 10_000


def add_parser(commands: Any) -> None:
    """proposals list, proposals show"""
    parser = commands.add_parser(
        "proposals",
        help="list proposals and where they stand",
        description="Shows states, times and reasons; content of charts is only on the pages, "
        "for people who signed in.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    listing = verbs.add_parser(
        "list", help="newest first", description="One line a proposal, the newest first."
    )
    listing.add_argument(
        "--status", choices=[status.value for status in Status], help="only those in this state"
    )
    add_limit(listing, LIMIT_MAX)
    add_json_flag(listing)
    listing.set_defaults(run=run_list)
    one = verbs.add_parser(
        "show", help="one proposal", description="Where one proposal stands, and why."
    )
    one.add_argument("id", help="as `chartgate proposals list` shows it")
    add_json_flag(one)
    one.set_defaults(run=run_show)


def run_list(arguments: argparse.Namespace) -> int:
    """Prints one line a proposal."""
    statuses = [Status(arguments.status)] if arguments.status else None

    async def act(gate: Gate) -> Any:
        store = ProposalStore(gate.database)
        return await store.listed(statuses=statuses, limit=arguments.limit)

    found = with_store(load_config(arguments.config), act)
    rows = [_row(proposal) for proposal in found]
    lines = [f"{r['id']}  {r['status']:<15} {r['charter']}/{r['action']}" for r in rows]
    show(arguments.json, rows, *(lines or ["no proposals"]))
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Prints one proposal's facts."""

    async def act(gate: Gate) -> Proposal:
        try:
            return await ProposalStore(gate.database).get(arguments.id)
        except NotFound as error:
            raise NotFound(f"{error}; `chartgate proposals list` shows them") from None

    row = _row(with_store(load_config(arguments.config), act))
    show(arguments.json, row, *(f"{key:<14} {row[key]}" for key in row if key != "content"))
    return 0


def _row(proposal: Proposal) -> dict[str, Any]:
    return proposal_json(proposal) | {"attempts": proposal.attempts}
