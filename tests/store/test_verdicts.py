"""Verdicts are kept by connection, replaced whole, and never without an audit event."""

from chartgate.model.audit import AuditEvent
from chartgate.model.verdict import Verdict
from chartgate.store.database import Database
from chartgate.store.verdicts import VerdictStore
from chartgate.testing.clock import FakeClock


def event(clock: FakeClock) -> AuditEvent:
    return AuditEvent(recorded=clock(), action="connection.probe", agent="process:test")


async def test_last_probe_replaces_all_that_was_known(database: Database, clock: FakeClock) -> None:
    store = VerdictStore(database)
    assert await store.of("north-ehr") == {}
    old = Verdict(line="history", holds=True, detail="old")
    new = Verdict(line="delete", holds=False, detail="new")
    for connection in ("north-ehr", "south-ehr"):
        await store.put(connection, [old], probed_at=clock(), audit=event(clock))
    await store.put("north-ehr", [new], probed_at=clock(), audit=event(clock))
    assert await store.of("north-ehr") == {"delete": (False, "new")}
    assert await store.of("south-ehr") == {"history": (True, "old")}
    kept = await store.kept()
    assert [(v.connection, v.line, v.holds, v.detail) for v in kept] == [
        ("north-ehr", "delete", False, "new"),
        ("south-ehr", "history", True, "old"),
    ]
    assert {verdict.probed_at for verdict in kept} == {clock()}
    assert await database.fetch_value("SELECT count(*) FROM audit_event WHERE tenant = $1") == 3
