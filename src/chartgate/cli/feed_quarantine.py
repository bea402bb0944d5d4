"""`chartgate feed quarantine`: what was set aside, and what to do about it."""

import argparse
import difflib
import os
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from chartgate.cli.feed_replay import ID_MAX, add_selectors, selection_of
from chartgate.cli.feed_show import lines_of, mark
from chartgate.cli.feed_text import age, shown, visible
from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, add_limit, show, whole_number, with_store
from chartgate.config import load_config
from chartgate.errors import Invalid
from chartgate.flows import quarantine
from chartgate.flows.feed_status import age_s
from chartgate.flows.quarantine import FixPlan, Listing
from chartgate.formats.hl7v2_place import parse_place
from chartgate.gate import Gate
from chartgate.store.quarantine import Opened, Quarantined, QuarantineStatus

LIMIT_MAX = 10_000
FILE_BYTES_MAX = 64 * 1024 * 1024
WIDTH_MAX = 160  # columns
DIFF_CHARS_MAX = 400  # of one line of a difference
ID_HELP = "as `chartgate feed quarantine list` shows it"


def add_parser(verbs: Any) -> None:
    """feed quarantine list, show, fix, dismiss"""
    parser = verbs.add_parser(
        "quarantine",
        help="what could not be taken or processed",
        description="Each row holds the exact bytes, the reason with its class, and the place in "
        "the message. A row is open until an edited copy takes its place (fixed), a replay gets "
        "through (replayed) or somebody says why nothing is to be done (dismissed). The same bytes "
        "for the same class are one row with a count, and open it again. If the site's settings "
        "were the cause, change those, then `chartgate feed replay --reason CLASS`.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    _add_list(actions)
    _add_show(actions)
    _add_fix(actions)
    _add_dismiss(actions)


def _add_list(actions: Any) -> None:
    parser = actions.add_parser(
        "list",
        help="newest first, with what is open in all",
        description="One line a row, the newest first, then what is open by connection and class. "
        "No patient data.",
    )
    add_selectors(parser)
    choices = [*(status.value for status in QuarantineStatus), "all"]
    parser.add_argument("--status", choices=choices, default="open", help="default: open")
    add_limit(parser, LIMIT_MAX)
    add_json_flag(parser)
    parser.set_defaults(run=run_list)


def _add_show(actions: Any) -> None:
    parser = actions.add_parser(
        "show",
        help="one message, with the offending field pointed at; PATIENT DATA",
        description="Prints the whole message, patient data included, with a line of carets under "
        "the place that is wrong; controls are shown as symbols (␍). Who looked is written to the "
        "audit before anything is printed.",
    )
    parser.add_argument("id", type=whole_number(1, ID_MAX), help=ID_HELP)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--full", action="store_true", help="all of a very long message")
    form.add_argument(
        "--raw",
        action="store_true",
        help="the exact bytes, e.g. to edit: > FILE; not to a terminal",
    )
    parser.set_defaults(run=run_show)


def _add_fix(actions: Any) -> None:
    parser = actions.add_parser(
        "fix",
        help="queue an edited copy; without --yes only show what it differs in; PATIENT DATA",
        description="Makes an edited copy, checks it as if it had just come in, and shows what it "
        "differs in. With --yes the copy is queued as a message of its own, in its patient's lane, "
        "and the row is closed; the original stays byte for byte. A value that is set is one value: "
        'what would delimit in it is escaped; an empty one empties the place, and "" is HL7\'s own '
        '"remove it". To take the value as the sender meant several, set each component. The audit '
        "gets who, which places and both digests, never values. The copy is processed as one that "
        "comes late: newer messages of the patient win.",
    )
    parser.add_argument("id", type=whole_number(1, ID_MAX), help=ID_HELP)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--set",
        action="append",
        dest="values",
        metavar="PLACE=VALUE",
        help="e.g. PID-3.4=NORTH or OBX[2]-5(1).1=7; may be given several times",
    )
    how.add_argument("--file", type=Path, help="the whole edited message")
    parser.add_argument("--yes", action="store_true", help="do it; default: only show")
    add_json_flag(parser)
    parser.set_defaults(run=run_fix)


def _add_dismiss(actions: Any) -> None:
    parser = actions.add_parser(
        "dismiss",
        help="close a row: nothing is to be done about it",
        description="Closes a row without processing its message, with a reason and your name. The "
        "bytes are kept. Should they come again, the row is open again.",
    )
    parser.add_argument("id", type=whole_number(1, ID_MAX), help=ID_HELP)
    parser.add_argument("--because", required=True, help="kept in the audit; no patient data")
    add_json_flag(parser)
    parser.set_defaults(run=run_dismiss)


def run_list(arguments: argparse.Namespace) -> int:
    """Prints rows and what is open."""
    status = None if arguments.status == "all" else QuarantineStatus(arguments.status)
    selection = selection_of(arguments)
    now: list[datetime] = []

    async def act(gate: Gate) -> Listing:
        now.append(gate.clock())
        return await quarantine.listed(gate, selection, status=status, limit=arguments.limit)

    found = with_store(load_config(arguments.config), act)
    facts = {
        "rows": [_facts(row) for row in found.rows],
        "open": [
            {
                "connection": one.connection,
                "class": one.reason_class,
                "rows": one.rows,
                "times": one.times,
                "last_hour": one.last_hour,
                "oldest_s": age_s(one.oldest, now[0]),
            }
            for one in found.open
        ],
    }
    show(arguments.json, facts, *_list_lines(found, now[0], arguments.limit))
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Prints a message."""
    if arguments.raw and sys.stdout.isatty():
        raise Invalid("--raw writes bytes as they came; send them to a file: > FILE")

    async def act(gate: Gate) -> Opened:
        return await quarantine.show(gate, operator(), arguments.id)

    opened = with_store(load_config(arguments.config), act)
    if arguments.raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(opened.raw)
        return 0
    print("\n".join([*_head_lines(opened), ""]))
    width = min(shutil.get_terminal_size((100, 24)).columns, WIDTH_MAX) - 7
    marked = mark(opened.raw, opened.position)
    label = shown(_reason(opened))
    for line in lines_of(marked, label=label, width=max(width, 20), full=arguments.full):
        print(line)
    return 0


def run_fix(arguments: argparse.Namespace) -> int:
    """Shows, or queues, an edited copy."""
    values = None if arguments.values is None else _values(arguments.values)
    edited = None if arguments.file is None else _content(arguments.file)

    async def act(gate: Gate) -> tuple[FixPlan, int | None]:
        plan = await quarantine.plan_fix(
            gate, operator(), arguments.id, values=values, edited=edited
        )
        return plan, await quarantine.fix(gate, operator(), plan) if arguments.yes else None

    plan, message = with_store(load_config(arguments.config), act)
    facts = {
        "id": plan.original.id,
        "places": plan.places,
        "digest": plan.original.digest.hex(),
        "copy_digest": plan.copy.digest.hex(),
        "message": message,
    }
    if message is None:
        said = "nothing is done yet: add --yes to queue the copy"
    else:
        said = f"the copy is queued as message {message}; the original is kept as it came"
    lines = [*_difference(plan.original.raw, plan.copy.raw), f"places: {', '.join(plan.places)}"]
    show(arguments.json, facts, *lines, said)
    return 0


def run_dismiss(arguments: argparse.Namespace) -> int:
    """Closes a row."""

    async def act(gate: Gate) -> None:
        await quarantine.dismiss(gate, operator(), arguments.id, because=arguments.because)

    with_store(load_config(arguments.config), act)
    show(arguments.json, {"dismissed": arguments.id}, f"dismissed: {arguments.id}")
    return 0


def _values(given: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for one in given:
        place, equals, value = one.partition("=")
        if not equals:
            raise Invalid("--set takes PLACE=VALUE, e.g. PID-3.4=NORTH; PLACE= empties it")
        name = str(parse_place(place))
        if name in values:
            raise Invalid(f"{name} is set twice")
        values[name] = value
    return values


def _content(file: Path) -> bytes:
    if not file.is_file():
        raise Invalid(f"there is no file {file}")
    if os.path.getsize(file) > FILE_BYTES_MAX:
        raise Invalid(f"{file} is larger than {FILE_BYTES_MAX} bytes")
    return file.read_bytes()


def _facts(row: Quarantined) -> dict[str, Any]:
    return {
        "id": row.id,
        "status": row.status.value,
        "queued_again": row.queued_again,
        "connection": row.connection,
        "message": row.inbox_id,
        "sender": row.sender,
        "type": row.message_type,
        "class": row.reason_class,
        "reason": row.reason,
        "position": row.position,
        "digest": row.digest.hex(),
        "first_seen_at": row.first_seen_at.isoformat(timespec="seconds"),
        "last_seen_at": row.last_seen_at.isoformat(timespec="seconds"),
        "count": row.count,
        "resolved_at": row.resolved_at.isoformat(timespec="seconds") if row.resolved_at else None,
        "resolved_by": row.resolved_by,
        "because": row.because,
    }


def _list_lines(found: Listing, now: datetime, limit: int) -> list[str]:
    lines = []
    for row in found.rows:
        status = "queued again" if row.queued_again else row.status.value
        seen = f"{age(age_s(row.last_seen_at, now))} ago"
        times = f" x{row.count}" if row.count > 1 else ""
        lines.append(
            f"{row.id:>6}  {status:<9}  {shown(row.connection):<12}  {shown(row.sender):<18}  "
            f"{shown(row.message_type) or '-':<8}  {seen:>10}{times}  "
            f"{shown(row.reason_class)}  {shown(_reason(row))}"
        )
    if len(found.rows) == limit:
        lines.append(f"        … these are the newest {limit}; --limit N shows more")
    lines += [] if found.rows else ["nothing matches"]
    lines.append("open in all")
    for one in found.open:
        lines.append(
            f"  {shown(one.connection):<12}  {shown(one.reason_class):<20}  {one.rows} open, "
            f"seen {one.times} times, {one.last_hour} in the last hour, "
            f"oldest {age(age_s(one.oldest, now))}"
        )
    return lines + ([] if found.open else ["  none"])


def _reason(row: Quarantined) -> str:
    """With the place, unless the sentence begins with it."""
    plain = not row.position or row.reason.startswith(row.position)
    return row.reason if plain else f"{row.position}: {row.reason}"


def _head_lines(opened: Opened) -> list[str]:
    facts = _facts(opened) | {"size": f"{len(opened.raw)} bytes", "edited copy": opened.copy}
    return [f"{key:<14} {shown(str(value))}" for key, value in facts.items() if value]


def _difference(before: bytes, after: bytes) -> Iterator[str]:
    """Lines that differ, with controls as symbols."""
    old, new = (_text_lines(raw) for raw in (before, after))
    for line in difflib.unified_diff(old, new, "original", "copy", lineterm="", n=0):
        if not line.startswith("@@"):
            more = len(line) - DIFF_CHARS_MAX
            yield line if more <= 0 else f"{line[:DIFF_CHARS_MAX]} … {more} more characters"


def _text_lines(raw: bytes) -> list[str]:
    text = mark(raw, "").text
    return ["".join(visible(c) for c in line) for line in text.splitlines(keepends=True)]
