"""Kept charter revisions."""

from dataclasses import replace
from pathlib import Path

import chartgate
from chartgate.model.audit import AuditEvent
from chartgate.policy.charters import parse_charter
from chartgate.store.charters import CharterStore
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock

SAMPLES = Path(chartgate.__file__).parent / "cli" / "samples"


async def test_keep_when_a_revision_is_there_already_then_it_stays(
    database: Database, clock: FakeClock
) -> None:
    path = SAMPLES / "charters" / "visit-note.yaml"
    charter = parse_charter(
        path.read_bytes(), file=path.name, read_model=lambda n: (SAMPLES / n).read_bytes()
    )
    store = CharterStore(database)
    event = AuditEvent(recorded=clock(), action="charter.reload", agent="process:test")
    assert await store.known([charter]) == frozenset()
    for body in (path.read_bytes(), b"another text"):
        await store.keep([charter], {charter.name: body}, loaded_at=clock(), audit=[event])
    assert await store.known([charter, replace(charter, digest="00")]) == {
        (charter.name, charter.digest)
    }
    kept = await database.fetch_value("SELECT body FROM charter_revision WHERE tenant = $1")
    assert kept == path.read_bytes()
