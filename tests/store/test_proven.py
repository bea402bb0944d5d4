"""Without a signed head nothing is answered: events alone prove nothing."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from chartgate.errors import Unavailable
from chartgate.flows import ledger as walk
from chartgate.model.audit import AuditEvent
from chartgate.store.database import Database
from chartgate.store.ledger import LedgerStore
from chartgate.store.proven import Proven
from chartgate.testing.clock import FakeClock
from tests.flows.ledgers import Ledger, open_ledger

COUNT = "SELECT count(*) FROM audit_event WHERE tenant = $1"


@pytest.fixture
async def ledger(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with open_ledger(database, clock, tmp_path) as opened:
        yield opened


@pytest.fixture
def proven(ledger: Ledger) -> Proven:
    """The check, as a gateway and a worker have it, that looks each time."""
    walk.require_proof(ledger.gate)
    check = ledger.database.proven
    assert isinstance(check, Proven)
    return check


def read(ledger: Ledger, action: str = "fhir.read") -> AuditEvent:
    return AuditEvent(recorded=ledger.clock(), action=action, agent="client:slot-picker")


def look_now(check: Proven) -> None:
    check._next_look = 0.0


async def test_lag_is_the_age_of_the_oldest_event_under_no_head(
    ledger: Ledger, proven: Proven
) -> None:
    assert await proven.lag_s() == 0
    await ledger.add(2)
    ledger.clock.advance(30)
    await ledger.add(2)
    assert await proven.lag_s() == 30  # without a number
    await LedgerStore(ledger.database).sequence(batch_max=100)
    assert await proven.lag_s() == 30  # numbered, but not signed
    await ledger.sequence()
    assert await proven.lag_s() == 0
    ledger.clock.advance(1000)
    assert await proven.lag_s() == 0  # nothing is behind where nothing happens


async def test_reads_and_changes_are_refused_while_heads_lag_and_go_on_by_themselves(
    ledger: Ledger, proven: Proven
) -> None:
    await ledger.add(1)
    ledger.clock.advance(59)
    look_now(proven)
    await ledger.gate.audit.record(read(ledger))
    ledger.clock.advance(2)
    look_now(proven)
    before = await ledger.database.fetch_value(COUNT)
    with pytest.raises(Unavailable, match="no signed head"):
        await ledger.gate.audit.record(read(ledger))
    with pytest.raises(Unavailable, match="no signed head"):
        async with ledger.database.change(read(ledger, "charter.halt")):
            raise AssertionError("a change was begun")
    with pytest.raises(Unavailable, match="no signed head"):
        async with ledger.database.change_found():
            raise AssertionError("a change was begun")
    assert await ledger.database.fetch_value(COUNT) == before
    await ledger.sequence()
    look_now(proven)
    await ledger.gate.audit.record(read(ledger))


async def test_the_ledger_may_always_say_what_is_wrong_with_itself(
    ledger: Ledger, proven: Proven
) -> None:
    await ledger.add(1)
    ledger.clock.advance(100)
    look_now(proven)
    async with ledger.database.change(read(ledger, "ledger.rewound")):
        pass
    mixed = (read(ledger, "ledger.rewound"), replace(read(ledger), agent="client:other"))
    with pytest.raises(Unavailable):
        async with ledger.database.change(*mixed):
            pass


async def test_a_look_is_shared_and_not_made_for_each_answer(
    ledger: Ledger, proven: Proven
) -> None:
    await ledger.gate.audit.record(read(ledger))
    ledger.clock.advance(100)
    await ledger.gate.audit.record(read(ledger))  # seen to be well a moment ago
    look_now(proven)
    with pytest.raises(Unavailable):
        await ledger.gate.audit.record(read(ledger))
