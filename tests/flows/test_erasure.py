"""Erasing a patient: nothing readable is left, nothing else is touched, the ledger still verifies."""

import asyncio
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.errors import ConfigError, Invalid, InvalidTransition, NotFound, VersionConflict
from chartgate.flows import erasure, events, intake
from chartgate.flows.consent_records import bring_in
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.message import Received
from chartgate.model.principal import Person, Process
from chartgate.model.resource import Copy
from chartgate.store.budgets import BudgetStore
from chartgate.store.database import Database, open_database
from chartgate.store.erasures import ErasureStore
from chartgate.store.governance import current_epoch
from chartgate.store.holds import HoldStore
from chartgate.store.inbox import InboxStore
from chartgate.store.lookups import Lookups
from chartgate.store.proposals import ProposalStore
from chartgate.store.quarantine import QuarantineStore, Selection
from chartgate.store.record import RecordStore
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import header, message, patient, visit
from tests.conftest import MASTERS
from tests.flows.clinics import SITE, Clinic, Killed
from tests.flows.feeds import FEED, feed_gate
from tests.flows.ledgers import open_ledger
from tests.flows.test_consented import dissent
from tools import verify_ledger

WHO = Person(id="privacy-officer", roles=(), sites=())
ADA, BEN = "Patient/1001", "Patient/2002"
REASON = "asked for it"


def about(mrn: str, family: str, control_id: str, trigger: str = "ADT^A01") -> bytes:
    head = [header(trigger, control_id), "EVN|A01|20240102030405"]
    return message(*head, patient(mrn, family), visit(f"V{mrn}"))


@pytest.fixture
def gate(database: Database, clock: FakeClock, tmp_path: Path) -> Gate:
    return feed_gate(database, clock, tmp_path, id_from="identifier")


async def take_in(gate: Gate, *raws: bytes) -> None:
    await intake.accept(gate, [Received(connection=FEED, raw=raw) for raw in raws])
    while await events.process_next(gate):
        pass


async def lines_with(database: Database, word: str) -> list[str]:
    """Tables in which the word stands, as text or in bytes."""
    tables = (
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname !~ '^pg_|^sql_' AND $1 <> ''"
    )
    found = []
    for row in await database.fetch(tables):
        name, hexed = row["relname"], word.encode().hex()
        query = f"SELECT count(*) FROM {name} t WHERE $1 <> '' AND t::text ~ '{word}|{hexed}'"  # noqa: S608
        if await database.fetch_value(query):
            found.append(name)
    return found


async def erase(gate: Gate, patient_: str = ADA) -> dict[str, int]:
    return (await erasure.erase(gate, WHO, SITE, patient_, reason=REASON)).counts


async def current(gate: Gate, reference: str, connection: str = FEED) -> bytes | None:
    copy = await RecordStore(gate.database).current(connection, reference)
    return copy.body if copy else None


async def test_erased_patient_is_gone_and_the_other_is_as_before(
    gate: Gate, database: Database
) -> None:
    await take_in(gate, about("1001", "Lovelace", "1"), about("2002", "Babbage", "2"))
    assert b"Lovelace" in (await current(gate, ADA) or b"")
    before = await current(gate, BEN)
    counts = await erase(gate)
    assert counts["versions"] == counts["current"] == 2
    assert counts["messages"] == 1
    assert await current(gate, ADA) is None
    assert await current(gate, BEN) == before
    inbox = InboxStore(database)
    assert await inbox.raw(1) is None
    assert b"Babbage" in (await inbox.raw(2) or b"")
    assert await database.fetch_value("SELECT count(*) FROM patient_key WHERE tenant = $1") == 2


async def test_erased_patient_has_no_consents_and_was_met_by_nobody(
    gate: Gate, database: Database
) -> None:
    await take_in(gate, about("1001", "Lovelace", "1"))
    for whose in (ADA, BEN):
        resource = {**dissent(whose), "id": whose.replace("/", "-")}
        await bring_in(gate, Process(id="cli"), SITE, [resource])
        await BudgetStore(database).meet(
            "client:x", [f"{FEED}/{whose}"], most=9, since=gate.clock(), now=gate.clock()
        )
    await erase(gate)
    for table in ("consent_local", "patient_met"):
        left = await database.fetch(f"SELECT patient FROM {table} WHERE tenant = $1")  # noqa: S608
        assert [row["patient"].endswith(BEN) for row in left] == [True]


async def test_nothing_about_a_patient_ever_lies_open_in_any_table(
    gate: Gate, database: Database
) -> None:
    """Before the erasure and after it: what a file or a backup would show."""
    broken = about("1001", "Lovelace", "3").replace(b"19800102", b"19801399")
    await take_in(gate, about("1001", "Lovelace", "1"), broken, broken[:-40])
    assert await lines_with(database, "Lovelace") == []
    assert await lines_with(database, "Testville") == []
    assert await lines_with(database, "ADT1") != []  # the look finds what is there
    await erase(gate)
    assert await lines_with(database, "Lovelace") == []


async def test_messages_that_never_became_anything_are_emptied_too(
    gate: Gate, database: Database
) -> None:
    """Quarantined, filtered, and another trigger's: what they name tells."""
    broken = about("1001", "Lovelace", "2").replace(b"19800102", b"19801399")
    filtered = about("1001", "Lovelace", "3", "ZZZ^Z01")
    await take_in(gate, about("1001", "Lovelace", "1"), broken, filtered)
    statuses = {"delivered": 1, "quarantined": 1, "filtered": 1}
    assert await InboxStore(database).counts() == statuses
    counts = await erase(gate)
    assert (counts["messages"], counts["quarantine"]) == (3, 1)
    left = "SELECT count(*) FROM inbox WHERE tenant = $1 AND raw <> ''"
    assert await database.fetch_value(left) == 0
    assert await InboxStore(database).counts() == statuses  # in = delivered + …, for ever
    with pytest.raises(NotFound):
        await QuarantineStore(database).get(1)
    plan = Selection(filtered=True)
    assert await QuarantineStore(database).replayable(plan, after=0, limit=9) == ()


async def test_what_comes_after_an_erasure_is_stored_anew(gate: Gate) -> None:
    await take_in(gate, about("1001", "Lovelace", "1"))
    same = await current(gate, ADA)
    await erase(gate)
    await take_in(gate, about("1001", "Lovelace", "2"))
    assert await current(gate, ADA) == same
    await erase(gate)
    assert await current(gate, ADA) is None


async def test_twice_is_once(gate: Gate, database: Database) -> None:
    await take_in(gate, about("1001", "Lovelace", "1"))
    assert any((await erase(gate)).values())
    assert not any((await erase(gate)).values())
    assert await ErasureStore(database).next_open() is None


async def test_nothing_known_about_a_patient_is_no_mistake(gate: Gate) -> None:
    assert not any((await erase(gate, "Patient/nobody")).values())


@pytest.mark.parametrize(
    ("site", "name", "reason", "error"),
    [
        ("no-such-site", ADA, REASON, ConfigError),
        (SITE, "Slot/1", REASON, Invalid),
        (SITE, "a b", REASON, Invalid),
        (SITE, ADA, " ", Invalid),
        (SITE, ADA, "x" * 501, Invalid),
    ],
)
async def test_what_is_asked_wrongly_changes_nothing(
    gate: Gate, site: str, name: str, reason: str, error: type[Exception]
) -> None:
    await take_in(gate, about("1001", "Lovelace", "1"))
    with pytest.raises(error):
        await erasure.erase(gate, WHO, site, name, reason=reason)
    assert await current(gate, ADA)


@pytest.mark.parametrize(("held", "site"), [(ADA, None), (ADA, SITE), (None, None), (None, SITE)])
async def test_legal_hold_beats_erasure_until_it_is_lifted(
    gate: Gate, database: Database, held: str | None, site: str | None
) -> None:
    await take_in(gate, about("1001", "Lovelace", "1"))
    hold = await erasure.place_hold(gate, WHO, patient=held, site=site, reason="docket 7")
    with pytest.raises(InvalidTransition, match=hold.id):
        await erase(gate)
    assert await current(gate, ADA)
    denied = "SELECT outcome FROM audit_event WHERE tenant = $1 AND action = 'vault.erase'"
    assert [row["outcome"] for row in await database.fetch(denied)] == ["denied"]
    await erasure.lift_hold(gate, WHO, hold.id, reason="settled")
    with pytest.raises(NotFound):
        await erasure.lift_hold(gate, WHO, hold.id, reason="settled")
    await erase(gate)
    assert await current(gate, ADA) is None
    assert [h.lift_reason for h in await HoldStore(database).all(lifted=True)] == ["settled"]


@pytest.mark.parametrize(("held", "site"), [(BEN, None), (ADA, "another-site")])
async def test_hold_on_something_else_does_not_stand_in_the_way(
    gate: Gate, held: str, site: str | None
) -> None:
    await take_in(gate, about("1001", "Lovelace", "1"))
    await erasure.place_hold(gate, WHO, patient=held, site=site, reason="docket 7")
    await erase(gate)
    assert await current(gate, ADA) is None


async def test_message_that_waits_is_processed_first(gate: Gate) -> None:
    await take_in(gate, about("1001", "Lovelace", "1"))
    raw = about("1001", "Lovelace", "2")
    await intake.accept(gate, [Received(connection=FEED, raw=raw)])
    assert (await erasure.look(gate, SITE, ADA)).hindrances
    with pytest.raises(InvalidTransition, match="wait to be processed"):
        await erase(gate)


async def test_dry_run_says_what_there_is_and_changes_nothing(gate: Gate) -> None:
    await take_in(gate, about("1001", "Lovelace", "1"))
    found = await erasure.look(gate, SITE, "1001")
    assert (found.patient, found.keys, found.versions, found.messages) == (ADA, 1, 2, 1)
    assert found.hindrances == ()
    assert await current(gate, ADA)


async def test_both_steps_are_audited_with_counts_and_a_digest(
    gate: Gate, database: Database
) -> None:
    await take_in(gate, about("1001", "Lovelace", "1"))
    await erase(gate)
    query = "SELECT body FROM audit_event WHERE tenant = $1 AND action LIKE 'vault.%' ORDER BY id"
    begun, ended = [orjson.loads(row["body"]) for row in await database.fetch(query)]
    assert (begun["agent"], begun["details"]["reason"]) == (WHO.agent, REASON)
    assert begun["details"]["erasure"] == ended["details"]["erasure"]
    assert (ended["details"]["versions"], len(ended["details"]["digest"])) == ("2", 64)


async def test_epoch_moves_so_that_every_process_decides_anew(
    gate: Gate, database: Database
) -> None:
    await take_in(gate, about("1001", "Lovelace", "1"))
    before = await current_epoch(database)
    await erase(gate)
    assert await current_epoch(database) > before


async def test_process_that_holds_the_key_finds_nothing_between_the_two_steps(
    gate: Gate, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the keys were deleted: no row is gone yet, and none can be read."""
    await take_in(gate, about("1001", "Lovelace", "1"))
    copy = await RecordStore(database).current(FEED, ADA)
    assert copy is not None
    with monkeypatch.context() as patch:
        patch.setattr(erasure, "finish", _killed)
        with pytest.raises(Killed):
            await erase(gate)
    assert await current(gate, ADA) is None
    lookups = Lookups(database)
    for known in (None, copy.digest):
        assert (await lookups.current(FEED, "Patient", "1001", known=known)).current is None
    assert await RecordStore(database).version(FEED, ADA, copy.digest) is None
    assert await erasure.finish_next(gate) == 1
    assert await erasure.finish_next(gate) == 0
    assert await database.fetch_value("SELECT count(*) FROM record WHERE tenant = $1") == 0


async def _killed(*_: object) -> None:
    raise Killed


async def test_message_between_the_two_steps_is_kept_and_survives_the_second(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same content as before: its row must get the new key, not keep the old one."""
    await take_in(gate, about("1001", "Lovelace", "1"))
    same = await current(gate, ADA)
    with monkeypatch.context() as patch:
        patch.setattr(erasure, "finish", _killed)
        with pytest.raises(Killed):
            await erase(gate)
    copy = Copy(
        reference=ADA, version="", digest=digest(same or b""), body=same or b"", as_of=gate.clock()
    )
    await RecordStore(gate.database).keep(FEED, [copy])
    await erasure.finish_next(gate)
    assert await current(gate, ADA) == same


async def test_writer_that_began_before_is_waited_for_and_erased(
    gate: Gate, database: Database
) -> None:
    """Held in the middle of its transaction, after it got the key and before it commits."""
    await take_in(gate, about("1001", "Lovelace", "1"))
    body = canonical_bytes({"resourceType": "Patient", "id": "1001", "name": [{"family": "New"}]})
    copy = Copy(reference=ADA, version="9", digest=digest(body), body=body, as_of=gate.clock())
    async with database.bookkeeping() as transaction:
        await RecordStore(database).keep_in(transaction, FEED, [copy])
        erasing = asyncio.create_task(erase(gate))
        await until_waiting(database)
        assert not erasing.done()
    counts = await erasing
    assert counts["versions"] == 3
    assert await current(gate, ADA) is None


async def until_waiting(database: Database) -> None:
    """Somebody waits for an advisory lock."""
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND $1 <> ''"
    async with asyncio.timeout(20):
        while not await database.fetch_value(query):
            await asyncio.sleep(0.01)


async def test_workers_that_write_the_patient_all_the_time_leave_no_dead_row(
    gate: Gate, database: Database
) -> None:
    """Whatever is stored at the end can be read: nothing lies there without its key."""
    await take_in(gate, about("1001", "Lovelace", "0"))
    stopping = asyncio.Event()

    async def write(worker: int) -> None:
        number = 0
        while not stopping.is_set():
            number += 1
            body = canonical_bytes(
                {"resourceType": "Patient", "id": "1001", "n": f"{worker}.{number}"}
            )
            copy = Copy(
                reference=ADA, version="", digest=digest(body), body=body, as_of=gate.clock()
            )
            await RecordStore(database).keep(FEED, [copy])

    writers = [asyncio.create_task(write(n)) for n in range(2)]
    for _ in range(5):
        await erase(gate)
    stopping.set()
    await asyncio.gather(*writers)
    dead = """
        SELECT count(*) FROM record_version v WHERE v.tenant = $1 AND v.sealed_by IS NOT NULL
          AND NOT EXISTS (SELECT FROM patient_key k WHERE k.tenant = $1 AND k.id = v.sealed_by)"""
    assert await database.fetch_value(dead) == 0
    await erase(gate)
    assert await current(gate, ADA) is None


def _erase_and_hang(url: str, folder: str, ready: Any) -> None:
    """In a process of its own: stops for ever where the rows are about to be removed."""

    async def hang(*_: object, **__: object) -> None:
        ready.set()
        await asyncio.Event().wait()

    async def run() -> None:
        database = await open_database(url, tenant="main", masters=MASTERS)
        gate = feed_gate(database, FakeClock(), Path(folder), id_from="identifier")
        ErasureStore.end_in = hang  # type: ignore[method-assign]
        await erase(gate)

    asyncio.run(run())


async def test_kill_9_in_the_middle_of_an_erasure_leaves_one_that_a_worker_finishes(
    gate: Gate, database: Database, database_url: str, tmp_path: Path
) -> None:
    await take_in(gate, about("1001", "Lovelace", "1"))
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_erase_and_hang, args=(database_url, str(tmp_path), ready))
    process.start()
    assert await asyncio.to_thread(ready.wait, 60)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.to_thread(process.join, 20)
    assert await current(gate, ADA) is None
    rows = "SELECT count(*) FROM record_version WHERE tenant = $1"
    assert await database.fetch_value(rows) == 2  # its last transaction came to nothing
    async with asyncio.timeout(20):
        while not await erasure.finish_next(gate):
            await asyncio.sleep(0.05)
    assert await database.fetch_value(rows) == 0


async def test_proposal_of_an_erased_patient_is_there_no_more_and_no_worker_takes_it(
    clinic: Clinic,
) -> None:
    done = await clinic.verified()
    assert done.patient is not None
    await erasure.erase(clinic.gate, WHO, SITE, done.patient, reason=REASON)
    store = ProposalStore(clinic.database)
    with pytest.raises(NotFound):
        await store.get(done.id)
    assert await store.listed(limit=9) == ()
    until = clinic.clock()
    for status in type(done.status):
        assert await store.claim([status], now=until, lease_until=until) is None
    with pytest.raises(VersionConflict):  # somebody who read it before
        await store.move_at_once(
            AuditEvent(recorded=until, action="proposal.rollback", agent=WHO.agent),
            replace(done, receipt=None, compensation=None),
            replace(done, receipt=None, compensation=None),
            at=until,
        )
    query = "SELECT octet_length(rationale) AS n, status FROM proposal WHERE tenant = $1"
    assert [tuple(row) for row in await clinic.database.fetch(query)] == [(0, "verified")]


async def test_proposal_under_way_forbids_it(clinic: Clinic) -> None:
    approved = await clinic.approved()
    assert approved.patient is not None
    with pytest.raises(InvalidTransition, match="1 proposals"):
        await erasure.erase(clinic.gate, WHO, SITE, approved.patient, reason=REASON)
    assert await clinic.get(approved)


async def test_ledger_still_verifies_by_a_stranger_after_an_erasure(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_ledger(database, clock, tmp_path) as ledger:
        gate = feed_gate(database, clock, tmp_path, id_from="identifier")
        await take_in(gate, about("1001", "Lovelace", "1"))
        await ledger.sequence()
        await erase(gate)
        await ledger.sequence()
        assert (await ledger.verify()).holds
        folder = await ledger.export(tmp_path / "out")
    export, witness = str(folder / "export"), str(folder / "witness-copy.txt")
    assert verify_ledger.main([export, "--key", str(ledger.signer.key), "--witness", witness]) == 0
