"""`chartgate config check`: everything that is wrong with chartgate.toml, and what production would
ask of it."""

import argparse
from typing import Any

from chartgate.adapters.egress import address_rules
from chartgate.adapters.loader import check_connection, manifests
from chartgate.cli.session import add_json_flag, charters_or_mistakes, show
from chartgate.clock import utc_now
from chartgate.config import Config, load_config
from chartgate.errors import ConfigError
from chartgate.policy.production import production_findings


def add_parser(commands: Any) -> None:
    """config check"""
    parser = commands.add_parser("config", help="look at chartgate.toml")
    verbs = parser.add_subparsers(dest="verb", required=True)
    check = verbs.add_parser(
        "check",
        help="say what is wrong with the config, and what production asks of it",
        description="Reads chartgate.toml, the options of each connection and the charters; sends "
        "nothing. With production = true each finding would stop the start, so the exit code is "
        "then 1; else the strict rules are shown as advice, and only mistakes count.",
    )
    check.add_argument(
        "--production", action="store_true", help="judge it as if production were true"
    )
    add_json_flag(check)
    check.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace) -> int:
    """Checks."""
    config = load_config(arguments.config)
    book, mistakes = charters_or_mistakes(config)
    wrong = [*_mistakes(config), *([mistakes] if mistakes else [])]
    findings = list(production_findings(config, tuple(book.charters.values()), utc_now().date()))
    strict = config.production or arguments.production
    lines = [
        *wrong,
        *(f"{'refused' if strict else 'for production'}: {finding}" for finding in findings),
    ]
    value = {"production": config.production, "mistakes": wrong, "production_findings": findings}
    show(arguments.json, value, *(lines or ["chartgate.toml is fit for production"]))
    return 1 if wrong or (strict and findings) else 0


def _mistakes(config: Config) -> list[str]:
    """What no start would get past, production or not."""
    found = []
    try:
        address_rules(config)
        known = manifests()
    except ConfigError as error:
        return [str(error)]
    for connection in config.connections.values():
        try:
            check_connection(connection, known)
        except ConfigError as error:
            found.append(str(error))
    return found
