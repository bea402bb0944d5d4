"""Events say which request they were made for, whoever makes and writes them."""

import asyncio
from datetime import UTC, datetime

import orjson

from chartgate.model.audit import AuditEvent, leaf_bytes
from chartgate.store import origin
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database
from chartgate.store.origin import Origin, leaf_of

READ = AuditEvent(
    recorded=datetime(2026, 11, 21, tzinfo=UTC), action="fhir.read", agent="client:slot-picker"
)
ALL = "SELECT body FROM audit_event WHERE tenant = $1 ORDER BY id"


def test_an_event_without_a_request_has_the_leaf_that_it_always_had() -> None:
    assert leaf_of(READ, tenant="main") == leaf_bytes(READ, tenant="main")
    assert leaf_of(READ, tenant="main") == (
        b'{"action":"fhir.read","agent":"client:slot-picker","outcome":"success",'
        b'"recorded":"2026-11-21T00:00:00.000000+00:00","tenant":"main"}'
    )


async def test_reads_and_changes_of_one_request_name_it_and_no_other(database: Database) -> None:
    writer = AuditWriter(database)
    await writer.start()

    async def request(number: int) -> None:
        came = origin.enter(Origin(network=f"192.0.2.{number}", request=f"r{number}"))
        try:
            await asyncio.gather(writer.record(READ), writer.record(READ))
            async with database.change(READ):
                pass
        finally:
            origin.leave(came)

    await asyncio.gather(*(request(number) for number in range(1, 6)))
    await writer.record(READ)
    await writer.close()
    said = [orjson.loads(row["body"]) for row in await database.fetch(ALL)]
    pairs = sorted((e.get("network", ""), e.get("request", "")) for e in said)
    assert pairs == [("", ""), *((f"192.0.2.{n}", f"r{n}") for n in range(1, 6) for _ in range(3))]


async def test_sites_and_patients_stand_in_columns_of_their_own(database: Database) -> None:
    several = AuditEvent(
        recorded=READ.recorded,
        action="fhir.search",
        agent=READ.agent,
        site="north-clinic",
        patients=("Patient/1", "Patient/2"),
    )
    async with database.change(several):
        pass
    [row] = await database.fetch("SELECT site, patients FROM audit_event WHERE tenant = $1")
    assert (row["site"], row["patients"]) == ("north-clinic", ["Patient/1", "Patient/2"])
