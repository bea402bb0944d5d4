"""Sealed accounts, and accounts that end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chartgate.errors import Invalid, NotFound, Unauthenticated
from chartgate.flows import accounts, people
from chartgate.flows.people import SignedIn
from chartgate.gate import Gate
from chartgate.model.principal import Process
from chartgate.store.database import Database
from chartgate.store.governance import current_epoch
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import open_test_gate
from tests.flows.test_people import PASSWORD, audited

SITE = "north-clinic"
OPERATOR = Process(id="cli/root")


@pytest.fixture
async def gate(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Gate]:
    async with open_test_gate(database, folder=tmp_path, clock=clock) as opened:
        await people.add_person(opened.gate, "sofia", PASSWORD, ["scheduler"], [SITE])
        yield opened.gate


async def test_secret_opens_once_in_whatever_way_it_is_typed(gate: Gate) -> None:
    secret = await accounts.seal(gate, "emergency-1", [SITE], by=OPERATOR)
    assert len(secret.replace("-", "")) == 30
    signed_in = await people.sign_in(gate, "emergency-1", f" {secret.replace('-', ' ').lower()} ")
    person = signed_in.person
    assert (person.roles, person.sealed, person.mfa) == (("break-glass",), True, False)
    assert (await people.person_of(gate, signed_in.cookie)).person == person
    with pytest.raises(Unauthenticated):
        await people.sign_in(gate, "emergency-1", secret)
    (event,) = await audited(gate, "person.unseal")
    assert event["details"] == {"alarm": "a sealed account was opened; seal it anew"}
    (listed,) = (p for p in await accounts.listed(gate) if p.sealed)
    assert (listed.has_secret, listed.sessions) == (False, 1)


async def test_store_holds_no_secret_but_its_argon2id_hash(gate: Gate) -> None:
    secret = await accounts.seal(gate, "emergency-1", [SITE], by=OPERATOR)
    plain = people.plain_secret(secret)
    for table in ("person", "audit_event"):
        rows = await gate.database.fetch(f"SELECT t::text FROM {table} t WHERE tenant = $1")  # noqa: S608
        text = "".join(row["t"] for row in rows)
        assert secret not in text
        assert plain not in text
    query = "SELECT password_hash FROM person WHERE tenant = $1 AND sealed"
    assert (await gate.database.fetch_value(query)).startswith("$argon2id$")


async def test_of_many_who_show_the_secret_at_once_one_gets_in(gate: Gate) -> None:
    secret = await accounts.seal(gate, "emergency-1", [SITE], by=OPERATOR)
    tries = await asyncio.gather(
        *(people.sign_in(gate, "emergency-1", secret) for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(t, SignedIn) for t in tries) == 1
    assert len(await audited(gate, "person.unseal")) == 1


async def test_wrong_secrets_do_not_lock_it(gate: Gate) -> None:
    secret = await accounts.seal(gate, "emergency-1", [SITE], by=OPERATOR)
    for _ in range(gate.config.web.sign_in_failures_max + 1):
        with pytest.raises(Unauthenticated):
            await people.sign_in(gate, "emergency-1", "AAAAA-AAAAA")
    await people.sign_in(gate, "emergency-1", secret)


async def test_session_of_a_seal_lasts_an_hour(gate: Gate, clock: FakeClock) -> None:
    secret = await accounts.seal(gate, "emergency-1", [SITE], by=OPERATOR)
    cookie = (await people.sign_in(gate, "emergency-1", secret)).cookie
    for _ in range(5):
        clock.advance(11 * 60)
        await people.person_of(gate, cookie)
    clock.advance(5 * 60)
    with pytest.raises(Unauthenticated):
        await people.person_of(gate, cookie)


async def test_sealed_anew_it_opens_again_and_the_old_secret_is_dead(gate: Gate) -> None:
    first = await accounts.seal(gate, "emergency-1", [SITE], by=OPERATOR)
    second = await accounts.seal(gate, "emergency-1", [SITE], by=OPERATOR)
    with pytest.raises(Unauthenticated):
        await people.sign_in(gate, "emergency-1", first)
    await people.sign_in(gate, "emergency-1", second)


async def test_person_with_a_password_is_not_made_a_sealed_account(gate: Gate) -> None:
    with pytest.raises(Invalid, match="a name of its own"):
        await accounts.seal(gate, "sofia", [SITE], by=OPERATOR)
    with pytest.raises(Invalid):
        await accounts.seal(gate, "emergency-1", [], by=OPERATOR)
    with pytest.raises(Invalid):
        await accounts.seal(gate, "Emergency One", [SITE], by=OPERATOR)


async def test_removed_person_is_out_at_once_and_may_be_restored(gate: Gate) -> None:
    cookie = (await people.sign_in(gate, "sofia", PASSWORD)).cookie
    before = await current_epoch(gate.database)
    await accounts.remove_person(gate, "sofia", by=OPERATOR)
    assert await current_epoch(gate.database) > before
    with pytest.raises(Unauthenticated):
        await people.person_of(gate, cookie)
    with pytest.raises(Unauthenticated):
        await people.sign_in(gate, "sofia", PASSWORD)
    with pytest.raises(NotFound):
        await accounts.remove_person(gate, "sofia", by=OPERATOR)
    await accounts.restore_person(gate, "sofia", by=OPERATOR)
    with pytest.raises(Unauthenticated):
        await people.sign_in(gate, "sofia", PASSWORD)
    await people.add_person(gate, "sofia", PASSWORD, ["scheduler"], [SITE])
    await people.sign_in(gate, "sofia", PASSWORD)
    with pytest.raises(NotFound):
        await accounts.restore_person(gate, "sofia", by=OPERATOR)


async def test_sessions_of_somebody_end_everywhere(gate: Gate) -> None:
    cookies = [(await people.sign_in(gate, "sofia", PASSWORD)).cookie for _ in range(3)]
    assert await accounts.end_sessions(gate, "sofia", by=OPERATOR) == 3
    for cookie in cookies:
        with pytest.raises(Unauthenticated):
            await people.person_of(gate, cookie)
    with pytest.raises(NotFound):
        await accounts.end_sessions(gate, "nobody", by=OPERATOR)
