"""`chartgate feed tail`: the last messages, as they come."""

import argparse
import asyncio
import sys
from contextlib import suppress
from datetime import datetime
from typing import Any

import orjson

from chartgate.cli.feed_text import age, shown
from chartgate.cli.session import add_json_flag, whole_number, with_store
from chartgate.cli.wakeups import Wakeups, listen_for_work
from chartgate.config import load_config
from chartgate.flows import feed_status
from chartgate.gate import Gate
from chartgate.store.feed_counts import TailLine

COUNT_MAX = 10_000
AT_ONCE_MAX = 1_000  # lines of one look while following
REST_S = 0.1  # between two looks at least
POLL_S = 1.0  # and at most: a message that ends wakes nobody


def add_parser(verbs: Any) -> None:
    """feed tail"""
    parser = verbs.add_parser(
        "tail",
        help="the last messages, without what they say",
        description="One line a message, the newest last: when it came, connection, sender, type, "
        "control id, where it stands, how long it took from receipt to there (for what is queued: "
        "how long it waits), and why it was filtered or quarantined. With --follow a message that "
        "was queued has a second line when it has ended. No patient data. JSON is one value a "
        "line.",
    )
    parser.add_argument(
        "-n",
        "--count",
        type=whole_number(1, COUNT_MAX),
        default=20,
        metavar="N",
        help="how many; default: 20",
    )
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C"
    )
    parser.add_argument("--connection", metavar="NAME", help="only what came over this one")
    add_json_flag(parser)
    parser.set_defaults(run=run_tail)


def run_tail(arguments: argparse.Namespace) -> int:
    """Prints lines."""

    async def act(gate: Gate) -> None:
        seen = Seen()
        lines = await feed_status.tail(gate, connection=arguments.connection, count=arguments.count)
        _print(seen.new_of(lines), gate.clock(), as_json=arguments.json)
        if not lines and not arguments.follow and not arguments.json:
            where = f" over {arguments.connection}" if arguments.connection else ""
            print(f"no message came in{shown(where)} of late")
        if arguments.follow:
            await _follow(gate, arguments, seen)

    with_store(load_config(arguments.config), act)
    return 0


class Seen:
    """What was printed already: each message once, and once more when its status has changed."""

    def __init__(self) -> None:
        self._statuses: dict[int, str] = {}

    def new_of(self, lines: tuple[TailLine, ...]) -> tuple[TailLine, ...]:
        """Those that were not printed so, which they are from now on."""
        new = tuple(line for line in lines if self._statuses.get(line.id) != line.status)
        for line in new:
            self._statuses.pop(line.id, None)
            self._statuses[line.id] = line.status
        for _ in range(len(self._statuses) - COUNT_MAX - AT_ONCE_MAX):
            del self._statuses[next(iter(self._statuses))]
        return new

    def has_gap(self, lines: tuple[TailLine, ...]) -> bool:
        """Whether more came since the last look than one look shows."""
        full = len(lines) == AT_ONCE_MAX
        return full and bool(self._statuses) and all(x.id not in self._statuses for x in lines)


async def _follow(gate: Gate, arguments: argparse.Namespace, seen: Seen) -> None:
    wakeups = Wakeups()
    listening = asyncio.create_task(listen_for_work(gate.database, wakeups))
    try:
        while True:
            woken = wakeups.next()
            lines = await feed_status.tail(gate, connection=arguments.connection, count=AT_ONCE_MAX)
            if seen.has_gap(lines):
                print("… more came at once than can be shown", file=sys.stderr)
            _print(seen.new_of(lines), gate.clock(), as_json=arguments.json)
            await asyncio.sleep(REST_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await woken.wait()
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


def _print(lines: tuple[TailLine, ...], now: datetime, *, as_json: bool) -> None:
    for line in lines:
        print(orjson.dumps(_facts(line, now)).decode() if as_json else text_of(line, now))
    sys.stdout.flush()


def _facts(line: TailLine, now: datetime) -> dict[str, Any]:
    return {
        "message": line.id,
        "received_at": line.received_at.isoformat(timespec="milliseconds"),
        "connection": line.connection,
        "sender": line.sender,
        "type": line.message_type,
        "control_id": line.control_id,
        "status": line.status,
        "reason": line.reason,
        "lag_ms": lag_ms(line, now),
        "edited_from": line.edited_from,
    }


def lag_ms(line: TailLine, now: datetime) -> int:
    """From receipt to where it stands; of what is queued, to now."""
    ended = line.ended_at or now
    return max(0, round((ended - line.received_at).total_seconds() * 1000))


def text_of(line: TailLine, now: datetime) -> str:
    """One line of the tail."""
    at = line.received_at.astimezone()
    lag = lag_ms(line, now)
    took = f"{lag} ms" if lag < 10_000 else age(lag / 1000)
    edited = f"(edited copy of {line.edited_from})" if line.edited_from else ""
    parts = (
        f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}",
        f"{shown(line.connection):<12}",
        f"{shown(line.sender):<20}",
        f"{shown(line.message_type):<8}",
        f"{shown(line.control_id):<16}",
        f"{line.status:<11}",
        f"{took:>8}",
        shown(line.reason or ""),
        edited,
    )
    return "  ".join(part for part in parts if part).rstrip()
