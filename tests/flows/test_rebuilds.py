"""A record made again from the inbox: what would change, and that the switch loses nothing."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.errors import ConfigError, NotFound, VersionConflict
from chartgate.flows import events, feed_replay, rebuilds
from chartgate.flows.rebuilds import Change, Report
from chartgate.gate import Gate
from chartgate.model.principal import Process
from chartgate.store.database import Database
from chartgate.store.quarantine import Selection
from chartgate.store.rebuilds import Rebuild, RebuildStore
from chartgate.store.record import RecordStore
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt, header, message, patient, siu, visit
from tests.flows.feeds import FEED, accept, actions, feed_gate
from tests.flows.test_events import process_all

WHO = Process(id="cli/olu")
RULES = "north.toml"
# This site sends telephones at work in PID-13.
MOVED = '[[move]]\nfrom = "PID-13"\nto = "PID-14"\n'
CODED = '[codes.AdministrativeSex]\nF = "other"\n'
FILTERED = '[[filter]]\ntrigger = "ADT^A08"\nif = "PID-3 is p1"\nreason = "training patients"\n'
# A telephone makes a message one that cannot be taken.
WRONG = '[[move]]\nfrom = "PID-5"\nto = "PID-7"\nif = "PID-13 valued"\n'


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The running file of overrides."""
    file = tmp_path / RULES
    file.write_text("", encoding="utf-8")
    return file


@pytest.fixture
def gate(database: Database, clock: FakeClock, tmp_path: Path, rules: Path) -> Gate:
    return feed_gate(database, clock, tmp_path, id_from="identifier", overrides=RULES)


def nothing(done: int, total: int) -> None:
    """Progress that nobody watches."""


async def run(gate: Gate) -> Rebuild:
    return await rebuilds.run(gate, FEED, progress=nothing)


async def report(gate: Gate) -> Report:
    return await rebuilds.report(gate, FEED, progress=nothing)


async def switch(gate: Gate) -> Rebuild:
    return await rebuilds.switch(gate, WHO, FEED, progress=nothing)


async def rebuilt(gate: Gate, overrides: str | None = None) -> Report:
    """Begun and run; what would change."""
    await rebuilds.start(gate, WHO, FEED, overrides=overrides)
    await run(gate)
    return await report(gate)


async def filled(gate: Gate, *raws: bytes) -> None:
    assert set(await accept(gate, *raws)) == {"AA"}
    await process_all(gate)


async def three_patients(gate: Gate) -> None:
    await filled(
        gate,
        adt("A01", "1", mrn="p1"),
        adt("A01", "2", mrn="p2"),
        adt("A08", "3", mrn="p1"),
        message(header("ADT^A08", "4"), "PID|1||p3^^^NORTH^MR||Without^Phone||19700101|M"),
        siu("S12", "5", mrn="p2"),
    )


async def current(gate: Gate, reference: str) -> Any:
    copy = await RecordStore(gate.database).current(FEED, reference)
    return orjson.loads(copy.body) if copy else None


async def record(gate: Gate) -> dict[str, bytes]:
    query = (
        "SELECT resource_type || '/' || id AS reference, digest FROM record "
        "WHERE tenant = $1 AND connection = $2"
    )
    return {row["reference"]: row["digest"] for row in await gate.database.fetch(query, FEED)}


def brief(changes: tuple[Change, ...]) -> list[tuple[str, str, str, int]]:
    return [(c.resource_type, c.kind, c.element, c.count) for c in changes]


async def test_same_tables_change_nothing(gate: Gate) -> None:
    await three_patients(gate)
    found = await rebuilt(gate)
    assert (found.changes, found.refused, found.remaining) == ((), (), 0)
    assert (found.rebuild.folded, found.rebuild.filtered, found.rebuild.refused) == (5, 0, 0)


async def test_moved_field_shows_exactly_the_elements_that_it_changes(gate: Gate) -> None:
    await three_patients(gate)
    found = await rebuilt(gate, MOVED)
    assert found.changes == (
        Change(
            resource_type="Patient",
            kind="changed",
            element="telecom",
            count=2,
            examples=("Patient/p1", "Patient/p2"),
        ),
    )


async def test_local_codes_show_exactly_the_elements_that_they_change(gate: Gate) -> None:
    await three_patients(gate)
    found = await rebuilt(gate, CODED)
    assert brief(found.changes) == [("Patient", "changed", "gender", 2)]


async def test_filter_shows_what_goes_and_counts_what_is_left_out(gate: Gate) -> None:
    await filled(gate, adt("A08", "1", mrn="p1"), adt("A08", "2", mrn="p2"))
    found = await rebuilt(gate, FILTERED)
    assert brief(found.changes) == [("Encounter", "removed", "", 1), ("Patient", "removed", "", 1)]
    assert (found.rebuild.folded, found.rebuild.filtered) == (1, 1)


async def test_more_tables_show_what_comes(gate: Gate) -> None:
    rule = "[[row]]\ntable = \"ZPI Patient\"\nrow = 'ZPI-1 | language | string'\n"
    await filled(gate, message(header("ADT^A28"), patient("p1"), "ZPI|de"), adt("A28", "2"))
    found = await rebuilt(gate, rule)
    assert brief(found.changes) == [("Patient", "changed", "language", 1)]


async def test_message_that_these_tables_cannot_take_is_listed_with_its_reason(gate: Gate) -> None:
    await three_patients(gate)
    found = await rebuilt(gate, '[[move]]\nfrom = "PID-5"\nto = "PID-7"\nif = "PID-3 is p3"\n')
    assert [(one.message, one.reason) for one in found.refused] == [(4, "PID-7 is not a date")]
    assert (found.rebuild.folded, found.rebuild.refused) == (4, 1)
    assert brief(found.changes) == [("Patient", "removed", "", 1)]


async def test_nothing_of_the_running_record_changes_before_the_switch(gate: Gate) -> None:
    await three_patients(gate)
    before = await record(gate)
    await rebuilt(gate, MOVED)
    assert await record(gate) == before
    assert set(await actions(gate.database)) >= {"feed.rebuild-start"}


async def test_rebuild_that_was_interrupted_goes_on_where_it_stood(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three_patients(gate)
    monkeypatch.setattr(rebuilds, "BATCH_MAX", 2)
    await rebuilds.start(gate, WHO, FEED, overrides=MOVED)

    def stop(done: int, total: int) -> None:
        assert (done, total) == (2, 5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rebuilds.run(gate, FEED, progress=stop)
    assert (await rebuilds.get(gate, FEED)).folded == 2
    seen: list[tuple[int, int]] = []
    await rebuilds.run(gate, FEED, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 5), (5, 5)]
    assert brief((await report(gate)).changes) == [("Patient", "changed", "telecom", 2)]


async def test_batches_of_one_message_give_the_same_record(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three_patients(gate)
    monkeypatch.setattr(rebuilds, "BATCH_MAX", 1)
    assert (await rebuilt(gate)).changes == ()


async def test_two_that_run_one_rebuild_fold_each_message_once(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three_patients(gate)
    monkeypatch.setattr(rebuilds, "BATCH_MAX", 1)
    await rebuilds.start(gate, WHO, FEED, overrides=None)
    await asyncio.gather(run(gate), run(gate))
    assert (await rebuilds.get(gate, FEED)).folded == 5
    assert (await report(gate)).changes == ()


async def test_switch_puts_the_rebuilt_record_in_the_place_of_the_running_one(
    gate: Gate, rules: Path
) -> None:
    await three_patients(gate)
    old = await record(gate)
    await rebuilt(gate, MOVED)
    rules.write_text(MOVED, encoding="utf-8")
    await switch(gate)
    phone = (await current(gate, "Patient/p1"))["telecom"][0]
    assert (phone["id"], phone["use"]) == ("PID-14.1", "work")
    version = await RecordStore(gate.database).version(FEED, "Patient/p1", old["Patient/p1"])
    assert version is not None, "what somebody once saw stays"
    with pytest.raises(NotFound):
        await rebuilds.get(gate, FEED)
    shadow = "SELECT count(*) FROM record_version WHERE tenant = $1 AND connection <> $2"
    assert await gate.database.fetch_value(shadow, FEED) == 0
    done = await actions(gate.database)
    assert (done["feed.rebuild-start"], done["feed.rebuild-switch"]) == (1, 1)


async def test_switched_record_keeps_with_each_version_its_message_and_rows(
    gate: Gate, rules: Path
) -> None:
    await filled(gate, adt("A08", "1", mrn="p1"))
    await rebuilt(gate, MOVED)
    rules.write_text(MOVED, encoding="utf-8")
    revision = (await switch(gate)).revision
    digest = (await record(gate))["Patient/p1"]
    origin = await RecordStore(gate.database).origin(FEED, "Patient/p1", digest)
    assert origin is not None
    assert origin[0] == 1
    assert origin[1].startswith(revision)


async def test_resource_that_the_rebuilt_record_does_not_know_is_current_no_more(
    gate: Gate, rules: Path
) -> None:
    await filled(gate, adt("A08", "1", mrn="p1"), adt("A08", "2", mrn="p2"))
    await rebuilt(gate, FILTERED)
    rules.write_text(FILTERED, encoding="utf-8")
    await switch(gate)
    assert set(await record(gate)) == {"Patient/p2", "Encounter/Vp2"}


async def test_next_message_is_laid_over_the_switched_record(gate: Gate, rules: Path) -> None:
    await three_patients(gate)
    await rebuilt(gate, MOVED)
    rules.write_text(MOVED, encoding="utf-8")
    await switch(gate)
    await filled(gate, message(header("ADT^A08", "9"), "PID|1||p1^^^NORTH^MR||New^Name"))
    found = await current(gate, "Patient/p1")
    assert found["name"][0]["family"] == "New"
    assert found["telecom"][0]["id"] == "PID-14.1"
    assert (await rebuilt(gate)).changes == ()


async def test_messages_that_come_meanwhile_are_in_the_switched_record(
    gate: Gate, rules: Path
) -> None:
    await three_patients(gate)
    await rebuilt(gate, MOVED)
    await filled(gate, adt("A08", "6", mrn="p4"))
    assert (await report(gate)).remaining == 1
    rules.write_text(MOVED, encoding="utf-8")
    await filled(gate, adt("A08", "7", mrn="p5"))
    assert await accept(gate, adt("A08", "8", mrn="p6")) == ["AA"]  # still queued
    await switch(gate)
    await process_all(gate)
    for mrn in ("p1", "p4", "p5", "p6"):
        assert (await current(gate, f"Patient/{mrn}"))["telecom"][0]["id"] == "PID-14.1", mrn
    assert (await rebuilt(gate)).changes == ()


async def test_message_that_is_delivered_behind_the_cursor_is_not_passed_over(
    gate: Gate, rules: Path
) -> None:
    """Replayed: it was quarantined when the rebuild came past it."""
    rules.write_text(WRONG, encoding="utf-8")
    await filled(gate, adt("A08", "1", mrn="p1"), *without_phone("2", "p2"))
    await rebuilds.start(gate, WHO, FEED, overrides="")
    assert ((await run(gate)).cursor, (await report(gate)).rebuild.folded) == (2, 1)
    rules.write_text("", encoding="utf-8")
    await replayed(gate)
    assert (await report(gate)).remaining == 1
    await run(gate)
    found = await report(gate)
    assert (found.remaining, found.rebuild.folded, found.changes) == (0, 2, ())


async def test_replayed_message_fills_what_nobody_said_since(gate: Gate, rules: Path) -> None:
    """It came before what the record holds, and is laid over it all the same."""
    rules.write_text(WRONG, encoding="utf-8")
    await filled(gate, adt("A08", "1", mrn="p1"))
    clock = gate.clock
    assert isinstance(clock, FakeClock)
    clock.advance(60)
    [later] = without_phone("2", "p1")
    await filled(gate, later.replace(b"20240102030405", b"20240102040405"))
    rules.write_text("", encoding="utf-8")
    await replayed(gate)
    found = await current(gate, "Patient/p1")
    assert found["telecom"][0]["value"] == "555-0100"
    assert found["name"][0]["family"] == "Later"


def without_phone(control_id: str, mrn: str) -> list[bytes]:
    return [message(header("ADT^A08", control_id), f"PID|1||{mrn}^^^NORTH^MR||Later^Name")]


async def replayed(gate: Gate) -> None:
    """What was quarantined is delivered."""
    plan = await feed_replay.plan_replay(gate, Selection(reason="content"))
    assert await feed_replay.replay(gate, WHO, plan) == 1
    await process_all(gate)


async def test_run_stops_before_a_message_that_still_waits_and_a_switch_does_not(
    gate: Gate, rules: Path
) -> None:
    """One patient's messages are never folded out of order, whatever waits."""
    await filled(gate, adt("A08", "1", mrn="p1"))
    assert await accept(gate, adt("A08", "2", mrn="p2"), adt("A08", "3", mrn="p3")) == ["AA", "AA"]
    deliver = "UPDATE inbox SET status = 'delivered' WHERE tenant = $1 AND id = 3"
    await gate.database.fetch(deliver)
    await rebuilds.start(gate, WHO, FEED, overrides="")
    assert (await run(gate)).cursor == 1
    await switch(gate)
    assert set(await record(gate)) >= {"Patient/p1", "Patient/p3"}
    await process_all(gate)
    assert "Patient/p2" in await record(gate)


async def test_switch_is_refused_while_the_feed_goes_by_other_tables(gate: Gate) -> None:
    await three_patients(gate)
    before = await record(gate)
    await rebuilt(gate, MOVED)
    with pytest.raises(VersionConflict, match="same file of overrides"):
        await switch(gate)
    assert await record(gate) == before
    assert "feed.rebuild-switch" not in await actions(gate.database)


async def test_rebuild_whose_tables_are_gone_says_so(gate: Gate, rules: Path) -> None:
    await three_patients(gate)
    await rebuilds.start(gate, WHO, FEED, overrides=None)
    rules.write_text(CODED, encoding="utf-8")
    with pytest.raises(ConfigError, match="drop it and start anew"):
        await run(gate)
    assert (await report(gate)).refused == ()
    await rebuilds.drop(gate, WHO, FEED)


async def test_drop_leaves_nothing_but_the_running_record(gate: Gate) -> None:
    await three_patients(gate)
    before = await record(gate)
    await rebuilt(gate, MOVED)
    await rebuilds.drop(gate, WHO, FEED)
    assert await record(gate) == before
    query = """
        SELECT count(*) FROM (
          SELECT connection FROM record_version WHERE tenant = $1 AND connection <> $2
          UNION ALL SELECT connection FROM record WHERE tenant = $1 AND connection <> $2
          UNION ALL SELECT connection FROM rebuild WHERE tenant = $1
          UNION ALL SELECT connection FROM rebuild_message WHERE tenant = $1) AS left_over"""
    assert await gate.database.fetch_value(query, FEED) == 0
    assert (await actions(gate.database))["feed.rebuild-drop"] == 1
    with pytest.raises(NotFound, match="feed rebuild start"):
        await rebuilds.drop(gate, WHO, FEED)


async def test_second_rebuild_of_a_connection_is_refused(gate: Gate) -> None:
    await rebuilds.start(gate, WHO, FEED, overrides=None)
    with pytest.raises(VersionConflict, match="is there already"):
        await rebuilds.start(gate, WHO, FEED, overrides=MOVED)
    assert [(one.connection, left) for one, left in await rebuilds.under_way(gate)] == [(FEED, 0)]
    assert (await actions(gate.database))["feed.rebuild-start"] == 1


async def test_broken_rules_and_unknown_connections_begin_nothing(gate: Gate) -> None:
    with pytest.raises(ConfigError, match="the file of overrides"):
        await rebuilds.start(gate, WHO, FEED, overrides="[[mov]]\n")
    with pytest.raises(ConfigError, match="configured no more"):
        await rebuilds.start(gate, WHO, "south-adt", overrides=None)
    with pytest.raises(NotFound):
        await run(gate)
    assert await RebuildStore(gate.database).all() == ()


async def test_switch_amid_processing_loses_nothing(
    gate: Gate, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers process what comes while the record is switched; a rebuild from the inbox
    afterwards finds nothing to change."""
    monkeypatch.setattr(rebuilds, "BATCH_MAX", 7)
    monkeypatch.setattr(events, "PROCESS_MAX", 5)
    rules.write_text(MOVED, encoding="utf-8")
    switched = asyncio.Event()

    async def send() -> None:
        number = 0
        while not switched.is_set() or number < 40:
            number += 1
            await accept(
                gate,
                *(
                    message(
                        header("ADT^A08", f"{number}-{who}"),
                        patient(f"p{who}"),
                        visit(f"V{number}-{who}"),
                    )
                    for who in range(6)
                ),
            )

    async def work(name: str) -> None:
        while not switched.is_set():
            await events.process_next(gate, name)
            await asyncio.sleep(0)

    async def change() -> None:
        await rebuilds.start(gate, WHO, FEED, overrides=None)
        for _ in range(3):
            await run(gate)
        await switch(gate)
        switched.set()

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for each in (send(), work("one"), work("two"), change()):
            tasks.create_task(each)
    await process_all(gate)
    assert (await rebuilt(gate)).changes == ()
    known = await record(gate)
    assert {f"Encounter/V{number}-{who}" for number in range(1, 41) for who in range(6)} <= set(
        known
    )
