"""Interactions and read sets, as the audit writer leaves them."""

from uuid import uuid4

from chartgate.model.audit import AuditEvent
from chartgate.model.interaction import Interaction, Seen
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database
from chartgate.store.interactions import InteractionStore
from chartgate.testing.clock import FakeClock


async def test_interaction_is_found_with_what_was_seen_in_order(
    database: Database, clock: FakeClock
) -> None:
    interaction = Interaction(
        id=str(uuid4()), client="a", charter="b", site="c", started_at=clock()
    )
    seen = [
        Seen(reference=f"Slot/{n}", version="1", digest=bytes(32), as_of=clock(), search=search)
        for n, search in ((2, None), (1, "Slot?status=free"))
    ]
    writer = AuditWriter(database)
    await writer.start()
    for row in seen:
        event = AuditEvent(
            recorded=clock(), action="fhir.read", agent="client:a", interaction=interaction.id
        )
        await writer.record(event, seen=[row], opened=interaction)
    await writer.close()
    store = InteractionStore(database)
    assert await store.get(interaction.id) == interaction
    assert await store.read_set(interaction.id) == tuple(seen)


async def test_interaction_that_is_not_there_is_none(database: Database) -> None:
    store = InteractionStore(database)
    assert await store.get(str(uuid4())) is None
    assert await store.read_set(str(uuid4())) == ()
