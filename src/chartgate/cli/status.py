"""`chartgate status`: queues, proposals, stages, halts, breakers, ledger, in one look."""

import argparse
import re
import urllib.request
from dataclasses import asdict
from datetime import datetime
from typing import Any

from chartgate.cli.ledger import public_key_of, witness_of
from chartgate.cli.session import add_json_flag, show, with_gate
from chartgate.config import Config, load_config
from chartgate.flows.status import Status, status
from chartgate.gate import Gate

METRICS_TIMEOUT_S = 2.0
BREAKER = re.compile(r'chartgate_breaker_state\{connection="([^"]+)",state="([^"]+)"\} 1\.0')


def add_parser(commands: Any) -> None:
    """status"""
    parser = commands.add_parser(
        "status",
        help="how everything stands",
        description="Shows what waits and since when, proposals by state, stages, halts, write "
        "rights by the last probe, circuit breakers of the gateway, and the ledger. Exit code 1 "
        "if the ledger is in trouble.",
    )
    add_json_flag(parser)
    parser.set_defaults(run=run_status)


def run_status(arguments: argparse.Namespace) -> int:
    """Prints the state of everything."""
    config = load_config(arguments.config)
    now: list[datetime] = []

    async def act(gate: Gate) -> Status:
        now.append(gate.clock())
        return await status(gate, witness=witness_of(config), public_key=public_key_of(config))

    found = with_gate(config, act)
    breakers = gateway_breakers(config)
    show(arguments.json, asdict(found) | {"breakers": breakers}, *_lines(found, breakers, now[0]))
    return 1 if found.ledger.trouble else 0


def gateway_breakers(config: Config) -> dict[str, str] | None:
    """States by connection, as the running gateway counts them; None if it does not answer."""
    try:
        with urllib.request.urlopen(f"{config.web.url}/metrics", timeout=METRICS_TIMEOUT_S) as text:
            return dict(BREAKER.findall(text.read().decode()))
    except OSError:
        return None


def _lines(found: Status, breakers: dict[str, str] | None, now: datetime) -> list[str]:
    lines = ["waiting"]
    for queue in found.queues:
        age = f", oldest {_age(queue.oldest, now)}" if queue.oldest else ""
        lines.append(f"  {queue.name:<18} {queue.waiting}{age}")
    lines.append("proposals")
    lines += [f"  {name:<18} {count}" for name, count in found.proposals.items()] or ["  none"]
    lines.append("stages")
    lines += [f"  {charter:<22} {stage}" for charter, stage in sorted(found.stages.items())]
    for halt in found.halts:
        lines.append(f"HALTED {halt.scope} by {halt.halted_by}: {halt.reason}")
    lines.append("connections")
    for probed in found.probed:
        lines.append(
            f"  {probed.connection:<18} {probed.holding} of {probed.tried} dialect lines hold, "
            f"probed {_age(probed.probed_at, now)} ago"
        )
    if not found.probed:
        lines.append("  none is probed: writes are off; run `chartgate probe CONNECTION`")
    lines.append("gateway")
    if breakers is None:
        lines.append("  does not answer")
    else:
        lines += [f"  breaker {n:<12} {s}" for n, s in sorted(breakers.items())]
    ledger = found.ledger
    waited = f", oldest {_age(ledger.waiting_since, now)}" if ledger.waiting_since else ""
    lines.append(
        f"ledger\n  {ledger.size} events, {ledger.head_size} under the newest signed head, "
        f"{ledger.waiting} without a number yet{waited}"
    )
    return lines + ([f"  TROUBLE: {ledger.trouble}"] if ledger.trouble else [])


def _age(since: datetime, now: datetime) -> str:
    seconds = max(0, round((now - since).total_seconds()))
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
