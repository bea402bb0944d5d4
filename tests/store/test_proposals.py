"""Proposals in the store: moves compare and swap, claims fence, constraints hold."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from chartgate.errors import InvalidTransition, NotFound, VersionConflict
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.model.audit import AuditEvent
from chartgate.model.handoff import Handoff
from chartgate.model.interaction import Seen
from chartgate.model.proposal import (
    Content,
    Difference,
    Proposal,
    Status,
    content_digest,
    is_intact,
    moved,
)
from chartgate.model.resource import Copy
from chartgate.model.write import Change, Effect, Prepared, Receipt, Write
from chartgate.store.database import Database, open_database
from chartgate.store.handoffs import HandoffStore
from chartgate.store.proposals import QUERIES, ProposalStore
from chartgate.testing.clock import START, FakeClock
from tests.store.plans import pages_read

EVENT = AuditEvent(recorded=START, action="proposal.submit", agent="process:test")
PATCH = Change(
    interaction="patch",
    resource_type="Slot",
    reference="Slot/1",
    patch=({"op": "replace", "path": "/status", "value": "busy"},),
    if_match="1",
)
CREATE = Change(
    interaction="create",
    resource_type="Appointment",
    resource={"resourceType": "Appointment", "status": "booked", "priority": 1},
)
DIFFERENCES = (Difference(reference="Slot/1", path="status", before="free", after="busy"),)
BASE = (Seen(reference="Slot/1", version="2", digest=digest(b"x"), as_of=START),)
WRITE = Write(marker="m", changes=(PATCH, CREATE))
RECEIPT = Receipt(
    effects=(Effect(reference="Slot/1", version_before="1", version_after="2"),), at=START
)


def content(version: int = 1, *, base: tuple[Seen, ...] = ()) -> Content:
    changes = (PATCH, CREATE)
    return Content(
        version=version,
        changes=changes,
        differences=DIFFERENCES,
        digest=content_digest(changes, DIFFERENCES, base),
        base=base,
    )


def content_on(reference: str) -> Content:
    changes = (replace(PATCH, reference=reference),)
    return Content(
        version=1, changes=changes, differences=(), digest=content_digest(changes, (), ())
    )


def proposal(**fields: Any) -> Proposal:
    made = Proposal(
        id=str(uuid4()),
        charter="clinic-booking",
        charter_digest="0" * 64,
        action="book",
        site="north-clinic",
        connection="north-ehr",
        author="client:slot-picker",
        interaction=str(uuid4()),
        stage="suggest",
        status=Status.PENDING_REVIEW,
        content=content(),
        confidence=0.9,
        rationale="because",
        created_at=START,
        due_at=START + timedelta(minutes=15),
    )
    return replace(made, **fields)


async def insert(database: Database, made: Proposal, key: str | None = None) -> Proposal:
    async with database.change(EVENT) as transaction:
        await ProposalStore(database).insert(transaction, made, idempotency_key=key)
    return made


async def move(database: Database, before: Proposal, after: Proposal) -> None:
    async with database.change(EVENT) as transaction:
        await ProposalStore(database).move(transaction, before, after, at=START)


def approved(before: Proposal) -> Proposal:
    return moved(
        before,
        Status.APPROVED,
        decided_by="person:sofia",
        decided_at=START,
        decided_digest=before.content.digest,
    )


async def claim(database: Database, clock: FakeClock) -> Proposal | None:
    now = clock()
    statuses = (Status.APPROVED, Status.COMMITTING)
    return await ProposalStore(database).claim(
        statuses, now=now, lease_until=now + timedelta(seconds=30)
    )


async def test_proposal_comes_back_as_it_was_put(database: Database) -> None:
    store = ProposalStore(database)
    made = await insert(database, proposal())
    assert await store.get(made.id) == made
    full = moved(
        moved(approved(made), Status.COMMITTING),
        Status.COMMITTED,
        receipt=RECEIPT,
        compensation=WRITE,
    )
    await move(
        database,
        made,
        replace(full, content=content(2, base=BASE), decided_digest=content(2, base=BASE).digest),
    )
    found = await store.get(made.id)
    assert (found.receipt, found.compensation) == (RECEIPT, WRITE)
    assert found.content == content(2, base=BASE)
    assert is_intact(found.content)
    assert [c.version for c in await store.contents(made.id)] == [1, 2]


@pytest.mark.parametrize(
    "id_",
    ["no-uuid", "", "8055a1c0-6699-4a2a-a30b-dba53c50622c", "00000000-0000-0000-0000-00000000000g"],
)
async def test_proposal_that_is_not_there_is_not_found(database: Database, id_: str) -> None:
    with pytest.raises(NotFound):
        await ProposalStore(database).get(id_)


async def test_move_of_what_changed_meanwhile_is_refused(database: Database) -> None:
    made = await insert(database, proposal())
    await move(database, made, moved(made, Status.WITHDRAWN))
    with pytest.raises(VersionConflict):
        await move(database, made, approved(made))
    assert (await ProposalStore(database).get(made.id)).status is Status.WITHDRAWN


async def test_move_on_an_older_content_is_refused(database: Database) -> None:
    made = await insert(database, proposal())
    await move(database, made, replace(made, content=content(2)))
    with pytest.raises(VersionConflict):
        await move(database, made, approved(made))


async def test_refused_move_leaves_no_audit_event(database: Database) -> None:
    made = await insert(database, proposal())
    count = "SELECT count(*) FROM audit_event WHERE tenant = $1"
    before = await database.fetch_value(count)
    with pytest.raises(VersionConflict):
        await move(database, replace(made, fence=7), approved(made))
    assert await database.fetch_value(count) == before


async def test_claim_leases_and_an_older_claim_cannot_move(
    database: Database, clock: FakeClock
) -> None:
    made = await insert(database, proposal())
    await move(database, made, approved(made))
    first = await claim(database, clock)
    assert first is not None
    assert await claim(database, clock) is None, "leased"
    clock.advance(30)
    second = await claim(database, clock)
    assert second is not None
    assert second.fence == first.fence + 1
    with pytest.raises(VersionConflict):
        await move(database, first, moved(first, Status.COMMITTING))
    with pytest.raises(InvalidTransition):
        await ProposalStore(database).last_look(first, now=clock())
    found = await ProposalStore(database).last_look(second, now=clock())
    assert (found.halted, found.waits) == (None, False)
    await move(database, second, moved(second, Status.COMMITTING))


async def test_what_is_due_together_is_claimed_in_the_order_of_its_id(
    database: Database, clock: FakeClock
) -> None:
    """However the rows lie: a play of the simulator is the same each time."""
    made = sorted(
        (proposal(content=content_on(f"Slot/{n}")) for n in range(6)), key=lambda each: each.id
    )
    for each in (made[4], made[1], made[5], made[0], made[3], made[2]):
        await move(database, each, approved(await insert(database, each)))
    claimed = [await claim(database, clock) for _ in made]
    assert [each.id for each in claimed if each is not None] == [each.id for each in made]


async def test_last_look_refuses_when_the_lease_has_ended(
    database: Database, clock: FakeClock
) -> None:
    made = await insert(database, proposal())
    await move(database, made, approved(made))
    claimed = await claim(database, clock)
    assert claimed is not None
    clock.advance(30)
    with pytest.raises(InvalidTransition):
        await ProposalStore(database).last_look(claimed, now=clock())


async def test_postponed_proposal_waits_and_an_older_claim_cannot_postpone(
    database: Database, clock: FakeClock
) -> None:
    store = ProposalStore(database)
    made = await insert(database, proposal())
    await move(database, made, approved(made))
    claimed = await claim(database, clock)
    assert claimed is not None
    stale = replace(claimed, fence=claimed.fence - 1)
    await store.postpone(stale, until=clock(), failed=True)
    assert await claim(database, clock) is None, "still leased"
    await store.postpone(claimed, until=clock() + timedelta(seconds=10), failed=True)
    assert await claim(database, clock) is None
    clock.advance(10)
    again = await claim(database, clock)
    assert again is not None
    assert again.attempts == 1


async def test_idempotency_key_belongs_to_its_author(database: Database) -> None:
    made = await insert(database, proposal(), "k")
    await insert(database, proposal(author="client:other"), "k")
    await insert(database, proposal(), None)
    await insert(database, proposal(), None)
    with pytest.raises(VersionConflict):
        await insert(database, proposal(), "k")
    found = await ProposalStore(database).by_key(made.author, "k")
    assert found == (made.id, made.content.digest)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": Status.APPROVED},
        {"status": Status.APPROVED, "decided_by": "person:a", "decided_at": START},
        {
            "status": Status.APPROVED,
            "decided_by": "person:a",
            "decided_at": START,
            "decided_digest": "another",
        },
        {
            "status": Status.APPROVED,
            "decided_by": "client:slot-picker",
            "decided_at": START,
            "decided_digest": content().digest,
        },
        {
            "status": Status.COMMITTED,
            "decided_by": "person:a",
            "decided_at": START,
            "decided_digest": content().digest,
        },
        {"confidence": 1.01},
    ],
    ids=["undecided", "no digest", "other digest", "own", "no receipt", "confidence"],
)
async def test_database_itself_refuses_what_must_never_be(
    database: Database, fields: dict[str, Any]
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await insert(database, proposal(**fields))


async def test_attempts_keep_intent_and_verdict(database: Database) -> None:
    store = ProposalStore(database)
    made = await insert(database, proposal())
    body = canonical_bytes({"resourceType": "Slot", "id": "1"})
    before = Copy(reference="Slot/1", version="1", digest=digest(body), body=body, as_of=START)
    prepared = Prepared(write=WRITE, before=(before,))
    for expected in (1, 2, 3):
        number = await store.intend(EVENT, made, made, "commit", prepared, at=START)
        assert number == expected
    async with database.change(EVENT) as transaction:
        await store.end_attempt(transaction, made, "commit", 2, "not-applied", at=START)
    first, second, third = await store.attempts(made.id, "commit")
    assert first.prepared == prepared
    assert (first.verdict, second.verdict, third.verdict) == (None, "not-applied", None)
    async with database.change(EVENT) as transaction:
        await store.end_attempts(transaction, made, "commit", "applied", at=START)
    verdicts = [a.verdict for a in await store.attempts(made.id, "commit")]
    assert verdicts == ["applied", "not-applied", "applied"], "a verdict is final"
    assert await store.attempts(made.id, "rollback") == ()


async def test_what_changes_did_is_noted_by_whoever_has_the_proposal_alone(
    database: Database, clock: FakeClock
) -> None:
    store = ProposalStore(database)
    made = await insert(database, proposal())
    await move(database, made, approved(made))
    claimed = await claim(database, clock)
    assert claimed is not None
    number = await store.intend(
        EVENT, claimed, claimed, "commit", Prepared(write=WRITE, before=()), at=START
    )
    await store.note_done(claimed, "commit", number, RECEIPT.effects)
    (attempt,) = await store.attempts(made.id, "commit")
    assert attempt.done == RECEIPT.effects
    older = replace(claimed, fence=claimed.fence - 1)
    with pytest.raises(InvalidTransition, match="another worker"):
        await store.note_done(older, "commit", number, ())
    async with database.change(EVENT) as transaction:
        await store.end_attempt(transaction, claimed, "commit", number, "partly", at=START)
    with pytest.raises(InvalidTransition):
        await store.note_done(claimed, "commit", number, ())
    (attempt,) = await store.attempts(made.id, "commit")
    assert (attempt.done, attempt.verdict) == (RECEIPT.effects, "partly")
    stored = "SELECT done FROM proposal_attempt WHERE tenant = $1"
    assert b"Slot" not in await database.fetch_value(stored), "sealed"


async def test_intent_of_a_worker_whose_lease_passed_leaves_nothing(database: Database) -> None:
    store = ProposalStore(database)
    made = await insert(database, proposal())
    events = "SELECT count(*) FROM audit_event WHERE tenant = $1"
    before = await database.fetch_value(events)
    stale = replace(made, fence=made.fence + 1)
    prepared = Prepared(write=WRITE, before=())
    with pytest.raises(VersionConflict, match="look at it again"):
        await store.intend(EVENT, stale, stale, "commit", prepared, at=START)
    with pytest.raises(VersionConflict, match="look at it again"):
        await store.move_at_once(EVENT, stale, stale, at=START)
    assert await store.attempts(made.id, "commit") == ()
    assert await database.fetch_value(events) == before
    await store.move_at_once(EVENT, made, made, at=START)
    assert await database.fetch_value(events) == before + 1


async def test_what_was_erased_since_it_was_read_is_sealed_no_more(database: Database) -> None:
    store = ProposalStore(database)
    made = await insert(database, proposal())
    await store.get(made.id)  # its key is in memory now
    async with database.bookkeeping() as transaction:
        await transaction.execute("DELETE FROM patient_key")
    with pytest.raises(VersionConflict):
        await store.intend(EVENT, made, made, "commit", Prepared(write=WRITE, before=()), at=START)
    left = "SELECT count(*) FROM proposal_attempt WHERE tenant = $1"
    assert await database.fetch_value(left) == 0


async def test_handoff_is_opened_once_for_a_proposal(database: Database) -> None:
    made = await insert(database, proposal())

    def handoff() -> Handoff:
        return Handoff(
            id=str(uuid4()),
            proposal=made.id,
            worklist="front-desk",
            site=made.site,
            reason="test",
            opened_at=START,
            due_at=START,
        )

    first = handoff()
    async with database.change(EVENT) as transaction:
        await HandoffStore(database).insert(transaction, first)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with database.change(EVENT) as transaction:
            await HandoffStore(database).insert(transaction, handoff())
    assert await HandoffStore(database).of_proposal(made.id) == first


async def test_content_that_was_changed_or_is_broken_is_not_intact(database: Database) -> None:
    made = await insert(database, proposal())
    for body in (b"{}", b"no json", b'{"changes":[{}],"differences":[]}', b"[]"):
        async with database.bookkeeping() as transaction:
            await transaction.execute("UPDATE proposal_content SET body = $1", body)
        found = await ProposalStore(database).get(made.id)
        assert not is_intact(found.content)


async def test_another_tenant_sees_nothing(database: Database, database_url: str) -> None:
    made = await insert(database, proposal())
    other = await open_database(database_url, tenant="other")
    try:
        with pytest.raises(NotFound):
            await ProposalStore(other).get(made.id)
        assert await ProposalStore(other).listed(limit=10) == ()
    finally:
        await other.close()


async def test_claim_costs_no_more_where_many_wait_and_many_are_in_work(
    database: Database, clock: FakeClock
) -> None:
    """Ten times as many, the same pages, within what an index is deeper."""
    made = await insert(database, proposal())
    await move(database, made, approved(made))
    await many_like(database, made.id, of=300)
    await at_work(database, clock, 16)
    few = await pages_of_a_claim(database, clock)
    await many_like(database, made.id, of=3_000)
    assert await pages_of_a_claim(database, clock) <= few + 20


async def many_like(database: Database, id_: str, *, of: int) -> None:
    """Copies of one proposal, each on something of its own, as freshly inserted as it was."""
    async with database.bookkeeping() as transaction:
        await transaction.execute(
            "WITH copy AS (SELECT n, gen_random_uuid() AS id FROM generate_series(1, $3::int) n),"
            " made AS (INSERT INTO proposal SELECT (jsonb_populate_record(p, jsonb_build_object("
            "  'id', copy.id, 'idempotency_key', copy.id, 'lease_until', NULL))).* FROM proposal p, copy"
            "  WHERE p.tenant = $1 AND p.id = $2)"
            " INSERT INTO proposal_content SELECT (jsonb_populate_record(c, jsonb_build_object("
            "  'proposal', copy.id, 'touches', jsonb_build_array(copy.n)))).*"
            " FROM proposal_content c, copy WHERE c.tenant = $1 AND c.proposal = $2",
            database.tenant, id_, of,
        )  # fmt: skip


async def at_work(database: Database, clock: FakeClock, count: int) -> None:
    async with database.bookkeeping() as transaction:
        await transaction.execute(
            "UPDATE proposal SET lease_until = $2 WHERE tenant = $1 AND id IN ("
            " SELECT id FROM proposal WHERE tenant = $1 LIMIT $3)",
            database.tenant, clock() + timedelta(seconds=30), count,
        )  # fmt: skip


async def pages_of_a_claim(database: Database, clock: FakeClock) -> int:
    until = clock() + timedelta(seconds=30)
    return await pages_read(
        database, QUERIES["claim_proposal"], ["approved", "committing"], clock(), until
    )
