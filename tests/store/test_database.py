"""The two kinds of transaction, and what keeps tenants apart."""

from chartgate.model.audit import AuditEvent
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock


async def test_change_when_it_commits_leaves_its_audit_event(
    database: Database, clock: FakeClock
) -> None:
    event = AuditEvent(recorded=clock(), action="halt.set", agent="person:olu")
    async with database.change(event) as connection:
        await connection.execute(
            "INSERT INTO halt VALUES ($1, '*', 'drill', 'person:olu', $2)", "main", clock()
        )
    assert await database.fetch_value("SELECT count(*) FROM audit_event WHERE tenant = $1") == 1
