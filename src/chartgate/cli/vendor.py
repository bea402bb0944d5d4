"""`chartgate vendor list` and `chartgate vendor check`: who handles patient data for us, under
which contract, and which of them end soon."""

import argparse
from datetime import date
from typing import Any

from chartgate.cli.session import add_json_flag, show
from chartgate.clock import utc_now
from chartgate.config import Config, load_config
from chartgate.policy.vendors import Processor, processors, unvouched


def add_parser(commands: Any) -> None:
    """vendor list, vendor check"""
    parser = commands.add_parser("vendor", help="vendors and their contracts")
    verbs = parser.add_subparsers(dest="verb", required=True)
    listing = verbs.add_parser(
        "list",
        help="the list of processors: vendors, contracts, and what each runs",
        description="Lists every [vendors.NAME] with its contract, its last day, and the clients "
        "and connections that it runs.",
    )
    add_json_flag(listing)
    listing.set_defaults(run=run_list)
    check = verbs.add_parser(
        "check",
        help="say which contracts are missing, ended, or end within 30 days",
        description="Exit code 1 if a client or connection has no contract that holds today: in "
        "production it is refused. A contract that ends within 30 days is only a notice.",
    )
    add_json_flag(check)
    check.set_defaults(run=run_check)


def run_list(arguments: argparse.Namespace) -> int:
    """Lists."""
    config, today = load_config(arguments.config), utc_now().date()
    rows = [_row(one, today) for one in processors(config, today)]
    lines = [
        f"{row['vendor']}  {row['kind']} {row['contract'] or '(no contract)'}"
        f"  {_until(row['until'])}  {row['state']}"
        + "".join(f"  {name}" for name in (*row["clients"], *row["connections"]))
        + (f"  <{row['contact']}>" if row["contact"] else "")
        for row in rows
    ]
    missing = [f"{place} names no vendor" for place in unvouched(config)]
    value = {"vendors": rows, "without_vendor": list(unvouched(config))}
    show(arguments.json, value, *(lines or ["no vendor is registered"]), *missing)
    return 0


def run_check(arguments: argparse.Namespace) -> int:
    """Checks."""
    config, today = load_config(arguments.config), utc_now().date()
    flaws, notices = _flaws(config, today), _notices(config, today)
    lines = [*(f"refused in production: {flaw}" for flaw in flaws), *notices]
    show(
        arguments.json,
        {"production": config.production, "flaws": flaws, "notices": notices},
        *(lines or ["every client and connection has a contract that holds"]),
    )
    return 1 if flaws else 0


def _flaws(config: Config, today: date) -> list[str]:
    parties = [
        *((f"[clients.{n}]", c.vendor) for n, c in sorted(config.clients.items())),
        *((f"[connections.{n}]", c.vendor) for n, c in sorted(config.connections.items())),
    ]
    found = [(where, config.vendor_flaw(vendor, today)) for where, vendor in parties]
    return [f"{where} {flaw}" for where, flaw in found if flaw]


def _notices(config: Config, today: date) -> list[str]:
    return [
        f"the contract {one.vendor.contract} with {one.vendor.name} ends on {one.vendor.until}, "
        f"in {(one.vendor.until - today).days} days"
        for one in processors(config, today)
        if one.state == "ends soon"
    ]


def _row(one: Processor, today: date) -> dict[str, Any]:
    ends = one.vendor.until != date.max
    return {
        "vendor": one.vendor.name,
        "contract": one.vendor.contract,
        "kind": one.vendor.kind,
        "until": one.vendor.until.isoformat() if ends else None,
        "days_left": (one.vendor.until - today).days if ends else None,
        "state": one.state,
        "contact": one.vendor.contact,
        "clients": [f"clients.{name}" for name in one.clients],
        "connections": [f"connections.{name}" for name in one.connections],
    }


def _until(day: str | None) -> str:
    return f"until {day}" if day else "no end"
