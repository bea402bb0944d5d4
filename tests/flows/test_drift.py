"""The watch over schema drift on a real store: found, told once, acknowledged, remembered."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chartgate.config import DriftConfig
from chartgate.errors import Denied, InvalidTransition, NotFound, Unavailable
from chartgate.flows import drift
from chartgate.flows.drift import DriftWatch
from chartgate.formats.hl7v2 import Message, parse
from chartgate.gate import Gate
from chartgate.model.message import Queued
from chartgate.model.principal import Person, Process
from chartgate.store.database import Database
from chartgate.store.drift import DriftStore
from chartgate.testing.clock import FakeClock
from chartgate.testing.varied import Change, Lines, admissions, feed, results
from chartgate.transform.hl7v2.drift import Profile
from tests.flows.feeds import FEED, feed_gate

Kind = Callable[[random.Random, int], Lines]
OPERATOR = Person(id="ada", roles=("operator",), sites=())


@pytest.fixture
async def gate(database: Database, clock: FakeClock, tmp_path: Path) -> Gate:
    return feed_gate(database, clock, tmp_path)


def with_zpi(lines: Lines) -> None:
    lines.append(["ZPI", "1", "x"])


def batch(
    gate: Gate, kind: Kind = admissions, *, count: int, first: int = 1, change: Change | None = None
) -> list[tuple[Queued, Message]]:
    found = []
    for number, raw in enumerate(feed(kind, count=count, first=first, change=change), start=first):
        message = parse(raw)
        queued = Queued(
            id=number,
            connection=FEED,
            message_type=message.message_type,
            raw=raw,
            received_at=gate.clock(),
        )
        found.append((queued, message))
    return found


async def learned(gate: Gate) -> DriftWatch:
    """A watch that has seen 400 ordinary messages."""
    watch = DriftWatch(gate)
    watch.observe(batch(gate, count=400))
    await watch.settle()
    return watch


async def audited(gate: Gate) -> list[dict[str, object]]:
    query = """SELECT body FROM audit_event WHERE tenant = $1 AND action LIKE 'feed.drift%'
               ORDER BY id"""
    return [json.loads(row["body"]) for row in await gate.database.fetch(query)]


async def test_change_is_kept_once_with_an_audit_event_and_goes_on_counting(gate: Gate) -> None:
    watch = await learned(gate)
    assert await drift.findings(gate) == ()
    watch.observe(batch(gate, count=100, first=401, change=with_zpi))
    await watch.settle()
    [one] = await drift.findings(gate)
    assert (one.kind, one.position, one.count) == ("new-segment", "ZPI", 100)
    assert one.feed == (FEED, "ADT1|NORTH", "ADT^A08")
    assert one.examples == (401, 402, 403, 404, 405)
    watch.observe(batch(gate, count=50, first=501, change=with_zpi))
    await watch.settle(everything=True)
    assert [again.count for again in await drift.findings(gate)] == [150]
    [event] = await audited(gate)
    assert event["entities"] == [f"DriftFinding/{one.id}", "Message/401"]
    assert event["details"] == {
        "connection": FEED,
        "sender": "ADT1|NORTH",
        "message_type": "ADT^A08",
        "position": "ZPI",
        "kind": "new-segment",
    }


async def test_senders_and_types_are_watched_apart(gate: Gate) -> None:
    watch = DriftWatch(gate)
    both = zip(batch(gate, count=400), batch(gate, results, count=400), strict=True)
    watch.observe([one for pair in both for one in pair])
    await watch.settle()
    watch.observe(batch(gate, results, count=100, first=401, change=with_zpi))
    await watch.settle()
    assert [one.feed.message_type for one in await drift.findings(gate)] == ["ORU^R01"]


async def test_worker_that_starts_again_has_learned_already(gate: Gate) -> None:
    watch = await learned(gate)
    await watch.settle(everything=True)
    again = DriftWatch(gate)
    again.observe(batch(gate, count=100, first=401, change=with_zpi))
    await again.settle()
    assert [one.position for one in await drift.findings(gate)] == ["ZPI"]


async def test_finding_that_two_workers_make_is_one_row(gate: Gate) -> None:
    await (await learned(gate)).settle(everything=True)
    for first in (401, 501):
        watch = DriftWatch(gate)
        watch.observe(batch(gate, count=100, first=first, change=with_zpi))
        await watch.settle()
    [one] = await drift.findings(gate)
    assert one.count == 200


async def test_acknowledged_change_is_normal_for_workers_old_and_new(gate: Gate) -> None:
    watch = await learned(gate)
    watch.observe(batch(gate, count=100, first=401, change=with_zpi))
    await watch.settle()
    [one] = await drift.findings(gate)
    closed = await drift.acknowledge(gate, OPERATOR, one.id)
    assert closed.acknowledged_by == "person:ada"
    assert (await audited(gate))[-1]["agent"] == "person:ada"
    watch.observe(batch(gate, count=200, first=501, change=with_zpi))
    await watch.settle(everything=True)
    new = DriftWatch(gate)
    new.observe(batch(gate, count=300, first=701, change=with_zpi))
    await new.settle(everything=True)
    assert await drift.findings(gate) == ()
    assert len(await drift.findings(gate, with_acknowledged=True)) == 1


async def test_change_found_while_it_was_acknowledged_is_not_opened_again(gate: Gate) -> None:
    """Another worker sees it before it has read that a person took it for normal."""
    await (await learned(gate)).settle(everything=True)
    one_worker, other = DriftWatch(gate), DriftWatch(gate)
    for watch in (one_worker, other):
        watch.observe(batch(gate, count=1, first=401))
        await watch.settle()
        watch.observe(batch(gate, count=100, first=402, change=with_zpi))
    await one_worker.settle()
    [one] = await drift.findings(gate)
    await drift.acknowledge(gate, OPERATOR, one.id)
    await other.settle()
    assert await drift.findings(gate) == ()


async def test_acknowledging_is_for_operators_and_once(gate: Gate) -> None:
    watch = await learned(gate)
    watch.observe(batch(gate, count=100, first=401, change=with_zpi))
    await watch.settle()
    [one] = await drift.findings(gate)
    await gate.audit.start()
    with pytest.raises(Denied, match="role operator"):
        await drift.acknowledge(gate, Person(id="bo", roles=("scheduler",), sites=()), one.id)
    await gate.audit.close()
    assert (await audited(gate))[-1]["outcome"] == "denied"
    await drift.acknowledge(gate, Process(id="cli/ada"), one.id)
    with pytest.raises(InvalidTransition, match="already"):
        await drift.acknowledge(gate, OPERATOR, one.id)
    with pytest.raises(NotFound, match="no drift finding 999"):
        await drift.acknowledge(gate, OPERATOR, 999)


async def test_what_the_store_did_not_take_is_written_later(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = await learned(gate)
    watch.observe(batch(gate, count=100, first=401, change=with_zpi))

    async def gone(*_: object) -> bytes:
        raise Unavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(DriftStore, "lock_profile", gone)
        with pytest.raises(Unavailable):
            await watch.settle()
    assert await drift.findings(gate) == ()
    await watch.settle()
    assert [one.count for one in await drift.findings(gate)] == [100]


async def test_settling_waits_its_time(gate: Gate, clock: FakeClock) -> None:
    watch = await learned(gate)
    assert await watch.settle_next() == 0
    watch.observe(batch(gate, count=100, first=401, change=with_zpi))
    assert await watch.settle_next() == 0
    assert await drift.findings(gate) == ()
    clock.advance(gate.config.drift.settle_s)
    assert await watch.settle_next() == 0
    assert len(await drift.findings(gate)) == 1


async def test_senders_beyond_the_limit_are_not_watched(gate: Gate) -> None:
    small = replace(gate, config=replace(gate.config, drift=DriftConfig(profiles_max=1)))
    watch = DriftWatch(small)
    watch.observe(batch(gate, count=1))
    await watch.settle()
    watch.observe(batch(gate, results, count=1))
    await watch.settle(everything=True)
    rows = await gate.database.fetch("SELECT message_type FROM drift_profile WHERE tenant = $1")
    assert [row["message_type"] for row in rows] == ["ADT^A08"]


async def test_fault_of_the_watch_does_not_reach_the_feed(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = await learned(gate)
    looked = []

    def broken(*_: object, **__: object) -> None:
        looked.append(True)
        raise ValueError("Canary")

    monkeypatch.setattr(Profile, "observe", broken)
    watch.observe(batch(gate, count=2, first=401))
    assert len(looked) == 2
