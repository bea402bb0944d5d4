"""A new master key while everything runs; a scrub that finds what somebody changed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from chartgate.config import VaultConfig
from chartgate.errors import ConfigError, VersionConflict
from chartgate.flows import events, intake, vault
from chartgate.gate import Gate
from chartgate.model.message import Received
from chartgate.store.database import Database, open_database
from chartgate.store.record import RecordStore
from chartgate.store.scrub import TABLES
from chartgate.store.vault import VaultStore
from chartgate.store.vault_keys import (
    MasterKeys,
    create_master_key,
    name_of,
    new_secret,
    read_secrets,
    write_secrets,
)
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt
from tests.flows.clinics import Clinic, Killed
from tests.flows.feeds import FEED, feed_gate


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "vault.key"
    create_master_key(path)
    return path


@pytest.fixture
async def gate(
    database_url: str, clock: FakeClock, tmp_path: Path, file: Path
) -> AsyncIterator[Gate]:
    database = await open_database(database_url, tenant="main", masters=MasterKeys(file))
    yield feed_gate(database, clock, tmp_path, id_from="identifier")
    await database.close()


async def take_in(gate: Gate, *mrns: str) -> None:
    raws = [adt(control_id=f"{mrn}-{id(gate)}", mrn=mrn) for mrn in mrns]
    await intake.accept(gate, [Received(connection=FEED, raw=raw) for raw in raws])
    while await events.process_next(gate):
        pass


async def readable(database: Database, *mrns: str) -> bool:
    record = RecordStore(database)
    return all([await record.current(FEED, f"Patient/{mrn}") is not None for mrn in mrns])


async def test_everything_is_read_after_a_rotation_and_by_the_old_key_nothing(
    gate: Gate, file: Path, database_url: str, clock: FakeClock, tmp_path: Path
) -> None:
    await take_in(gate, "1", "2", "3")
    running = await open_database(database_url, tenant="main", masters=MasterKeys(file))
    assert await readable(running, "1")
    [old] = read_secrets(file)
    count, retired = await vault.rotate(gate, file, agent="process:test")
    assert count == 4  # three patients, and the connection's own
    [new] = read_secrets(file)
    assert new != old
    assert (read_secrets(retired), retired.stat().st_mode & 0o777) == ((old,), 0o600)
    assert await readable(gate.database, "1", "2", "3")
    running.vault.forget()
    assert await readable(running, "1", "2", "3")  # which had read the file before
    await take_in(feed_gate(running, clock, tmp_path, id_from="identifier"), "4")
    fresh = await open_database(database_url, tenant="main", masters=MasterKeys(file))
    assert await readable(fresh, "1", "2", "3", "4")
    thief = await open_database(database_url, tenant="main", masters=MasterKeys.of(old))
    with pytest.raises(ConfigError):
        await readable(thief, "1")
    for opened in (running, fresh, thief):
        await opened.close()


@pytest.mark.parametrize("place", ["put_in_force_in", "rewrap_next"])
async def test_rotation_that_was_killed_goes_on_and_nothing_stops_meanwhile(
    gate: Gate, file: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    await take_in(gate, "1")

    async def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(VaultStore, place, killed)
        with pytest.raises(Killed):
            await vault.rotate(gate, file, agent="process:test")
    assert len(read_secrets(file)) == 2
    fresh = await open_database(database_url, tenant="main", masters=MasterKeys(file))
    assert await readable(fresh, "1")
    async with fresh.connection() as connection:
        assert await fresh.vault.keys(connection, [(FEED, "Patient/new")])
    await fresh.close()
    middle = read_secrets(file)[0]
    await vault.rotate(gate, file, agent="process:test")
    assert read_secrets(file) == (middle,)
    standing = await vault.standing(gate)
    assert (standing.holds, standing.otherwise, standing.master) == (
        True, 0, name_of(middle).hex(),
    )  # fmt: skip
    assert await readable(gate.database, "1")


async def test_two_that_rotate_at_once_lose_no_key(gate: Gate, file: Path) -> None:
    await take_in(gate, "1")
    async with VaultStore(gate.database).turn():
        with pytest.raises(VersionConflict):
            await vault.rotate(gate, file, agent="process:test")
    await vault.rotate(gate, file, agent="process:test")
    gate.database.vault.forget()
    assert await readable(gate.database, "1")


async def test_key_of_another_store_is_not_rotated(gate: Gate, file: Path) -> None:
    await take_in(gate, "1")
    write_secrets(file, [new_secret()])
    gate.database.vault.masters.reload()
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="restore"):
        await vault.rotate(gate, file, agent="process:test")
    assert file.read_bytes() == before


async def test_standing_says_that_the_key_is_gone(
    gate: Gate, file: Path, database_url: str
) -> None:
    await take_in(gate, "1")
    file.rename(file.with_name("elsewhere"))
    bare = await open_database(database_url, tenant="main", masters=MasterKeys(file))
    found = await vault.standing(replace(gate, database=bare))
    await bare.close()
    assert not found.holds
    assert "restore it from its backup" in found.says


async def test_scrub_finds_nothing_where_nothing_was_changed(
    clinic: Clinic, tmp_path: Path
) -> None:
    await take_in(feed_gate(clinic.database, clinic.clock, tmp_path, id_from="identifier"), "1")
    await clinic.verified()
    found = await vault.scrub(clinic.gate)
    assert found.damaged == 0
    assert found.tables["proposal"]["sound"] == 3
    assert found.tables["proposal_attempt"]["sound"] == 1
    assert found.tables["record_version"]["sound"] > 2


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("record_version", "body"),
        ("inbox", "raw"),
        ("proposal", "rationale"),
        ("proposal", "receipt"),
        ("proposal", "compensation"),
        ("proposal_content", "body"),
        ("proposal_attempt", "intent"),
    ],
)
async def test_scrub_finds_one_changed_byte(
    clinic: Clinic, tmp_path: Path, table: str, column: str
) -> None:
    feed = feed_gate(clinic.database, clinic.clock, tmp_path, id_from="identifier")
    await take_in(feed, "1")
    await clinic.verified()
    change = (
        f"UPDATE {table} SET {column} = set_byte({column}, length({column}) - 1,"  # noqa: S608
        f" get_byte({column}, length({column}) - 1) # 1)"
        f" WHERE ctid = (SELECT min(ctid) FROM {table} WHERE length({column}) > 0)"
    )
    async with clinic.database.bookkeeping() as transaction:
        assert await transaction.execute(change) == "UPDATE 1"
    found = await vault.scrub(clinic.gate)
    assert found.damaged == found.tables[table]["damaged"] == 1
    [event] = await clinic.audited("vault.scrub")
    assert (event["outcome"], event["details"][f"damaged:{table}"]) == ("failed", "1")


async def test_every_table_that_holds_something_sealed_is_scrubbed(database: Database) -> None:
    """By the schema's own word, so that a new table cannot be forgotten."""
    query = """
        SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relkind = 'r' AND a.attname = 'sealed_by' AND $1 <> ''"""
    found = {row["relname"] for row in await database.fetch(query)}
    assert found - {"record"} <= set(TABLES)


async def test_worker_scrubs_once_in_its_time(gate: Gate, clock: FakeClock) -> None:
    loop = vault.Scrubbing(gate)
    assert await loop.scrub_next() == 1
    clock.advance(3600)
    assert await loop.scrub_next() == 0
    assert await vault.Scrubbing(gate).scrub_next() == 0  # nor does another worker
    clock.advance(24 * 3600)
    assert await loop.scrub_next() == 1
    never = replace(gate, config=replace(gate.config, vault=VaultConfig(scrub_every_h=0)))
    clock.advance(timedelta(days=9).total_seconds())
    assert await vault.Scrubbing(never).scrub_next() == 0
