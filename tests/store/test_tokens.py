"""Tokens and used assertions in the store."""

from datetime import timedelta

import pytest

from chartgate.errors import Unauthenticated
from chartgate.model.audit import AuditEvent
from chartgate.model.principal import Client
from chartgate.store.database import Database
from chartgate.store.tokens import Assertion, TokenStore
from chartgate.testing.clock import FakeClock

CLIENT = Client(id="slot-picker", charter="clinic-booking", scopes=("system/Slot.rs",))


async def issue(store: TokenStore, clock: FakeClock, number: int, *, jti: str) -> bytes:
    hashed = bytes([number]) * 32
    await store.issue(
        hashed,
        CLIENT,
        expires_at=clock() + timedelta(seconds=300),
        assertion=Assertion(client=CLIENT.id, jti=jti, expires_at=clock() + timedelta(seconds=360)),
        audit=AuditEvent(recorded=clock(), action="token.issue", agent=CLIENT.agent),
    )
    return hashed


async def test_token_is_found_until_it_expires(database: Database, clock: FakeClock) -> None:
    store = TokenStore(database)
    hashed = await issue(store, clock, 1, jti="a")
    found = await store.find(hashed, now=clock())
    assert found == (CLIENT, clock() + timedelta(seconds=300))
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
