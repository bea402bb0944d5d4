"""Wiring: opens what the config names. The walks get everything through a Gate."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from chartgate.adapters.loader import Connections, load_connections
from chartgate.clock import Clock, utc_now
from chartgate.config import Config
from chartgate.errors import ConfigError
from chartgate.model.ports import Probe, Sink, Source, Transmitter
from chartgate.observe.metrics import Metrics
from chartgate.policy.charters import CharterBook
from chartgate.policy.production import check_production
from chartgate.store.audit import AuditWriter
from chartgate.store.caches import Caches
from chartgate.store.consent_lookups import ConsentLookups
from chartgate.store.database import Database, open_database
from chartgate.store.lookups import Lookups
from chartgate.store.vault_keys import MasterKeys
from chartgate.store.verdicts import VerdictStore
from chartgate.transform.hl7v2.settings import FeedSettings


@dataclass
class Running:
    """What a reload replaces, whole and at once, and what it remembers of its last look."""

    charters: CharterBook
    stamps: tuple[tuple[str, int, int, int], ...] = ()  # of the files as they were looked at
    model_paths: frozenset[Path] = frozenset()
    breakage: str = ""  # digest of the mistakes that an alarm was raised for
    awaiting: str = ""  # digest of the change that waits for two people before it may run


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What every walk needs. Opened by `open_gate`, closed by its context."""

    config: Config
    clock: Clock
    database: Database
    audit: AuditWriter  # for reads: commits many events at once; awaited before answering
    running: Running
    sources: Mapping[str, Source]  # by connection
    sinks: Mapping[str, Sink]  # by connection
    transmitters: Mapping[str, Transmitter] = field(default_factory=dict)  # by connection
    connections: Connections | None = None  # with their breakers; None where a test wires ports

    @property
    def charters(self) -> CharterBook:
        """The running charters."""
        return self.running.charters

    @cached_property
    def caches(self) -> Caches:
        """What this process keeps in memory, bounded."""
        return Caches()

    @cached_property
    def feeds(self) -> dict[str, tuple[object, FeedSettings]]:
        """Settings of feeds by connection, with what their files looked like when read."""
        return {}

    @cached_property
    def relationships(self) -> dict[tuple[str, ...], tuple[bool, datetime]]:
        """Which relationships were found to hold or not, and when; flows/relationships.py."""
        return {}

    @cached_property
    def doubtful_lanes(self) -> dict[int, datetime]:
        """Lanes of patients whose messages the store refused, until when they are written apart."""
        return {}

    @cached_property
    def providers(self) -> dict[str, Any]:
        """What flows/providers.py knows of those who vouch for people, by way of signing in."""
        return {}

    @cached_property
    def party_keys(self) -> dict[str, Any]:
        """What flows/party_keys.py fetched of those who publish their keys, by their place."""
        return {}

    @cached_property
    def metrics(self) -> Metrics:
        """What this process counts."""
        return Metrics()

    @cached_property
    def lookups(self) -> Lookups:
        """Current copies of the record, looked up for many readers in one query."""
        return Lookups(self.database)

    @cached_property
    def consent_lookups(self) -> ConsentLookups:
        """What is known of patients' consents, looked up for many readers in one query."""
        return ConsentLookups(self.database)

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


@asynccontextmanager
async def open_store_gate(
    config: Config, *, url: str, book: CharterBook, clock: Clock = utc_now
) -> AsyncIterator[Gate]:
    """A gate on the store alone, for what needs no system of record. Raises Unavailable."""
    settings = config.store
    database = await open_database(
        url,
        tenant=config.tenant,
        connections_max=settings.connections_max,
        acquire_timeout_s=settings.acquire_timeout_s,
        masters=MasterKeys(config.path(config.vault.master_key_file)),
    )
    try:
        audit = AuditWriter(database)
        await audit.start()
        try:
            yield Gate(
                config=config,
                clock=clock,
                database=database,
                audit=audit,
                running=Running(charters=book),
                sources={},
                sinks={},
            )
        finally:
            await audit.close()
    finally:
        await database.close()


@asynccontextmanager
async def open_gate(
    config: Config, *, url: str, book: CharterBook, clock: Clock = utc_now
) -> AsyncIterator[Gate]:
    """Opens store, audit writer and connections; closes them in reverse.

    Raises ConfigError, Unavailable.
    """
    check_production(config, tuple(book.charters.values()), clock().date())
    async with open_store_gate(config, url=url, book=book, clock=clock) as gate:
        async with gate.database.connection() as connection:
            await gate.database.vault.check(connection)
        store = VerdictStore(gate.database)
        verdicts = {name: await store.of(name) for name in config.connections}
        async with load_connections(config, clock=clock, verdicts=verdicts) as connections:
            yield replace(
                gate,
                sources=connections.sources,
                sinks=connections.sinks,
                transmitters=connections.transmitters,
                connections=connections,
            )


async def adopt_verdicts(gate: Gate) -> None:
    """Takes over what a probe has stored since, so that write rights follow at once."""
    store = VerdictStore(gate.database)
    for name, sink in gate.sinks.items():
        if isinstance(sink, Probe):
            sink.adopt(await store.of(name))
