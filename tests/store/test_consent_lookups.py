"""Shared look-ups of consents: few queries, each its own answer, never an old one."""

import asyncio
from typing import Any

import pytest

from chartgate.errors import Unavailable
from chartgate.model.audit import AuditEvent
from chartgate.store.consent_lookups import ConsentLookups
from chartgate.store.consents import ConsentStore
from chartgate.store.database import Database
from chartgate.store.governance import bump_epoch, current_epoch
from chartgate.testing.clock import FakeClock

EHR, SITE = "north-ehr", "north"


async def say(database: Database, clock: FakeClock, patient: str, body: bytes) -> None:
    at = clock.advance(1)
    event = AuditEvent(recorded=at, action="consent.change", agent="process:test")
    await ConsentStore(database).keep(
        EHR, patient, [body], as_of=at, changed=event, first_counts=False
    )


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each reading query, as it is sent."""
    sent: list[str] = []
    fetch = Database.fetch

    async def noted(database: Database, query: str, *parameters: Any) -> Any:
        sent.append(query)
        return await fetch(database, query, *parameters)

    monkeypatch.setattr(Database, "fetch", noted)
    return sent


async def test_many_at_once_share_queries_and_each_has_its_own_answer(
    database: Database, clock: FakeClock, queries: list[str]
) -> None:
    patients = [f"Patient/{number}" for number in range(60)]
    for patient in patients:
        await say(database, clock, patient, patient.encode())
    lookups = ConsentLookups(database)
    found = await asyncio.gather(*(lookups.known(SITE, EHR, [p, "Patient/x"]) for p in patients))
    assert [each[p].bodies for p, each in zip(patients, found, strict=True)] == [
        (p.encode(),) for p in patients
    ]
    assert all(each["Patient/x"].as_of is None for each in found)
    assert len(queries) <= 2


async def test_what_was_said_before_one_asks_is_seen(database: Database, clock: FakeClock) -> None:
    """Though another query is under way, which does not see it."""
    lookups = ConsentLookups(database)
    for number in range(20):
        running = [asyncio.create_task(lookups.known(SITE, EHR, ["Patient/1"])) for _ in range(3)]
        await asyncio.sleep(0)
        await say(database, clock, "Patient/1", str(number).encode())
        known = await lookups.known(SITE, EHR, ["Patient/1"])
        assert known["Patient/1"].bodies == (str(number).encode(),)
        await asyncio.gather(*running)


async def test_nobody_waits_for_a_store_that_is_gone(database: Database) -> None:
    lookups = ConsentLookups(database)
    await lookups.known(SITE, EHR, ["Patient/1"])
    await database.close()
    found = await asyncio.gather(
        *(lookups.known(SITE, EHR, ["Patient/1"]) for _ in range(5)), return_exceptions=True
    )
    assert [type(each) for each in found] == [Unavailable] * 5
    assert len({id(each) for each in found}) == 5


async def test_one_who_gives_up_leaves_the_others_their_answer(database: Database) -> None:
    lookups = ConsentLookups(database)
    leaving = asyncio.create_task(lookups.known(SITE, EHR, ["Patient/1"]))
    staying = asyncio.create_task(lookups.known(SITE, EHR, ["Patient/2"]))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying)["Patient/2"].bodies == ()
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def moved(database: Database) -> int:
    """Another epoch."""
    async with database.bookkeeping() as transaction:
        await bump_epoch(transaction, database.tenant)
    return await current_epoch(database)


async def test_what_was_found_will_do_while_the_epoch_stands(
    database: Database, clock: FakeClock, queries: list[str]
) -> None:
    await say(database, clock, "Patient/1", b"one")
    lookups, epoch = ConsentLookups(database), await moved(database)
    await lookups.known(SITE, EHR, ["Patient/1"])
    asked = len(queries)
    again = await lookups.known(SITE, EHR, ["Patient/1"], epoch=epoch)
    assert again["Patient/1"].bodies == (b"one",)
    assert len(queries) == asked
    both = await lookups.known(SITE, EHR, ["Patient/1", "Patient/2"], epoch=epoch)
    assert (both["Patient/1"].bodies, both["Patient/2"].bodies) == ((b"one",), ())
    assert len(queries) == asked + 1, "only what was not known was asked for"


@pytest.mark.parametrize("which", ["site", "connection", "epoch", "no epoch", "since"])
async def test_what_was_found_will_not_do_for_anything_else(
    database: Database, clock: FakeClock, queries: list[str], which: str
) -> None:
    await say(database, clock, "Patient/1", b"one")
    lookups, epoch = ConsentLookups(database), await moved(database)
    await lookups.known(SITE, EHR, ["Patient/1"])
    asked = len(queries)
    await lookups.known(
        "south" if which == "site" else SITE,
        "south-ehr" if which == "connection" else EHR,
        ["Patient/1"],
        epoch={"epoch": epoch + 1, "no epoch": None}.get(which, epoch),
        since=clock() if which == "since" else None,
    )
    assert len(queries) == asked + 1


async def test_change_of_a_consent_is_seen_by_whom_the_new_epoch_was_told(
    database: Database, clock: FakeClock
) -> None:
    await say(database, clock, "Patient/1", b"one")
    lookups, epoch = ConsentLookups(database), await moved(database)
    await lookups.known(SITE, EHR, ["Patient/1"], epoch=epoch)
    await say(database, clock, "Patient/1", b"two")
    now = await current_epoch(database)
    assert now > epoch
    known = await lookups.known(SITE, EHR, ["Patient/1"], epoch=now)
    assert known["Patient/1"].bodies == (b"two",)
