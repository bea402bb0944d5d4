"""`chartgate transform`: what this site's tables make of a message, without touching the store."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from chartgate.cli.session import add_json_flag
from chartgate.config import Config, ConnectionConfig, load_config
from chartgate.errors import ConfigError, Invalid
from chartgate.flows.feeds import settings_of
from chartgate.flows.folding import Filtered, Held, Reading, Refusal, fold, read
from chartgate.formats.hl7v2 import read_header
from chartgate.formats.hl7v2_batch import split_messages
from chartgate.model.message import Queued
from chartgate.transform.hl7v2.bundle import message_bundle
from chartgate.transform.hl7v2.explain import Explanation, explain
from chartgate.transform.hl7v2.settings import FeedSettings

FILE_BYTES_MAX = 256 * 1024 * 1024
FEED = "hl7v2_mllp"
FAILED = 1
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
    parser.add_argument("file", type=Path, help="one message, several, or an FHS/BHS batch; -: stdin")
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
    messages = split_messages(_content(arguments.file))
    if not messages:
        raise Invalid(f"{arguments.file} holds no message: none of its lines begins with MSH")
    failed = False
    for number, raw in enumerate(messages, 1):
        result, lines = _result(raw, settings, number=number, explained=arguments.explain)
        failed |= result["outcome"] == "quarantined"
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
    header = read_header(raw)
    kind = header.field(9).split(header.separators.component.encode()) if header else []
    queued = Queued(
        id=number,
        connection=settings.connection,
        message_type="^".join(part.decode("latin-1") for part in kind[:2] if part),
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
        result |= {"outcome": "quarantined", **asdict(refused)}
        return result, [f"message {number} would be quarantined: {_said(refused)}"]
    if isinstance(reading, Filtered):
        result |= {"outcome": "filtered", "reason": reading.reason}
        return result, [f"message {number} would be filtered: {reading.reason}"]
    assert isinstance(reading, Reading), "there is no other outcome"
    bundle = message_bundle(reading.message, settings)
    result |= {"outcome": "delivered", "flags": list(reading.flags), "bundle": bundle}
    if not explained:
        return result, [orjson.dumps(bundle, option=orjson.OPT_INDENT_2).decode()]
    found = explain(reading.message, reading.said, settings)
    result["explanation"] = asdict(found)
    return result, list(_explained(queued, reading, found))


def _said(refused: Refusal) -> str:
    where = f" at {refused.position}" if refused.position else ""
    return f"{refused.reason}{where} ({refused.reason_class})"


def _explained(queued: Queued, reading: Reading, found: Explanation) -> Iterator[str]:
    yield f"message {queued.id}, {queued.message_type}:"
    for draft in reading.said.drafts:
        yield f"  {draft.reference}"
        for made in found.made:
            if made.reference == draft.reference:
                yield f"    {made.element:<44} {made.position:<12} by {made.table} {made.row}"
    if found.left:
        yield "  left unmapped"
        for left in found.left:
            yield f"    {left.position:<44} {left.reason}"
