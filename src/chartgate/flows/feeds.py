"""What is agreed about each feed: the options of its connection, and its site's file of overrides.

The file is read again when it changes, so that a mended rule counts for what is replayed. One
that cannot be read any more changes nothing: the running rules stay, and the log says so.
"""

from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from chartgate.config import ConnectionConfig
from chartgate.errors import ConfigError
from chartgate.gate import Gate
from chartgate.transform.hl7v2.overrides import Overrides, no_overrides, parse_overrides
from chartgate.transform.hl7v2.settings import FeedSettings

LOG = structlog.get_logger()
FILE_BYTES_MAX = 1024 * 1024


def settings_for(gate: Gate, connection: str) -> FeedSettings:
    """The running settings of a feed. Raises ConfigError where there are none that can be used."""
    configured = gate.config.connections.get(connection)
    if configured is None:
        raise ConfigError(f"the connection {connection} is configured no more")
    path = _overrides_file(gate.config.folder, configured)
    stamp = (configured, _stamp(path))
    held = gate.feeds.get(connection)
    if held is not None and held[0] == stamp:
        return held[1]
    try:
        settings = settings_of(configured, folder=gate.config.folder)
    except ConfigError as error:
        if held is None:
            raise
        LOG.error("feed.overrides_broken", connection=connection, detail=str(error))
        settings = held[1]
    gate.feeds[connection] = (stamp, settings)
    return settings


def settings_of(connection: ConnectionConfig, *, folder: Path) -> FeedSettings:
    """The settings of a feed, from its options and files. Raises ConfigError."""
    options = connection.options
    path = _overrides_file(folder, connection)
    return FeedSettings(
        connection=connection.name,
        site=connection.site,
        processing_id=options.get("processing_id", "P"),
        charset=options.get("charset", ""),
        sequence=options.get("sequence", False),
        triggers=tuple(options.get("triggers", "").split()),
        zone=zone_of(connection.name, options.get("zone", "UTC")),
        ids_are_identifiers=options.get("id_from") == "identifier",
        systems=options.get("systems", {}),
        patient_system=options.get("patient_system", ""),
        overrides=read_overrides(path) if path else no_overrides(),
    )


def read_overrides(path: Path) -> Overrides:
    """The overrides of a file. Raises ConfigError that says what is wrong with it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(f"{path} is larger than {FILE_BYTES_MAX} bytes")
    try:
        return parse_overrides(content.decode(), where=path.name)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8") from None


def _overrides_file(folder: Path, connection: ConnectionConfig) -> Path | None:
    name = connection.options.get("overrides", "")
    return folder / name if name else None


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return found.st_mtime_ns, found.st_size, found.st_ino


def zone_of(connection: str, name: str) -> tzinfo:
    """The IANA time zone of a connection. Raises ConfigError."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f'[connections.{connection}] zone {name!r} is not known here; e.g. "Europe/Berlin"'
        ) from None
