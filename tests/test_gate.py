"""Opening and closing what every walk needs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from chartgate.config import Config, ConnectionConfig, StoreConfig
from chartgate.errors import ConfigError, Unavailable
from chartgate.gate import Gate, adopt_verdicts, open_gate, open_store_gate
from chartgate.model.audit import AuditEvent
from chartgate.model.verdict import Verdict
from chartgate.policy.charters import CharterBook, compile_book
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database
from chartgate.store.vault_keys import create_master_key
from chartgate.store.verdicts import VerdictStore
from chartgate.testing.clock import FakeClock

EHR = ConnectionConfig(
    name="north-ehr", adapter="fhir_r4", options={"url": "http://127.0.0.1:9/fhir"}
)
FEED = ConnectionConfig(name="north-adt", adapter="hl7v2_mllp", site="north-clinic")


@pytest.fixture
def book() -> CharterBook:
    return compile_book(())


@pytest.fixture
def config(tmp_path: Path) -> Config:
    create_master_key(tmp_path / "keys" / "vault.key")
    return Config(folder=tmp_path, connections={"north-ehr": EHR, "north-adt": FEED})


async def test_gate_has_what_the_config_names(
    database_url: str, config: Config, book: CharterBook, clock: FakeClock
) -> None:
    async with open_gate(config, url=database_url, book=book, clock=clock) as gate:
        assert gate.charters is book
        assert gate.clock is clock
        assert set(gate.sources) == set(gate.sinks) == {"north-ehr"}
        one: list[object] = [gate.source("north-ehr"), gate.sink("north-ehr")]
        assert one[0] is one[1]
        assert gate.connections is not None
        assert gate.connections.breakers["north-ehr"].state == "closed"
        assert gate.audit.is_open
        assert gate.caches is gate.caches
        assert gate.metrics is gate.metrics
        assert gate.lookups is gate.lookups
    assert not gate.audit.is_open


async def test_name_that_is_no_connection_is_a_sentence(
    database_url: str, config: Config, book: CharterBook
) -> None:
    async with open_gate(config, url=database_url, book=book) as gate:
        with pytest.raises(ConfigError, match="no connection north-adt that can be read"):
            gate.source("north-adt")
        with pytest.raises(ConfigError, match="no connection south that can be written"):
            gate.sink("south")


async def test_gate_on_the_store_alone_opens_no_connection(
    database_url: str, config: Config, book: CharterBook
) -> None:
    broken = ConnectionConfig(name="x", adapter="none such")
    odd = Config(folder=config.folder, connections={"x": broken})
    async with open_store_gate(odd, url=database_url, book=book) as gate:
        assert await gate.database.fetch_value("SELECT $1") == "main"
        assert (gate.sources, gate.sinks, gate.connections) == ({}, {}, None)


async def test_store_that_is_not_there_says_what_to_check(
    config: Config, book: CharterBook
) -> None:
    url = "postgresql://chartgate@127.0.0.1:9/chartgate"
    with pytest.raises(Unavailable, match="is PostgreSQL running, and database_url right"):
        async with open_gate(config, url=url, book=book):
            pass


async def test_connection_that_cannot_be_opened_closes_the_store_again(
    database_url: str, postgres_admin: Any, tmp_path: Path, book: CharterBook
) -> None:
    create_master_key(tmp_path / "keys" / "vault.key")
    odd = Config(
        folder=tmp_path,
        connections={"x": ConnectionConfig(name="x", adapter="fhir_r5")},
        store=StoreConfig(acquire_timeout_s=1.0),
    )
    with pytest.raises(ConfigError, match="did you mean fhir_r4"):
        async with open_gate(odd, url=database_url, book=book):
            pass
    name = database_url.rpartition("/")[2].partition("?")[0]
    left = await postgres_admin.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", name
    )
    assert left == 0


async def test_store_is_closed_even_if_the_audit_writer_fails_to(
    database_url: str, config: Config, book: CharterBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    close = Database.close

    async def noted(database: Database) -> None:
        await close(database)
        closed.append(True)

    close_writer = AuditWriter.close

    async def failing(writer: AuditWriter) -> None:
        await close_writer(writer)
        raise Unavailable("late")

    monkeypatch.setattr(Database, "close", noted)
    monkeypatch.setattr(AuditWriter, "close", failing)
    with pytest.raises(Unavailable, match="late"):
        async with open_store_gate(config, url=database_url, book=book):
            pass
    assert closed == [True]


@dataclass
class Tried:
    """A sink that can be probed, and remembers what it was told."""

    adopted: list[Any] = field(default_factory=list)

    def adopt(self, verdicts: Any) -> None:
        self.adopted.append(verdicts)

    async def probe(self, report: Any) -> tuple[Verdict, ...]:
        return ()


async def test_verdicts_that_were_stored_since_are_adopted_by_who_can(
    database_url: str, config: Config, book: CharterBook, clock: FakeClock
) -> None:
    @asynccontextmanager
    async def with_sinks(*sinks: Any) -> AsyncIterator[Gate]:
        async with open_store_gate(config, url=database_url, book=book) as gate:
            yield replace(gate, sinks={"north-ehr": sinks[0], "other": sinks[1]})

    tried = Tried()
    async with with_sinks(tried, object()) as gate:
        await adopt_verdicts(gate)
        event = AuditEvent(recorded=clock(), action="connection.probe", agent="process:test")
        await VerdictStore(gate.database).put(
            "north-ehr",
            [Verdict(line="history", holds=True, detail="")],
            probed_at=clock(),
            audit=event,
        )
        await adopt_verdicts(gate)
    assert tried.adopted == [{}, {"history": (True, "")}]


async def test_production_that_is_not_fit_for_it_does_not_start(
    config: Config, book: CharterBook, clock: FakeClock
) -> None:
    """Before anything is opened, and with every finding at once."""
    strict = replace(config, production=True)
    with pytest.raises(ConfigError) as refused:
        async with open_gate(strict, url="postgresql://127.0.0.1:9/none", book=book, clock=clock):
            raise AssertionError("it started")
    said = str(refused.value)
    assert "public_url" in said
    assert "[connections.north-ehr] it names no vendor" in said
    assert "[connections.north-adt] it names no vendor" in said


async def test_operator_still_reaches_the_store_of_what_does_not_start(
    database_url: str, config: Config, book: CharterBook, clock: FakeClock
) -> None:
    strict = replace(config, production=True)
    async with open_store_gate(strict, url=database_url, book=book, clock=clock) as gate:
        assert gate.audit.is_open
