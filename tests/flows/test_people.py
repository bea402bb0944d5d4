"""Signing in: one sentence for every failure, a lock, sessions that end."""

import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.errors import Invalid, Unauthenticated
from chartgate.flows import people
from chartgate.gate import Gate
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import open_test_gate

PASSWORD = "synthetic-people-only"


@pytest.fixture
async def gate(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Gate]:
    async with open_test_gate(database, folder=tmp_path, clock=clock) as opened:
        await people.add_person(opened.gate, "sofia", PASSWORD, ["scheduler"], ["north-clinic"])
        yield opened.gate


async def audited(gate: Gate, action: str) -> list[dict[str, Any]]:
    rows = await gate.database.fetch(
        "SELECT body FROM audit_event WHERE tenant = $1 AND action = $2 ORDER BY id", action
    )
    return [orjson.loads(row["body"]) for row in rows]


async def test_right_password_opens_a_session_with_the_persons_roles(gate: Gate) -> None:
    signed_in = await people.sign_in(gate, "sofia", PASSWORD)
    found = await people.person_of(gate, signed_in.cookie)
    assert found == signed_in
    assert found.person.agent == "person:sofia"
    assert found.person.roles == ("scheduler",)
    assert signed_in.cookie not in repr(signed_in)
    assert signed_in.csrf not in repr(signed_in)


async def test_store_and_audit_hold_no_password_and_no_cookie(gate: Gate) -> None:
    signed_in = await people.sign_in(gate, "sofia", PASSWORD)
    for table in ("person", "person_session", "audit_event"):
        rows = await gate.database.fetch(f"SELECT t::text FROM {table} t WHERE tenant = $1")  # noqa: S608
        text = "".join(row["t"] for row in rows)
        assert PASSWORD not in text
        assert signed_in.cookie not in text
    row = await gate.database.fetch_row("SELECT password_hash FROM person WHERE tenant = $1")
    assert row is not None
    assert row["password_hash"].startswith("$argon2id$")


@pytest.mark.parametrize(
    ("name", "password"),
    [("sofia", "wrong"), ("nobody", PASSWORD), ("sofia", ""), ("so'fia", PASSWORD), ("", "")],
)
async def test_wrong_name_or_password_get_one_sentence(
    gate: Gate, name: str, password: str
) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await people.sign_in(gate, name, password)
    assert str(refused.value) == people.SAY_WRONG
    (event,) = await audited(gate, "person.sign-in")
    assert event["outcome"] == "denied"
    assert event["agent"] in ("person:sofia", "person:(unknown)")


async def test_unknown_name_takes_as_long_as_a_wrong_password(gate: Gate) -> None:
    async def taken(name: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            with pytest.raises(Unauthenticated):
                await people.sign_in(gate, name, "wrong")
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    await taken("warm-up")
    unknown, known = await taken("nobody"), await taken("sofia")
    assert 1 / 3 < unknown / known < 3, "hashing, some 50 ms, is done for both"


async def test_account_is_locked_after_failures_and_opens_again(
    gate: Gate, clock: FakeClock
) -> None:
    web = gate.config.web
    for _ in range(web.sign_in_failures_max):
        with pytest.raises(Unauthenticated):
            await people.sign_in(gate, "sofia", "wrong")
    with pytest.raises(Unauthenticated):
        await people.sign_in(gate, "sofia", PASSWORD)
    assert (await audited(gate, "person.sign-in"))[-1]["reason"] == "locked"
    clock.advance(web.sign_in_lock_s + 1)
    with pytest.raises(Unauthenticated):
        await people.sign_in(gate, "sofia", "wrong")
    await people.sign_in(gate, "sofia", PASSWORD)


async def test_session_ends_when_idle_when_old_and_when_signed_out(
    gate: Gate, clock: FakeClock
) -> None:
    web = gate.config.web
    idle = await people.sign_in(gate, "sofia", PASSWORD)
    clock.advance(web.session_idle_s + 1)
    with pytest.raises(Unauthenticated):
        await people.person_of(gate, idle.cookie)
    used = await people.sign_in(gate, "sofia", PASSWORD)
    for _ in range(int(web.session_lifetime_s / 600) - 1):
        clock.advance(600)
        await people.person_of(gate, used.cookie)
    clock.advance(601)
    with pytest.raises(Unauthenticated):
        await people.person_of(gate, used.cookie)
    left = await people.sign_in(gate, "sofia", PASSWORD)
    await people.sign_out(gate, left.cookie)
    with pytest.raises(Unauthenticated):
        await people.person_of(gate, left.cookie)
    await people.sign_out(gate, left.cookie)


async def test_cookie_that_is_made_up_is_no_session(gate: Gate) -> None:
    for cookie in ("", "x", "ü" * 50, "a" * 10_000):
        with pytest.raises(Unauthenticated):
            await people.person_of(gate, cookie)


async def test_person_set_anew_loses_sessions_and_old_roles(gate: Gate) -> None:
    before = await people.sign_in(gate, "sofia", PASSWORD)
    await people.add_person(gate, "sofia", PASSWORD + "2", ["clinician"], ["north-clinic"])
    with pytest.raises(Unauthenticated):
        await people.person_of(gate, before.cookie)
    with pytest.raises(Unauthenticated):
        await people.sign_in(gate, "sofia", PASSWORD)
    after = await people.sign_in(gate, "sofia", PASSWORD + "2")
    assert after.person.roles == ("clinician",)


@pytest.mark.parametrize(
    ("name", "password", "roles"),
    [("So fia", PASSWORD, ["x"]), ("sofia", "short", ["x"]), ("sofia", PASSWORD, [])],
)
async def test_person_that_cannot_be_is_invalid(
    gate: Gate, name: str, password: str, roles: list[str]
) -> None:
    with pytest.raises(Invalid):
        await people.add_person(gate, name, password, roles, ["north-clinic"])
