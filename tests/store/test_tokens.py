"""Tokens and used assertions in the store."""

from datetime import timedelta

import pytest

from chartgate.errors import Unauthenticated
from chartgate.model.audit import AuditEvent
from chartgate.model.principal import Client
from chartgate.store.database import Database
from chartgate.store.governance import current_epoch
from chartgate.store.tokens import Assertion, ClientToken, Ticket, TokenStore
from chartgate.testing.clock import FakeClock

CLIENT = Client(
    id="slot-picker", charter="clinic-booking", scopes=("system/Slot.rs",), sites=("north",)
)


async def issue(store: TokenStore, clock: FakeClock, number: int, *, jti: str) -> bytes:
    hashed = bytes([number]) * 32
    ticket = Ticket(
        token_hash=hashed,
        audience="https://gate.example",
        issued_at=clock(),
        expires_at=clock() + timedelta(seconds=300),
    )
    await store.issue(
        ClientToken(ticket=ticket, client=CLIENT),
        assertion=Assertion(client=CLIENT.id, jti=jti, expires_at=clock() + timedelta(seconds=360)),
        audit=AuditEvent(recorded=clock(), action="token.issue", agent=CLIENT.agent),
    )
    return hashed


async def test_token_is_found_until_it_expires(database: Database, clock: FakeClock) -> None:
    store = TokenStore(database)
    hashed = await issue(store, clock, 1, jti="a")
    found = await store.find(hashed, now=clock())
    assert found is not None
    assert (found.client, found.client.epoch) == (CLIENT, 0)
    assert found.ticket.expires_at == clock() + timedelta(seconds=300)
    assert await store.find(bytes(32), now=clock()) is None
    assert await store.find(hashed, now=clock.advance(300)) is None


async def test_assertion_used_twice_stores_nothing_the_second_time(
    database: Database, clock: FakeClock
) -> None:
    store = TokenStore(database)
    await issue(store, clock, 1, jti="a")
    with pytest.raises(Unauthenticated, match="used before"):
        await issue(store, clock, 2, jti="a")
    assert await store.find(bytes([2]) * 32, now=clock()) is None
    assert await database.fetch_value("SELECT count(*) FROM audit_event WHERE tenant = $1") == 1


async def test_issuing_clears_away_what_has_expired(database: Database, clock: FakeClock) -> None:
    store = TokenStore(database)
    for number in range(1, 6):
        await issue(store, clock, number, jti=str(number))
    clock.advance(361)
    await issue(store, clock, 9, jti="9")
    assert await database.fetch_value("SELECT count(*) FROM access_token WHERE tenant = $1") == 1
    assert await database.fetch_value("SELECT count(*) FROM assertion_seen WHERE tenant = $1") == 1


async def test_revoking_takes_one_or_all_and_moves_the_epoch(
    database: Database, clock: FakeClock
) -> None:
    store = TokenStore(database)
    for number in (1, 2, 3):
        await issue(store, clock, number, jti=str(number))
    event = AuditEvent(recorded=clock(), action="token.revoke", agent="process:test")
    assert await store.revoke(event, token_hash=bytes([1]) * 32, client="other") == []
    assert await current_epoch(database) == 0
    assert await store.revoke(event, token_hash=bytes([1]) * 32) == [bytes([1]) * 32]
    first = await current_epoch(database)
    assert first > 0
    assert await store.revoke(event, service=CLIENT.id) == []
    assert len(await store.list(now=clock(), count_max=10)) == 2
    assert len(await store.revoke(event, client=CLIENT.id)) == 2
    assert await store.list(now=clock(), count_max=10) == []
    assert await current_epoch(database) > first
    count = "SELECT count(*) FROM audit_event WHERE tenant = $1"
    assert await database.fetch_value(count) == 5  # three issued, two that took something away
