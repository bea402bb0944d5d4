"""`chartgate probe` as a walk: the sample hospital is tried, and writes follow the verdicts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.adapters.loader import load_connections
from chartgate.config import Config, ConnectionConfig
from chartgate.demo.hospital.server import Hospital, running_hospital
from chartgate.errors import ConfigError, SourceUnreachable, WriteRefused
from chartgate.flows.probes import last, last_of, probe
from chartgate.gate import Gate
from chartgate.model.verdict import Verdict
from chartgate.model.write import Write
from chartgate.store.database import Database
from chartgate.store.verdicts import VerdictStore
from chartgate.testing.builders import task
from chartgate.testing.clock import FakeClock
from chartgate.testing.conformance_bench import creation
from chartgate.testing.gates import open_test_gate

CREATE = Write(marker="m-1", changes=(creation(task()),))


@asynccontextmanager
async def probing(
    database: Database, folder: Path, clock: FakeClock
) -> AsyncIterator[tuple[Gate, Hospital]]:
    async with (
        running_hospital(clock=clock) as hospital,
        open_test_gate(database, folder=folder, clock=clock) as opened,
    ):
        connection = ConnectionConfig(
            name="north-ehr",
            adapter="fhir_r4",
            options={"url": hospital.fhir_url, "retries": 0},
        )
        config = Config(folder=folder, connections={"north-ehr": connection})
        async with load_connections(config, clock=clock, verdicts={}) as connections:
            yield replace(opened.gate, sinks=connections.sinks), hospital


async def events(database: Database) -> list[dict[str, Any]]:
    rows = await database.fetch("SELECT body FROM audit_event WHERE tenant = $1 ORDER BY id")
    return [orjson.loads(row["body"]) for row in rows]


async def test_probe_turns_writes_on_and_stands_in_the_audit(
    database: Database, tmp_path: Path, clock: FakeClock
) -> None:
    async with probing(database, tmp_path, clock) as (gate, hospital):
        sink = gate.sink("north-ehr")
        with pytest.raises(WriteRefused, match="are off"):
            await sink.commit(CREATE)
        told: list[Verdict] = []
        verdicts = await probe(gate, "north-ehr", agent="person:olu", report=told.append)
        assert all(verdict.holds for verdict in verdicts)
        assert len(told) == len(verdicts)
        assert await VerdictStore(database).of("north-ehr") == {
            verdict.line: (verdict.holds, verdict.detail) for verdict in verdicts
        }
        await sink.commit(CREATE)
        (event,) = await events(database)
        assert event["action"] == "connection.probe"
        assert event["agent"] == "person:olu"
        assert event["entities"] == ["Connection/north-ehr"]
        assert len(hospital.journal.effects_of("m-1")) == 1


async def test_system_that_begins_to_lie_loses_its_writes_at_the_next_probe(
    database: Database, tmp_path: Path, clock: FakeClock
) -> None:
    async with probing(database, tmp_path, clock) as (gate, hospital):
        await probe(gate, "north-ehr")
        hospital.faults.switch("ignore_if_none_exist")
        await probe(gate, "north-ehr")
        with pytest.raises(WriteRefused, match="if_none_exist"):
            await gate.sink("north-ehr").commit(CREATE)


async def test_last_probe_is_kept_with_its_date_and_tells_what_is_off(
    database: Database, tmp_path: Path, clock: FakeClock
) -> None:
    async with probing(database, tmp_path, clock) as (gate, hospital):
        (before,) = await last(gate)
        assert (before.probed_at, before.verdicts) == (None, ())
        assert {right.on for right in before.rights} == {False}
        assert "nothing is known of it yet" in before.rights[0].sentence
        hospital.faults.switch("ignore_if_none_exist")
        await probe(gate, "north-ehr")
        found = await last_of(gate, "north-ehr")
        assert found.probed_at == clock()
        off = {right.kind: right.sentence for right in found.rights if not right.on}
        assert set(off) == {"create", "create, several together"}
        assert (
            "let staff create by hand, then run `chartgate probe north-ehr` again" in off["create"]
        )
        with pytest.raises(ConfigError):
            await last_of(gate, "south-ehr")


async def test_probe_that_could_not_be_finished_changes_no_verdict(
    database: Database, tmp_path: Path, clock: FakeClock
) -> None:
    async with probing(database, tmp_path, clock) as (gate, hospital):
        await probe(gate, "north-ehr")
        before = await VerdictStore(database).of("north-ehr")
        await hospital.stop()
        with pytest.raises(SourceUnreachable):
            await probe(gate, "north-ehr")
        assert await VerdictStore(database).of("north-ehr") == before
        assert [event["outcome"] for event in await events(database)] == ["success", "failed"]


async def test_connection_without_a_probe_says_so(
    database: Database, tmp_path: Path, clock: FakeClock
) -> None:
    async with probing(database, tmp_path, clock) as (gate, _):
        with pytest.raises(ConfigError, match="no connection south-ehr"):
            await probe(gate, "south-ehr")
