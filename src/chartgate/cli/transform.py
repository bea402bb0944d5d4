"""`chartgate transform`: what this site's tables make of a message, without touching the store."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from textwrap import wrap
from typing import Any

import orjson

from chartgate.cli.session import add_json_flag
from chartgate.config import Config, ConnectionConfig, load_config
from chartgate.errors import ConfigError, Invalid
from chartgate.flows.feeds import settings_of
from chartgate.flows.folding import Filtered, Held, Reading, Refusal, fold, read
from chartgate.formats.hl7v2 import MalformedMessage, parse
from chartgate.formats.hl7v2_batch import is_batch, split_batch, split_messages
from chartgate.model.message import Arrival, Queued, Received, Rejected
from chartgate.transform.hl7v2.admission import Refused, admit
from chartgate.transform.hl7v2.bundle import message_bundle
from chartgate.transform.hl7v2.explain import Explanation, explain
from chartgate.transform.hl7v2.messages import Transformed, transform_with_provenance
from chartgate.transform.hl7v2.settings import FeedSettings

FILE_BYTES_MAX = 256 * 1024 * 1024
FEED = "hl7v2_mllp"
FAILED = 1
COLUMNS = 100
ELEMENT_COLUMNS = 46
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)  # a transformation does not look at it


def add_parser(commands: Any) -> None:
    """transform"""
    parser = commands.add_parser(
        "transform",
        help="show what becomes of an HL7 v2 message at a site, and why",
        description="Transforms the messages of a file with the tables and overrides of a site's "
        "feed, as a worker would, and prints a FHIR Bundle for each. Nothing is stored or sent. "
        "With --explain: which row of which table made each element, and which fields of the "
        "message became nothing, with the reason. Exit code 1 if a message could not be "
        "transformed.",
        epilog="example: chartgate transform adt.hl7 --site north-clinic --explain",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file", type=Path, help="one message, several, or an FHS/BHS batch; -: stdin"
    )
    parser.add_argument("--site", required=True, help="whose tables; a site of the config")
    parser.add_argument("--connection", help="which feed of the site, if it has more than one")
    parser.add_argument("--explain", action="store_true", help="say which row made which element")
    add_json_flag(parser)
    parser.set_defaults(run=run_transform)


def run_transform(arguments: argparse.Namespace) -> int:
    """Prints one result a message."""
    config = load_config(arguments.config)
    connection = feed_of(config, arguments.site, arguments.connection)
    settings = settings_of(connection, folder=config.folder)
    messages = _messages(arguments.file, _content(arguments.file))
    failed = False
    for number, raw in enumerate(messages, 1):
        result, lines = _result(raw, settings, number=number, explained=arguments.explain)
        failed |= result["outcome"] in ("refused", "quarantined")
        if arguments.json:
            sys.stdout.write(orjson.dumps(result).decode() + "\n")
        else:
            sys.stdout.write("\n".join(lines) + "\n")
    return FAILED if failed else 0


def feed_of(config: Config, site: str, name: str | None) -> ConnectionConfig:
    """The one feed that is meant. Raises ConfigError that names those there are."""
    feeds = [c for c in config.connections.values() if c.adapter == FEED and c.site == site]
    if name is not None:
        feeds = [c for c in feeds if c.name == name]
    if len(feeds) == 1:
        return feeds[0]
    there = ", ".join(f"{c.name} (site {c.site})" for c in config.connections.values() if c.site)
    if not feeds:
        raise ConfigError(
            f"the config has no HL7 v2 feed of that name and site; there are: {there or 'none'}"
        )
    raise ConfigError(f"the site has more than one feed; add --connection, one of: {there}")


def _messages(path: Path, content: bytes) -> Sequence[bytes]:
    """Those of a file, or of a batch. Raises Invalid that says what the file is instead."""
    named = "what was piped in" if str(path) == "-" else str(path)
    if not content.strip():
        raise Invalid(f"{named} is empty")
    try:
        if not is_batch(content):
            return split_messages(content)
        batch = split_batch(content)
    except MalformedMessage as error:
        raise Invalid(f"{named} does not begin with MSH, FHS or BHS: {error}") from None
    if batch.refusal:
        raise Invalid(f"{named} is a batch that would be refused: {batch.refusal}")
    if not batch.messages:
        raise Invalid(f"{named} is a batch without messages")
    return batch.messages


def _content(path: Path) -> bytes:
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        else:
            with path.open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Invalid(f"{path} cannot be read ({error.strerror})") from None
    if len(content) > FILE_BYTES_MAX:
        raise Invalid(f"{path} is larger than {FILE_BYTES_MAX} bytes; split it")
    return content


def _result(
    raw: bytes, settings: FeedSettings, *, number: int, explained: bool
) -> tuple[dict[str, Any], Sequence[str]]:
    received = Received(connection=settings.connection, raw=raw)
    admitted = admit(received, replace(settings, sequence=False), NO_TIME)
    if isinstance(admitted, Refused):
        return _refused({"message": number}, admitted.rejected, "refused")
    assert isinstance(admitted, Arrival), "only a numbered feed has marks"
    queued = Queued(
        id=number,
        connection=settings.connection,
        message_type=admitted.message_type,
        raw=raw,
        received_at=NO_TIME,
    )
    reading = read(queued, settings)
    refused = reading if isinstance(reading, Refusal) else None
    if isinstance(reading, Reading):
        folded = fold(queued, reading, Held())
        refused = folded if isinstance(folded, Refusal) else None
    result: dict[str, Any] = {"message": number, "type": queued.message_type}
    if refused is not None:
        return _refused(result, refused, "quarantined")
    if isinstance(reading, Filtered):
        result |= {"outcome": "filtered", "reason": reading.reason}
        return result, [f"message {number} would be filtered: {reading.reason}"]
    assert isinstance(reading, Reading), "there is no other outcome"
    # Overrides change the fields of a message, so each transformation gets one of its own.
    bundle = message_bundle(parse(raw, charset_default=settings.charset), settings)
    result |= {"outcome": "delivered", "flags": list(reading.flags), "bundle": bundle}
    if not explained:
        return result, [orjson.dumps(bundle, option=orjson.OPT_INDENT_2).decode()]
    message = parse(raw, charset_default=settings.charset)
    said = transform_with_provenance(message, settings)
    found = explain(message, said, settings)
    result["explanation"] = asdict(found)
    return result, list(_explained(queued, reading.flags, said, found))


def _refused(
    result: dict[str, Any], why: Refusal | Rejected, outcome: str
) -> tuple[dict[str, Any], Sequence[str]]:
    found = {"reason_class": why.reason_class, "reason": why.reason, "position": why.position}
    line = f"message {result['message']} would be {outcome}: {_said(why)}"
    return {**result, "outcome": outcome, **found}, [line]


def _said(refused: Refusal | Rejected) -> str:
    """The reason, with its position where the sentence does not name it."""
    named = not refused.position or refused.position in refused.reason
    where = "" if named else f" at {refused.position}"
    return f"{refused.reason}{where} ({refused.reason_class})"


def _explained(
    queued: Queued, flags: Sequence[str], said: Transformed, found: Explanation
) -> Iterator[str]:
    flagged = f", flagged {' and '.join(flags)}" if flags else ""
    count = len(said.drafts)
    resources = "1 resource" if count == 1 else f"{count} resources"
    yield f"message {queued.id}, {queued.message_type}: {resources}{flagged}"
    for draft in said.drafts:
        yield f"\n  {draft.reference}"
        for made in found.made:
            if made.reference == draft.reference:
                element = f"{made.element} removed" if made.removed else made.element
                table = f"[{made.table.replace('.', ' ')}]" if made.table else "in code"
                yield f"    {element:<{ELEMENT_COLUMNS}} {made.position:<14} {table}"
    for title, deliberate in (
        ("left out on purpose", True),
        ("left, since nothing takes it", False),
    ):
        reasons: dict[str, list[str]] = {}
        for left in found.left:
            if left.deliberate is deliberate:
                reasons.setdefault(left.reason, []).append(left.position)
        if reasons:
            yield f"\n  {title}"
        for reason, positions in reasons.items():
            yield from wrap(
                f"{', '.join(positions)}: {reason}",
                COLUMNS,
                initial_indent=" " * 4,
                subsequent_indent=" " * 6,
                break_on_hyphens=False,
            )
