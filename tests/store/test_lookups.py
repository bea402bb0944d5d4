"""Many look-ups in one query."""

import asyncio
from datetime import datetime

import pytest

from chartgate.errors import Unavailable
from chartgate.formats.canonical import digest
from chartgate.model.resource import Copy
from chartgate.store.database import Database
from chartgate.store.governance import bump_epoch, current_epoch
from chartgate.store.lookups import AT_ONCE_MAX, Lookups
from chartgate.store.record import RecordStore
from chartgate.testing.clock import FakeClock


def copy(number: int, as_of: datetime, *, version: str = "1") -> Copy:
    body = f'{{"id":"{number}","v":"{version}"}}'.encode()
    return Copy(
        reference=f"Slot/{number}", version=version, digest=digest(body), body=body, as_of=as_of
    )


async def test_each_gets_its_own_however_many_ask(database: Database, clock: FakeClock) -> None:
    count = AT_ONCE_MAX * 2 + 7
    await RecordStore(database).keep("ehr", [copy(n, clock()) for n in range(count)])
    lookups = Lookups(database)
    found = await asyncio.gather(*(lookups.current("ehr", "Slot", str(n)) for n in range(count)))
    for number, (current, _) in enumerate(found):
        assert current is not None
        assert current.body == copy(number, clock()).body
        assert current.as_of == clock()


async def test_what_is_not_there_or_elsewhere_is_none(database: Database, clock: FakeClock) -> None:
    await RecordStore(database).keep("ehr", [copy(1, clock())])
    lookups = Lookups(database)
    assert (await lookups.current("ehr", "Slot", "2")).current is None
    assert (await lookups.current("other", "Slot", "1")).current is None
    assert (await lookups.current("ehr", "Patient", "1")).current is None


async def test_body_is_left_out_only_while_its_digest_is_the_known_one(
    database: Database, clock: FakeClock
) -> None:
    record = RecordStore(database)
    first = copy(1, clock())
    await record.keep("ehr", [first])
    lookups = Lookups(database)
    same, _ = await lookups.current("ehr", "Slot", "1", known=first.digest)
    assert same is not None
    assert same.body is None
    second = copy(1, clock.advance(1), version="2")
    await record.keep("ehr", [second])
    changed, _ = await lookups.current("ehr", "Slot", "1", known=first.digest)
    assert changed is not None
    assert (changed.body, changed.version) == (second.body, "2")


async def test_one_resource_asked_for_twice_at_once_is_found_twice(
    database: Database, clock: FakeClock
) -> None:
    await RecordStore(database).keep("ehr", [copy(1, clock())])
    lookups = Lookups(database)
    one, two = await asyncio.gather(
        lookups.current("ehr", "Slot", "1"), lookups.current("ehr", "Slot", "1", known=b"x" * 32)
    )
    assert one == two
    assert one.current is not None


async def test_look_ups_come_through_however_they_interleave(
    database: Database, clock: FakeClock
) -> None:
    """The next may come just while the connection is given back."""
    await RecordStore(database).keep("ehr", [copy(1, clock())])
    lookups = Lookups(database)

    async def ask(times: int) -> None:
        for turn in range(times):
            assert (await lookups.current("ehr", "Slot", "1")).current
            for _ in range(turn % 7):
                await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await asyncio.gather(*(ask(60) for _ in range(5)))


async def test_asker_that_left_hinders_nobody(database: Database, clock: FakeClock) -> None:
    await RecordStore(database).keep("ehr", [copy(1, clock())])
    lookups = Lookups(database)
    gone = asyncio.create_task(lookups.current("ehr", "Slot", "1"))
    stays = asyncio.create_task(lookups.current("ehr", "Slot", "1"))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).current


async def test_store_that_is_gone_fails_all_who_wait(database: Database) -> None:
    lookups = Lookups(database)
    await database.close()
    results = await asyncio.gather(
        *(lookups.current("ehr", "Slot", "1") for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(result, Unavailable) for result in results)
    with pytest.raises(Unavailable):
        await lookups.current("ehr", "Slot", "1")


async def test_query_that_is_refused_leaves_nobody_waiting(database: Database) -> None:
    lookups = Lookups(database)
    with pytest.raises(Unavailable):
        await lookups.current("ehr", "Slot", "\x00")
    assert (await lookups.current("ehr", "Slot", "1")).current is None


async def test_note_that_a_copy_is_current_holds_at_once_and_is_written_down(
    database: Database, clock: FakeClock
) -> None:
    record, lookups = RecordStore(database), Lookups(database)
    await record.keep("ehr", [copy(n, clock()) for n in (1, 2)])
    later = clock.advance(60)
    lookups.note_current("ehr", "Slot", "1", version="1", as_of=later)
    lookups.note_current("ehr", "Slot", "2", version="0", as_of=later)
    first, second = [(await lookups.current("ehr", "Slot", n)).current for n in ("1", "2")]
    assert first is not None
    assert first.as_of == later
    assert second is not None
    assert second.as_of < later, "another version was found current"
    async with asyncio.timeout(5):
        while (await stored(record, "Slot/1")).as_of < later:
            await asyncio.sleep(0.01)
    assert (await stored(record, "Slot/2")).as_of < later


async def stored(record: RecordStore, reference: str) -> Copy:
    found = await record.current("ehr", reference)
    assert found is not None
    return found


async def test_epoch_comes_with_each_look_up_found_or_not(
    database: Database, clock: FakeClock
) -> None:
    lookups = Lookups(database)
    assert (await lookups.current("ehr", "Slot", "1")).epoch == 0
    last = 0
    for _ in range(2):
        async with database.bookkeeping() as transaction:
            await bump_epoch(transaction, database.tenant)
        found = (await lookups.current("ehr", "Slot", "1")).epoch
        assert found == await current_epoch(database)
        assert found > last
        last = found
