"""Wiring: opens what the config names. The walks get everything through a Gate."""

from collections.abc import Mapping
from dataclasses import dataclass

from chartgate.clock import Clock
from chartgate.config import Config
from chartgate.errors import ConfigError
from chartgate.model.ports import Sink, Source
from chartgate.policy.charters import CharterBook
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database


@dataclass
class Running:
    """The one thing that a reload replaces, whole and at once."""

    charters: CharterBook


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What every walk needs. Opened by `open_gate`, closed by its context."""

    config: Config
    clock: Clock
    database: Database
    audit: AuditWriter  # for reads: commits many events at once; `await` it before answering
    running: Running
    sources: Mapping[str, Source]  # by connection
    sinks: Mapping[str, Sink]  # by connection

    @property
    def charters(self) -> CharterBook:
        """The running charters."""
        return self.running.charters

    def source(self, connection: str) -> Source:
        """The named Source. Raises ConfigError."""
        try:
            return self.sources[connection]
        except KeyError:
            raise ConfigError(f"no connection {connection} that can be read") from None

    def sink(self, connection: str) -> Sink:
        """The named Sink. Raises ConfigError."""
        try:
            return self.sinks[connection]
        except KeyError:
            raise ConfigError(f"no connection {connection} that can be written") from None
