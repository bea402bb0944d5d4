"""Queuing again what was set aside: once, in order, and accounted for."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from chartgate.errors import Invalid, NotFound, VersionConflict
from chartgate.flows import events, feed_replay, intake, quarantine
from chartgate.flows.feed_replay import plan_replay, replay
from chartgate.flows.quarantine import Operator
from chartgate.gate import Gate
from chartgate.model.message import Received
from chartgate.model.principal import Process
from chartgate.store.database import Database
from chartgate.store.inbox import InboxStore
from chartgate.store.quarantine import QuarantineStore, Selection
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt, header, message, patient
from tests.flows.feeds import FEED, accept, feed_gate
from tests.flows.test_events import dict_of, process_all
from tests.flows.test_quarantine import audited

WHO = Process(id="cli/olu")
CONTENT = Selection(reason="content")


@pytest.fixture
async def gate(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Gate]:
    gate = feed_gate(database, clock, tmp_path, id_from="identifier")
    await gate.audit.start()
    yield gate
    await gate.audit.close()


async def broken(gate: Gate, *patients: str) -> None:
    """Quarantines one message of each patient."""
    raws = [adt("A08", p, mrn=p).replace(b"19800102", b"19801399") for p in patients]
    assert set(await accept(gate, *raws)) == {"AA"}
    await process_all(gate)


async def counts(gate: Gate) -> dict[str, int]:
    return dict(await InboxStore(gate.database).counts())


async def do(gate: Gate, selection: Selection, who: Operator = WHO) -> int:
    return await replay(gate, who, await plan_replay(gate, selection))


async def test_plan_says_what_and_changes_nothing(gate: Gate) -> None:
    await broken(gate, "p1", "p2")
    plan = await plan_replay(gate, CONTENT)
    assert (plan.count, plan.first, plan.last, dict(plan.by_connection)) == (2, 1, 2, {FEED: 2})
    assert await counts(gate) == {"quarantined": 2}
    assert await audited(gate, "message.replay") == []


async def test_replay_once_its_cause_is_gone_delivers_and_closes_the_row(gate: Gate) -> None:
    """Settings that were wrong, and then mended."""
    connections = dict_of(gate.config.connections)
    await accept(gate, adt("A08", "1", mrn="p1"))
    right = connections.pop(FEED)
    await process_all(gate)
    assert await counts(gate) == {"quarantined": 1}
    connections[FEED] = right
    assert await do(gate, Selection(reason="config")) == 1
    await process_all(gate)
    assert await counts(gate) == {"delivered": 1}
    row = await QuarantineStore(gate.database).get(1)
    assert (row.status.value, row.resolved_by) == ("replayed", "process:worker")
    assert await do(gate, Selection(reason="config")) == 0


async def test_replay_is_audited_batch_by_batch_with_counts_and_ids(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_replay, "BATCH_MAX", 2)
    monkeypatch.setattr(feed_replay, "PLAN_MAX", 2)
    await broken(gate, "p1", "p2", "p3")
    said: list[tuple[int, int]] = []
    plan = await plan_replay(gate, CONTENT)
    assert await replay(gate, WHO, plan, progress=lambda done, of: said.append((done, of))) == 3
    first, second = await audited(gate, "message.replay")
    assert first["details"] == {"class": "content", "count": "2", "first": "1", "last": "2"}
    assert second["details"] == {"class": "content", "count": "1", "first": "3", "last": "3"}
    assert first["agent"] == WHO.agent
    assert said == [(2, 3), (3, 3)]


async def test_two_replays_at_the_same_time_queue_each_message_once(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_replay, "BATCH_MAX", 7)
    await broken(gate, *(f"p{n}" for n in range(40)))
    done = await asyncio.gather(*(do(gate, CONTENT) for _ in range(3)))
    assert sum(done) == 40
    found = await audited(gate, "message.replay")
    assert sum(int(event["details"]["count"]) for event in found) == 40
    assert await counts(gate) == {"queued": 40}
    await process_all(gate)
    rows = await gate.database.fetch("SELECT count FROM quarantine WHERE tenant = $1")
    assert [row["count"] for row in rows] == [2] * 40


async def test_message_that_fails_again_while_replayed_is_taken_up_once_only(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a replay beside a worker would never end."""
    monkeypatch.setattr(feed_replay, "BATCH_MAX", 1)
    await broken(gate, "p1", "p2")
    plan = await plan_replay(gate, CONTENT)
    await broken(gate, "p3")
    working = asyncio.create_task(_work(gate))
    assert await replay(gate, WHO, plan) == 2
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await process_all(gate)
    assert await counts(gate) == {"quarantined": 3}


async def _work(gate: Gate) -> None:
    while True:
        await events.process_next(gate)
        await asyncio.sleep(0)


async def test_filtered_messages_are_replayed_only_where_that_is_asked(gate: Gate) -> None:
    await broken(gate, "p1")
    await accept(gate, message(header("ZZZ^Z01", "f"), patient()))
    await process_all(gate)
    everything = Selection(connection=FEED)
    assert (await plan_replay(gate, everything)).count == 1
    plan = await plan_replay(gate, Selection(connection=FEED, filtered=True))
    assert (plan.count, plan.filtered) == (2, 1)
    assert await replay(gate, WHO, plan) == 2
    await process_all(gate)
    assert await counts(gate) == {"quarantined": 1, "filtered": 1}


async def test_time_selects_by_when_a_message_was_last_seen(gate: Gate, clock: FakeClock) -> None:
    await broken(gate, "p1")
    at = clock()
    hour = timedelta(hours=1)
    assert (await plan_replay(gate, Selection(since=at))).count == 1
    assert (await plan_replay(gate, Selection(until=at))).count == 0
    assert (await plan_replay(gate, Selection(since=at - hour, until=at + hour))).count == 1


async def test_bytes_that_never_were_a_message_are_counted_and_pointed_to_a_fix(
    gate: Gate,
) -> None:
    await intake.accept(gate, [Received(connection=FEED, raw=b"HELLO", flaw="noise")])
    plan = await plan_replay(gate, Selection(connection=FEED))
    assert (plan.count, plan.never_messages) == (0, 1)
    with pytest.raises(Invalid, match=r"1 never became a message.*fix 1 --file"):
        await plan_replay(gate, Selection(ids=(1,)))


async def test_row_by_id_that_is_not_open_says_what_it_is(gate: Gate) -> None:
    await broken(gate, "p1", "p2")
    await quarantine.dismiss(gate, WHO, 1, because="a test")
    with pytest.raises(VersionConflict, match="1 is dismissed already by process:cli/olu"):
        await plan_replay(gate, Selection(ids=(1,)))
    with pytest.raises(NotFound, match="there is no 9"):
        await plan_replay(gate, Selection(ids=(2, 9)))
    assert await do(gate, Selection(ids=(2,))) == 1
    assert await do(gate, Selection(ids=(2,))) == 0


async def test_dismissed_and_fixed_messages_are_not_replayed(gate: Gate) -> None:
    """A copy and its original must not both be processed."""
    await broken(gate, "p1", "p2", "p3")
    await quarantine.dismiss(gate, WHO, 1, because="a test")
    plan = await plan_replay(gate, CONTENT)
    assert plan.count == 2
    fixed = await quarantine.plan_fix(gate, WHO, 2, values={"PID-7": "19801130"})
    await quarantine.fix(gate, WHO, fixed)
    assert await replay(gate, WHO, plan) == 1


@pytest.mark.parametrize("selection", [Selection(), Selection(filtered=True)])
async def test_replay_of_nothing_in_particular_is_refused(gate: Gate, selection: Any) -> None:
    with pytest.raises(Invalid, match="say what to replay"):
        await plan_replay(gate, selection)


async def test_more_ids_than_can_be_named_are_refused(gate: Gate) -> None:
    with pytest.raises(Invalid, match="at most 1000 rows"):
        await plan_replay(gate, Selection(ids=tuple(range(1, 1002))))
