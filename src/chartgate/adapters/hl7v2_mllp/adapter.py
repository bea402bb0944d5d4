"""The adapter as the loader opens it: options checked, the Feed that listens, the Transmitter that
sends, and the Sink that writes by what it sends."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from chartgate.adapters.egress import AddressRules
from chartgate.adapters.hl7v2_mllp.destination import destination_of, is_loopback
from chartgate.adapters.hl7v2_mllp.listener import Listener
from chartgate.adapters.hl7v2_mllp.sender import Sender
from chartgate.adapters.hl7v2_mllp.sink import Agreed, MessageSink
from chartgate.adapters.hl7v2_mllp.tls import ServerTls, tls_of
from chartgate.clock import Clock
from chartgate.config import ConnectionConfig
from chartgate.errors import ConfigError
from chartgate.model.ports import Intake, LastLook, ListenLimits
from chartgate.model.resource import Copy
from chartgate.model.write import Receipt, Write


@asynccontextmanager
async def open_adapter(
    connection: ConnectionConfig,
    *,
    folder: Path,
    clock: Clock,
    verdicts: Mapping[str, tuple[bool, str]],
    egress: AddressRules,
) -> AsyncIterator["MllpFeed"]:
    """One connection; it holds nothing until it listens or sends. Raises ConfigError."""
    check_options(connection)
    where = f"[connections.{connection.name}]"
    tls = tls_of(where, connection.options, folder=folder, clock=clock)
    destination = destination_of(connection, folder=folder)
    sender = None
    if destination is not None:
        sender = Sender(connection.name, destination, egress=egress, clock=clock)
    feed = MllpFeed(connection, sender, tls, clock=clock)
    try:
        yield feed
    finally:
        await feed.close()


class MllpFeed:
    """Feed: takes HL7 v2 messages over MLLP on one port. Transmitter: sends to one destination.
    Messenger: writes by messages to the same destination."""

    def __init__(
        self,
        connection: ConnectionConfig,
        sender: Sender | None,
        tls: ServerTls | None,
        *,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._tls = tls
        self._sender = sender
        agreed = Agreed(
            connection=connection.name,
            enhanced=connection.options.get("ack_mode") == "enhanced",
            recognises_duplicates=connection.options.get("recognises_duplicates", False),
        )
        self._sink = MessageSink(sender, agreed, missing=self.missing, clock=clock)

    async def listen(
        self, intake: Intake, limits: ListenLimits, *, ready: Callable[[int], None]
    ) -> None:
        """Serves until cancelled. Raises ConfigError where the port cannot be had."""
        options = self._connection.options
        host = options.get("host", limits.host)
        port = options.get("port", limits.port)
        clear = self._tls is None and not is_loopback(host)
        if clear and not options.get("allow_cleartext", False):
            raise ConfigError(
                f"[connections.{self._connection.name}] would listen on {host} without TLS; set "
                "tls, or choose a loopback address behind a TLS proxy, or allow_cleartext = true"
            )
        listener = Listener(self._connection.name, intake, limits, tls=self._tls)
        await listener.serve(host, port, ready=ready)

    @property
    def missing(self) -> str:
        """What must be configured before anything can be sent; empty: nothing is missing."""
        if self._sender is not None:
            return ""
        name = self._connection.name
        return f"[connections.{name}] needs the keys send_host and send_port: where to send to"

    @property
    def timeout_s(self) -> float:
        """How long one `send` takes at most."""
        return self._sender.timeout_s if self._sender else 0.0

    async def send(
        self, raw: bytes, *, control_id: str, lane: str, last_look: LastLook | None = None
    ) -> bytes:
        """See `Transmitter.send`. Raises ConfigError where it has no destination."""
        if self._sender is None:
            raise ConfigError(self.missing)
        return await self._sender.send(raw, control_id=control_id, lane=lane, last_look=last_look)

    async def commit(self, write: Write, *, last_look: LastLook | None = None) -> Receipt:
        """See `Sink.commit`."""
        return await self._sink.commit(write, last_look=last_look)

    async def resolve(self, write: Write) -> Receipt | None:
        """See `Sink.resolve`: nothing can be read at a destination."""
        return await self._sink.resolve(write)

    async def settle(self, write: Write, *, last_look: LastLook) -> Receipt | None:
        """See `Messenger.settle`."""
        return await self._sink.settle(write, last_look=last_look)

    async def compensation(self, write: Write, receipt: Receipt, before: Sequence[Copy]) -> Write:
        """See `Sink.compensation`."""
        return await self._sink.compensation(write, receipt, before)

    def differences(
        self, write: Write, receipt: Receipt, after: Sequence[Copy], before: Sequence[Copy] = ()
    ) -> list[str]:
        """See `Sink.differences`."""
        return self._sink.differences(write, receipt, after, before)

    async def hang_up(self, lane: str) -> None:
        """Closes the connection of a lane, if there is one."""
        if self._sender is not None:
            await self._sender.hang_up(lane)

    async def close(self) -> None:
        """Closes every connection to the destination."""
        if self._sender is not None:
            await self._sender.close()


def check_options(connection: ConnectionConfig) -> None:
    """Raises ConfigError for a value that no feed can have. The loader has checked the types."""
    where = f"[connections.{connection.name}]"
    if not connection.site:
        raise ConfigError(f"{where} needs the key site: which site its messages are about")
    _check_choice(where, connection.options, "processing_id", ("", "P", "T", "D"))
    _check_choice(where, connection.options, "id_from", ("uuid5", "identifier"))
    _check_choice(where, connection.options, "ack_mode", ("original", "enhanced"))
    _check_choice(where, connection.options, "order_message", ("OML^O21", "ORM^O01"))
    _check_choice(where, connection.options, "patient_message", ("ADT^A08", "ADT^A31"))
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
