"""`chartgate token list` and `chartgate token revoke`: who holds access tokens, and taking them."""

import argparse
from typing import Any

from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, show, with_store
from chartgate.config import load_config
from chartgate.errors import Invalid
from chartgate.flows import token_care
from chartgate.gate import Gate
from chartgate.store.tokens import Listed


def add_parser(commands: Any) -> None:
    """token list, token revoke"""
    parser = commands.add_parser("token", help="access tokens of AI clients and services")
    verbs = parser.add_subparsers(dest="verb", required=True)
    listing = verbs.add_parser(
        "list",
        help="show the tokens that hold now",
        description="Shows an id, the holder, what it may and until when. Never the token itself: "
        "only its hash is kept.",
    )
    add_json_flag(listing)
    listing.set_defaults(run=run_list)
    revoke = verbs.add_parser(
        "revoke",
        help="take tokens away, at once and everywhere",
        description="Takes away all tokens of a client or a service, or one by its id. Its holder "
        "can sign a new assertion and get another; to keep a client out, take it out of "
        "chartgate.toml or of its charters as well.",
    )
    whose = revoke.add_mutually_exclusive_group(required=True)
    whose.add_argument("--client", default="", help="all tokens of this AI client")
    whose.add_argument("--service", default="", help="all tokens of this service")
    whose.add_argument("--id", default="", help="one token, as `chartgate token list` names it")
    revoke.add_argument(
        "--dry-run", action="store_true", help="say what would be taken, and take nothing"
    )
    add_json_flag(revoke)
    revoke.set_defaults(run=run_revoke)


def run_list(arguments: argparse.Namespace) -> int:
    """Lists."""
    listed = with_store(load_config(arguments.config), token_care.tokens_now)
    rows = [_row(one) for one in listed]
    lines = [
        f"{row['id']}  {row['kind']} {row['holder']}  until {row['expires_at'][:19]}Z  "
        + " ".join([*([f"charter:{row['charter']}"] if row["charter"] else []), *row["scopes"]])
        + (f"  at {' '.join(row['sites'])}" if row["sites"] else "")
        for row in rows
    ]
    show(arguments.json, rows, *(lines or ["no token holds now"]))
    return 0


def run_revoke(arguments: argparse.Namespace) -> int:
    """Revokes; none found is no failure, since the aim is reached."""
    config = load_config(arguments.config)
    client, service, id_ = arguments.client, arguments.service, arguments.id

    async def act(gate: Gate) -> list[Listed]:
        held = [
            one
            for one in await token_care.tokens_now(gate)
            if (one.kind, one.holder) in (("client", client), ("service", service))
            or (id_ and token_care.id_of(one) == id_.lower())
        ]
        if not held:
            unknown = token_care.unknown_holder(config, client=client, service=service)
            if unknown or id_:
                raise Invalid(
                    f"{unknown or f'no token has the id {id_}'}; `chartgate token list` shows "
                    "those that hold"
                )
        if held and not arguments.dry_run:
            await token_care.revoke_all(gate, operator(), client=client, service=service, id_=id_)
        return held

    held = with_store(config, act)
    doing = "would revoke" if arguments.dry_run else "revoked"
    key = "would_revoke" if arguments.dry_run else "revoked"
    show(
        arguments.json,
        {key: [token_care.id_of(one) for one in held]},
        f"{doing} {len(held)} token{'s' * (len(held) != 1)}",
    )
    return 0


def _row(one: Listed) -> dict[str, Any]:
    return {
        "id": token_care.id_of(one),
        "kind": one.kind,
        "holder": one.holder,
        "charter": one.charter,
        "scopes": list(one.scopes),
        "sites": list(one.sites),
        "audience": one.ticket.audience,
        "issued_at": one.ticket.issued_at.isoformat(),
        "expires_at": one.ticket.expires_at.isoformat(),
    }
