"""`chartgate feed status`: what came, where it stands, and what goes out."""

import argparse
from dataclasses import asdict
from datetime import datetime
from typing import Any

from chartgate.cli.feed_text import age, shown
from chartgate.cli.session import add_json_flag, show, with_store
from chartgate.config import load_config
from chartgate.flows import feed_status
from chartgate.flows.feed_status import Feeds, FeedStatus, SubscriptionStatus
from chartgate.gate import Gate
from chartgate.store.feed_counts import Recounted


def add_parser(verbs: Any) -> None:
    """feed status"""
    parser = verbs.add_parser(
        "status",
        help="counts, rates and ages of every feed and destination",
        description="For every connection: how many messages came and where they stand, rates over "
        "the last minute and hour, the oldest that waits, what was filtered and why, what is open "
        "in the quarantine. Then each subscription and each destination, marked DEAD once its tries "
        "have failed for five minutes. In = delivered + queued + quarantined + filtered, exactly; "
        "--recount counts the messages themselves to prove it, which takes long in a large inbox. "
        "Exit code 1 if it does not hold.",
    )
    parser.add_argument(
        "--recount", action="store_true", help="compare the counts with the messages themselves"
    )
    add_json_flag(parser)
    parser.set_defaults(run=run_status)


def run_status(arguments: argparse.Namespace) -> int:
    """Prints how the feeds stand."""
    now: list[datetime] = []

    async def act(gate: Gate) -> tuple[Feeds, tuple[Recounted, ...] | None]:
        now.append(gate.clock())
        found = await feed_status.feed_status(gate)
        return found, await feed_status.recount(gate) if arguments.recount else None

    found, recounted = with_store(load_config(arguments.config), act)
    wrong = [row for row in recounted or () if row.counted != row.kept]
    facts = asdict(found) | {"conserved": found.conserved and not wrong}
    if recounted is not None:
        facts["recounted"] = [asdict(row) for row in recounted]
    show(arguments.json, facts, *_lines(found, recounted, wrong, now[0]))
    return 0 if found.conserved and not wrong else 1


def _lines(
    found: Feeds, recounted: tuple[Recounted, ...] | None, wrong: list[Recounted], now: datetime
) -> list[str]:
    lines: list[str] = []
    for feed in found.feeds:
        lines += _feed_lines(feed)
    lines += [] if found.feeds else ["no message has come in yet"]
    if found.subscriptions:
        lines.append("notifications")
        lines += [_subscription_line(one, now) for one in found.subscriptions]
    if found.destinations:
        lines.append("destinations")
    for one in found.destinations:
        waits = f", oldest {age(one.age_s)}" if one.waiting else ""
        dead = "  DEAD" if one.failures and one.age_s > feed_status.DEAD_AFTER.seconds else ""
        error = f", last error: {shown(one.last_error)}" if one.last_error else ""
        lines.append(
            f"  {shown(one.destination):<22} {one.waiting} waiting{waits}, {one.failed} given up, "
            f"{one.failures} failures in a row{error}{dead}"
        )
    if recounted is not None and not wrong:
        total = sum(row.kept for row in recounted)
        lines.append(f"recounted: all {total} messages are where the counts say")
    for row in wrong:
        lines.append(
            f"WRONG {shown(row.connection)} {row.status}: {row.counted} counted, {row.kept} there"
        )
    return lines


def _feed_lines(feed: FeedStatus) -> list[str]:
    sign = "=" if feed.conserved else "IS NOT"
    lines = [
        shown(feed.connection),
        (
            f"  in {feed.received} {sign} {feed.delivered} delivered + {feed.queued} queued + "
            f"{feed.quarantined} quarantined + {feed.filtered} filtered"
        ),
        (
            f"  received {feed.received_per_s_minute:.3g}/s over a minute, "
            f"{feed.received_per_s_hour:.3g}/s over an hour; delivered {feed.delivered_per_s_minute:.3g}/s, "
            f"{feed.delivered_per_s_hour:.3g}/s"
        ),
    ]
    if feed.flagged:
        lines.append(f"  flagged {feed.flagged}, of these late {feed.late}")
    if feed.oldest_queued_s is not None:
        less = "less than " if feed.oldest_queued_is_less else ""
        lines.append(f"  oldest queued {less}{age(feed.oldest_queued_s)}")
    for reason, count in sorted(feed.filtered_by_reason.items()):
        lines.append(f"  filtered {count}: {shown(reason)}")
    if feed.drift:
        lines.append(f"  DRIFT {feed.drift} findings: `chartgate feed drift list`")
    for one in feed.quarantine:
        times = f", seen {one.times} times" if one.times > one.rows else ""
        lines.append(
            f"  QUARANTINE {shown(one.reason_class)}: {one.rows} open{times}, "
            f"{one.last_hour} in the last hour, oldest {age(one.oldest_s)}"
        )
    return lines


def _subscription_line(one: SubscriptionStatus, now: datetime) -> str:
    parts = [f"{one.waiting} waiting"]
    if one.oldest_s is not None:
        parts.append(f"oldest {age(one.oldest_s)}")
    if one.last_delivered_at:
        since_s = feed_status.age_s(one.last_delivered_at, now)
        parts.append(f"last delivered {age(since_s)} ago")
    if one.attempts:
        parts.append(f"{one.attempts} tries failed: {shown(one.last_error)}")
    name = f"{one.client} {one.charter}"
    return f"  {shown(name):<22} {', '.join(parts)}{'  DEAD' if one.dead else ''}"
