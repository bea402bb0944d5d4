"""`chartgate status`: queues, who takes nothing, proposals, stages, halts, breakers, ledger."""

import argparse
import re
import urllib.request
from dataclasses import asdict
from datetime import datetime
from http.client import HTTPException
from typing import Any

from chartgate.cli.ledger import public_key_of, witness_of
from chartgate.cli.session import add_json_flag, charters_or_mistakes, show, with_store
from chartgate.config import Config, WebConfig, load_config
from chartgate.flows.status import Status, status
from chartgate.gate import Gate

METRICS_TIMEOUT_S = 2.0
METRICS_BYTES_MAX = 1_000_000
BREAKER = re.compile(r'chartgate_breaker_state\{connection="([^"]+)",state="([^"]+)"\} 1\.0')


def add_parser(commands: Any) -> None:
    """status"""
    parser = commands.add_parser(
        "status",
        help="how everything stands",
        description="Shows what waits and since when, proposals by state, stages, halts, write "
        "rights by the last probe, circuit breakers of the gateway, and the ledger. Exit code 1 "
        "if the ledger is in trouble or a charter's file is broken.",
    )
    add_json_flag(parser)
    parser.set_defaults(run=run_status)


def run_status(arguments: argparse.Namespace) -> int:
    """Prints the state of everything."""
    config = load_config(arguments.config)
    book, mistakes = charters_or_mistakes(config)
    now: list[datetime] = []

    async def act(gate: Gate) -> Status:
        now.append(gate.clock())
        return await status(gate, witness=witness_of(config), public_key=public_key_of(config))

    found = with_store(config, act, book=book)
    breakers = gateway_breakers(config)
    facts = asdict(found) | {"breakers": breakers, "charter_mistakes": mistakes.splitlines()}
    show(arguments.json, facts, *_lines(found, breakers, mistakes, now[0]))
    return 1 if found.ledger.trouble or mistakes else 0


def gateway_breakers(config: Config) -> dict[str, str] | None:
    """States by connection, as the running gateway counts them; None if it does not answer."""
    url = f"http://{_reachable(config.web)}:{config.web.port}/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=METRICS_TIMEOUT_S) as answer:
            return dict(BREAKER.findall(answer.read(METRICS_BYTES_MAX).decode(errors="replace")))
    except (OSError, HTTPException, ValueError):
        return None


def _reachable(web: WebConfig) -> str:
    """The host by which this machine reaches what listens on [web] host."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(web.host, web.host)
    return f"[{host}]" if ":" in host else host


def _lines(
    found: Status, breakers: dict[str, str] | None, mistakes: str, now: datetime
) -> list[str]:
    lines = [f"CHARTERS BROKEN, those that run stay: {m}" for m in mistakes.splitlines()]
    lines.append("waiting")
    for queue in found.queues:
        age = f", oldest {_age(queue.oldest, now)}" if queue.oldest else ""
        lines.append(f"  {queue.name:<18} {queue.waiting}{age}")
    for one in found.stuck:
        lines.append(
            f"  TAKES NOTHING {one.client}: {one.waiting} notifications of {one.charter}, oldest "
            f"{_age(one.since, now)}, {one.attempts} tries: {one.last_error}"
        )
    for place in found.atna:
        age = f", oldest {_age(place.oldest, now)}" if place.oldest else ""
        failed = f", {place.failures} tries failed: {place.last_error}" if place.failures else ""
        lines.append(f"  audit to {place.destination:<9} {place.lag}{age}{failed}")
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
