"""The adapter as the loader opens it: options checked, and the Feed that listens."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from chartgate.adapters.hl7v2_mllp.listener import Listener
from chartgate.clock import Clock
from chartgate.config import ConnectionConfig
from chartgate.errors import ConfigError
from chartgate.model.ports import Intake, ListenLimits


@asynccontextmanager
async def open_adapter(
    connection: ConnectionConfig,
    *,
    folder: Path,
    clock: Clock,
    verdicts: Mapping[str, tuple[bool, str]],
) -> AsyncIterator["MllpFeed"]:
    """The feed of one connection; it holds nothing until it listens. Raises ConfigError."""
    check_options(connection)
    yield MllpFeed(connection)


class MllpFeed:
    """Feed: takes HL7 v2 messages over MLLP on one port."""

    def __init__(self, connection: ConnectionConfig) -> None:
        self._connection = connection

    async def listen(
        self, intake: Intake, limits: ListenLimits, *, ready: Callable[[int], None]
    ) -> None:
        """Serves until cancelled. Raises ConfigError where the port cannot be had."""
        options = self._connection.options
        host = options.get("host", limits.host)
        port = options.get("port", limits.port)
        if not options.get("allow_cleartext", False) and not _is_loopback(host):
            raise ConfigError(
                f"[connections.{self._connection.name}] would listen on {host} without TLS; "
                "choose a loopback address behind a TLS proxy, or set allow_cleartext = true"
            )
        listener = Listener(self._connection.name, intake, limits)
        await listener.serve(host, port, ready=ready)


def check_options(connection: ConnectionConfig) -> None:
    """Raises ConfigError for a value that no feed can have. The loader has checked the types."""
    where = f"[connections.{connection.name}]"
    if not connection.site:
        raise ConfigError(f"{where} needs the key site: which site its messages are about")
    _check_choice(where, connection.options, "processing_id", ("", "P", "T", "D"))
    _check_choice(where, connection.options, "id_from", ("uuid5", "identifier"))
    if not all(
        isinstance(system, str) for system in connection.options.get("systems", {}).values()
    ):
        raise ConfigError(f'{where} systems must hold texts, e.g. {{NORTH = "urn:mrn"}}')


def _check_choice(
    where: str, options: Mapping[str, Any], name: str, known: tuple[str, ...]
) -> None:
    value = options.get(name)
    if value is not None and value not in known:
        choices = ", ".join(repr(choice) for choice in known)
        raise ConfigError(f"{where} {name} must be one of {choices}, not {value!r}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
