"""What was refused is counted once it is durable, and seen by the request that caused it."""

import asyncio
from datetime import UTC, datetime

import pytest

from chartgate.model.audit import AuditEvent, Outcome
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database
from chartgate.store.refusals import LABELS_MAX, OTHER, Refusals, watching


def event(outcome: Outcome = Outcome.DENIED, reason: str | None = "policy") -> AuditEvent:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    return AuditEvent(
        recorded=at, action="fhir.read", agent="client:x", outcome=outcome, reason=reason
    )


async def test_refusal_is_counted_however_it_is_written_down(database: Database) -> None:
    audit = AuditWriter(database)
    await audit.start()
    await audit.record(event())
    async with database.change(event()):
        pass
    async with database.change_found() as (_, events):
        events.append(event())
    await audit.close()
    assert database.refusals.counts == {("fhir.read", "policy"): 3}


async def test_change_that_is_rolled_back_counts_as_nothing(database: Database) -> None:
    with pytest.raises(KeyError):
        async with database.change(event()):
            raise KeyError
    assert not database.refusals.counts


def test_success_is_no_refusal() -> None:
    refusals = Refusals()
    refusals.note([event(Outcome.SUCCESS)])
    assert not refusals.counts


@pytest.mark.parametrize("reason", [None, "", "Ada Lovelace", "a b", "é", "x" * 41])
def test_reason_that_is_no_code_is_no_label(reason: str | None) -> None:
    refusals = Refusals()
    refusals.note([event(reason=reason)])
    assert list(refusals.counts) == [("fhir.read", OTHER)]


def test_labels_do_not_grow_without_end() -> None:
    refusals = Refusals()
    refusals.note([event(reason=f"r{number}") for number in range(2 * LABELS_MAX)])
    assert len(refusals.counts) <= LABELS_MAX + 1
    assert refusals.counts.total() == 2 * LABELS_MAX


async def test_each_request_sees_its_own() -> None:
    refusals = Refusals()

    async def request(count: int) -> int:
        with watching() as noted:
            for _ in range(count):
                refusals.note([event()])
                await asyncio.sleep(0)
            return noted.events

    assert list(await asyncio.gather(request(1), request(0), request(3))) == [1, 0, 3]
