"""Keys of patients: made once, bound to their place, gone when they are deleted."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.errors import ConfigError, Damaged, Erased
from chartgate.store.database import Database, open_database
from chartgate.store.vault import FORMAT, HEAD_BYTES, Key, Vault
from chartgate.store.vault_keys import KEY_BYTES, MasterKeys, new_masters

ADA = ("ehr", "Patient/1")
BEN = ("ehr", "Patient/2")


async def keys(database: Database, *whose: tuple[str, str]) -> dict[tuple[str, str], Key]:
    async with database.connection() as connection:
        return await database.vault.keys(connection, whose)


async def row(database: Database, key: Key) -> bytes | None:
    query = "SELECT wrapped FROM patient_key WHERE tenant = $1 AND id = $2"
    found: bytes | None = await database.fetch_value(query, key.id)
    return found


async def test_key_is_made_once_whoever_asks_first(database: Database) -> None:
    vaults = [Vault(database.vault.masters, tenant=database.tenant) for _ in range(6)]

    async def ask(vault: Vault) -> int:
        async with database.bookkeeping() as transaction:
            return (await vault.keys_in(transaction, [ADA, BEN]))[ADA].id

    assert len(set(await asyncio.gather(*map(ask, vaults)))) == 1
    assert await database.fetch_value("SELECT count(*) FROM patient_key WHERE tenant = $1") == 2


async def test_what_was_sealed_opens_in_its_place_and_nowhere_else(database: Database) -> None:
    vault, key = database.vault, (await keys(database, ADA))[ADA]
    wrapped = await row(database, key)
    sealed = vault.seal(key, b"secret", "record_version", "ehr", "Patient/1")
    assert b"secret" not in sealed
    assert len(sealed) == len(b"secret") + HEAD_BYTES + 16
    assert vault.open(sealed, key.id, wrapped, "record_version", "ehr", "Patient/1") == b"secret"
    for place in (
        ("disclosure", "ehr", "Patient/1"),
        ("record_version", "ehr", "Patient/2"),
        ("record_version", "ehrPatient/1"),
    ):
        with pytest.raises(Damaged):
            vault.open(sealed, key.id, wrapped, *place)
    stranger = Vault(vault.masters, tenant="other")
    with pytest.raises(ConfigError):
        stranger.open(sealed, key.id, wrapped, "record_version", "ehr", "Patient/1")


async def test_key_of_somebody_else_opens_nothing(database: Database) -> None:
    found = await keys(database, ADA, BEN)
    sealed = database.vault.seal(found[ADA], b"secret", "t")
    with pytest.raises(Damaged):
        database.vault.open(sealed, found[BEN].id, await row(database, found[BEN]), "t")


async def test_deleted_key_erases_at_once_also_where_it_is_in_memory(database: Database) -> None:
    key = (await keys(database, ADA))[ADA]
    sealed = database.vault.seal(key, b"secret", "t")
    async with database.bookkeeping() as transaction:
        await transaction.execute("DELETE FROM patient_key WHERE id = $1", key.id)
    with pytest.raises(Erased):
        database.vault.open(sealed, key.id, await row(database, key), "t")
    async with database.bookkeeping() as transaction:
        assert (await database.vault.keys_in(transaction, [ADA]))[ADA].id != key.id


async def test_key_that_was_made_in_an_undone_transaction_is_not_remembered(
    database: Database,
) -> None:
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        lost = (await database.vault.keys(connection, [ADA]))[ADA]
        await transaction.rollback()
    assert (await keys(database, ADA))[ADA].id != lost.id


def test_plain_row_is_given_back_as_it_is() -> None:
    vault = Vault(new_masters(), tenant="t")
    assert vault.open(b'{"a":1}', None, None, "t") == b'{"a":1}'


@given(st.binary(max_size=200), st.data())
def test_no_single_changed_byte_goes_unseen(plain: bytes, data: st.DataObject) -> None:
    masters = new_masters()
    vault = Vault(masters, tenant="t")
    wrapped = masters.wrap(b"k" * KEY_BYTES, b"t\0patient_key\x005", masters.newest)
    sealed = bytearray(vault.seal(vault.key(5, wrapped), plain, "table"))
    assert vault.open(bytes(sealed), 5, wrapped, "table") == plain
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Damaged):
        vault.open(bytes(sealed), 5, wrapped, "table")


@given(st.binary(max_size=60))
def test_noise_is_damaged_and_nothing_worse(noise: bytes) -> None:
    masters = new_masters()
    wrapped = masters.wrap(b"k" * KEY_BYTES, b"t\0patient_key\x005", masters.newest)
    vault = Vault(masters, tenant="t")
    for body in (noise, FORMAT + (5).to_bytes(8, "big") + noise):
        with pytest.raises(Damaged):
            vault.open(body, 5, wrapped, "table")


@pytest.fixture
async def stranger(database_url: str) -> AsyncIterator[Database]:
    opened = await open_database(database_url, tenant="main", masters=new_masters())
    yield opened
    await opened.close()


async def test_another_master_key_than_the_stores_is_refused(
    database: Database, stranger: Database
) -> None:
    await keys(database, ADA)
    async with stranger.connection() as connection:
        with pytest.raises(ConfigError, match="restore the file"):
            await stranger.vault.check(connection)
        with pytest.raises(ConfigError):
            await stranger.vault.keys(connection, [ADA])
        with pytest.raises(ConfigError, match="restore"):
            await stranger.vault.keys(connection, [BEN])


async def test_without_a_master_key_nothing_about_a_patient_can_be_stored(
    database_url: str,
) -> None:
    bare = await open_database(database_url, tenant="main")
    try:
        async with bare.connection() as connection:
            with pytest.raises(ConfigError, match="master_key_file"):
                await bare.vault.check(connection)
            with pytest.raises(ConfigError, match="master_key_file"):
                await bare.vault.keys(connection, [ADA])
    finally:
        await bare.close()


async def test_writer_in_the_middle_keeps_the_eraser_waiting(database: Database) -> None:
    async with database.bookkeeping() as transaction:
        await database.vault.keys_in(transaction, [ADA])
        async with database.connection() as other:
            locks = "SELECT pg_try_advisory_lock(hashtextextended('chartgate.erase ' || $1, 0))"
            assert not await other.fetchval(locks, database.tenant)


def test_masters_of_a_file_are_read_at_first_use() -> None:
    assert MasterKeys.of(b"a" * KEY_BYTES).names != MasterKeys.of(b"b" * KEY_BYTES).names
