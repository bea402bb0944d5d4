"""The record: versions kept once, the current one by time, whoever writes first."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.model.resource import Copy
from chartgate.store.database import Database
from chartgate.store.record import RecordStore

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
EHR = "north-ehr"


def copy(number: int = 1, *, status: str = "free", after_s: int = 0, reference: str = "") -> Copy:
    name = reference or f"Slot/{number}"
    body = canonical_bytes({"resourceType": "Slot", "id": name, "status": status})
    at = AT + timedelta(seconds=after_s)
    return Copy(reference=name, version=status, digest=digest(body), body=body, as_of=at)


@pytest.fixture
def record(database: Database) -> RecordStore:
    return RecordStore(database)


async def test_copy_when_kept_is_current_for_its_connection_only(record: RecordStore) -> None:
    await record.keep(EHR, [copy()])
    assert await record.current(EHR, "Slot/1") == copy()
    assert await record.current("other", "Slot/1") is None
    assert await record.current(EHR, "Slot/2") is None


async def test_older_copy_never_takes_the_place_of_a_newer(record: RecordStore) -> None:
    newer, older = copy(status="busy", after_s=10), copy(status="free")
    await record.keep(EHR, [newer])
    await record.keep(EHR, [older])
    assert await record.current(EHR, "Slot/1") == newer
    assert await record.version(EHR, "Slot/1", older.digest) == older.body


async def test_version_when_seen_again_is_kept_once(
    record: RecordStore, database: Database
) -> None:
    for after_s, status in enumerate(("free", "busy", "free")):
        await record.keep(EHR, [copy(status=status, after_s=after_s)])
    count = "SELECT count(*) FROM record_version WHERE tenant = $1"
    assert await database.fetch_value(count) == 2
    assert await record.current(EHR, "Slot/1") == copy(status="free", after_s=2)


async def test_touch_when_the_version_is_current_moves_its_time(record: RecordStore) -> None:
    await record.keep(EHR, [copy()])
    await record.touch(EHR, "Slot/1", "busy", AT + timedelta(seconds=9))
    assert await record.current(EHR, "Slot/1") == copy()
    await record.touch(EHR, "Slot/1", "free", AT + timedelta(seconds=9))
    await record.touch(EHR, "Slot/1", "free", AT + timedelta(seconds=3))
    assert await record.current(EHR, "Slot/1") == copy(after_s=9)


async def test_versions_and_bodies_are_found_by_reference(
    record: RecordStore, database: Database
) -> None:
    copies = [copy(1), copy(2, status="busy")]
    await record.keep(EHR, copies)
    wanted = [(c.reference, c.digest) for c in copies] + [("Slot/3", copies[0].digest)]
    bodies = {c.reference: c.body for c in copies}
    assert await record.versions(EHR, wanted) == bodies
    async with database.connection() as connection:
        found = await record.copies_in(connection, EHR, ["Slot/1", "Slot/2", "Slot/9"])
    assert {copy.reference: copy.body for copy in found} == bodies


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
async def test_current_is_the_newest_however_copies_are_batched(
    record: RecordStore, data: st.DataObject
) -> None:
    """Of two with one time the later written wins."""
    reference = f"Slot/{uuid4()}"  # not drawn: an example is run again
    times = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=8))
    copies = [copy(reference=reference, status=f"s{n}", after_s=t) for n, t in enumerate(times)]
    rest = list(copies)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        await record.keep(EHR, rest[:size])
        rest = rest[size:]
    newest = max(range(len(copies)), key=lambda n: (times[n], n))
    assert await record.current(EHR, reference) == copies[newest]
