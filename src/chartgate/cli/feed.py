"""`chartgate feed`: what comes in from the hospital, what became of it, and what to do about it."""

from typing import Any

from chartgate.cli import (
    feed_drift,
    feed_origin,
    feed_quarantine,
    feed_rebuild,
    feed_replay,
    feed_sequence,
    feed_status,
    feed_tail,
)


def add_parser(commands: Any) -> None:
    """feed status, tail, quarantine, replay, drift, origin, sequence, rebuild"""
    parser = commands.add_parser(
        "feed",
        help="operate the feeds: status, tail, quarantine, replay, drift, rebuild",
        description="Every message that came in is delivered, queued, quarantined or filtered with "
        "a reason. These commands say how many are where, show what could not be processed, and "
        "process it again once its cause is gone.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    feed_status.add_parser(verbs)
    feed_tail.add_parser(verbs)
    feed_quarantine.add_parser(verbs)
    feed_replay.add_parser(verbs)
    feed_drift.add_parser(verbs)
    feed_origin.add_parser(verbs)
    feed_sequence.add_parser(verbs)
    feed_rebuild.add_parser(verbs)
