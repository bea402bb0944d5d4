"""Introspection and revocation: who is told what, and that revoking works at once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from joserfc.jwk import ECKey

from chartgate.config import ServiceConfig
from chartgate.errors import Denied, Invalid, Unauthenticated
from chartgate.flows import token_care
from chartgate.flows.tokens import client_of, issue, service_of
from chartgate.model.principal import Client, Process, Service
from chartgate.policy.charters import compile_book
from chartgate.store.database import Database
from chartgate.store.governance import current_epoch
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import CHARTER, TestGate, open_test_gate, parse_test_charter

ASKER = Service(id="resource-server", may=("introspect", "revoke"))
OWNER = Client(id="slot-picker", charter="clinic-booking")
OTHER = Client(id="scribe", charter="clinic-booking")
BY = Process(id="cli/ada")


@pytest.fixture
async def opened(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[TestGate]:
    both = CHARTER.replace(b"[slot-picker]", b"[slot-picker, scribe]")
    async with open_test_gate(
        database,
        folder=tmp_path,
        clock=clock,
        charters=[both],
        clients=["slot-picker", "scribe"],
    ) as test_gate:
        yield test_gate


async def token_for(opened: TestGate, client: str = "slot-picker") -> str:
    answer = await issue(opened.gate, opened.token_form(opened.assertion(client)))
    token: str = answer["access_token"]
    return token


async def last_event(database: Database) -> dict[str, Any]:
    row = await database.fetch_row(
        "SELECT body FROM audit_event WHERE tenant = $1 ORDER BY id DESC LIMIT 1"
    )
    assert row is not None
    event: dict[str, Any] = orjson.loads(row["body"])
    return event


@pytest.mark.parametrize("asker", [ASKER, OWNER], ids=["service", "owner"])
async def test_token_that_holds_is_told_of(
    opened: TestGate, database: Database, clock: FakeClock, asker: Client | Service
) -> None:
    said = await token_care.introspect(opened.gate, asker, await token_for(opened))
    now = int(clock().timestamp())
    assert said == {
        "active": True,
        "token_type": "bearer",
        "client_id": "slot-picker",
        "sub": "slot-picker",
        "iss": "http://127.0.0.1:8480",
        "aud": "http://127.0.0.1:8480",
        "scope": "system/Appointment.rs system/Patient.r system/Slot.rs charter:clinic-booking",
        "iat": now,
        "exp": now + 300,
    }
    event = await last_event(database)
    assert (event["action"], event["agent"]) == ("token.introspect", asker.agent)
    assert event["outcome"] == "success"


async def test_every_token_that_is_not_for_the_asker_looks_the_same(
    opened: TestGate, database: Database, clock: FakeClock
) -> None:
    gate, token = opened.gate, await token_for(opened)
    assert await token_care.introspect(gate, OTHER, token) == {"active": False}
    for wrong in ("", "x", "cg_" + "A" * 43, "cgs_" + "A" * 43, "é", "\udcff"):
        assert await token_care.introspect(gate, ASKER, wrong) == {"active": False}
    event = await last_event(database)
    assert (event["outcome"], event["reason"]) == ("denied", "inactive")
    clock.advance(300)
    assert await token_care.introspect(gate, ASKER, token) == {"active": False}


async def test_token_of_a_client_that_left_is_inactive(opened: TestGate) -> None:
    token = await token_for(opened)
    without = CHARTER.replace(b"[slot-picker]", b"[scribe]")
    opened.gate.running.charters = compile_book([parse_test_charter(without)])
    assert await token_care.introspect(opened.gate, ASKER, token) == {"active": False}


async def test_service_without_the_power_is_told_nothing_and_takes_nothing(
    opened: TestGate,
) -> None:
    powerless, token = Service(id="archive", may=("audit",)), await token_for(opened)
    with pytest.raises(Denied, match=r'may = \["introspect"\]'):
        await token_care.introspect(opened.gate, powerless, token)
    await token_care.revoke(opened.gate, powerless, token)
    assert await client_of(opened.gate, token)


async def test_service_may_give_up_its_own_token(opened: TestGate) -> None:
    key = ECKey.generate_key("P-384")
    opened.keys["archive"] = key
    jwks = {"keys": [{**key.as_dict(private=False), "kid": key.thumbprint()}]}
    (opened.gate.config.folder / "archive.jwks.json").write_bytes(orjson.dumps(jwks))
    service = ServiceConfig(name="archive", jwks_file="archive.jwks.json")
    object.__setattr__(opened.gate.config, "services", {"archive": service})
    token = await token_for(opened, "archive")
    archive = await service_of(opened.gate, token)
    await token_care.revoke(opened.gate, archive, token)
    with pytest.raises(Unauthenticated):
        await service_of(opened.gate, token)


@pytest.mark.parametrize("asker", [ASKER, OWNER], ids=["service", "owner"])
async def test_revoked_token_is_out_at_once_even_where_it_was_kept(
    opened: TestGate, database: Database, asker: Client | Service
) -> None:
    token = await token_for(opened)
    assert await client_of(opened.gate, token, kept=True)
    await token_care.revoke(opened.gate, asker, token)
    with pytest.raises(Unauthenticated):
        await client_of(opened.gate, token, kept=True)
    assert await current_epoch(database) > 0
    event = await last_event(database)
    assert (event["action"], event["outcome"]) == ("token.revoke", "success")


async def test_what_is_not_ones_own_is_passed_over_in_silence(
    opened: TestGate, database: Database
) -> None:
    token = await token_for(opened)
    for wrong in (token, "x", "", "cg_" + "A" * 43, "cgs_" + "A" * 43):
        await token_care.revoke(opened.gate, OTHER, wrong)
        event = await last_event(database)
        assert (event["action"], event["outcome"]) == ("token.revoke", "denied")
    assert await client_of(opened.gate, token)
    assert await current_epoch(database) == 0


async def test_all_tokens_of_a_client_go_together(opened: TestGate, database: Database) -> None:
    mine = [await token_for(opened) for _ in range(3)]
    theirs = await token_for(opened, "scribe")
    assert await token_care.revoke_all(opened.gate, BY, client="slot-picker") == 3
    for token in mine:
        with pytest.raises(Unauthenticated):
            await client_of(opened.gate, token, kept=True)
    assert await client_of(opened.gate, theirs)
    assert (await last_event(database))["details"] == {"of": "slot-picker"}
    assert await token_care.revoke_all(opened.gate, BY, client="slot-picker") == 0


async def test_one_token_goes_by_its_id(opened: TestGate) -> None:
    await token_for(opened)
    await token_for(opened)
    first, second = await token_care.tokens_now(opened.gate)
    assert await token_care.revoke_all(opened.gate, BY, id_=token_care.id_of(first).upper()) == 1
    assert await token_care.tokens_now(opened.gate) == [second]
    with pytest.raises(Invalid, match="no token has the id"):
        await token_care.revoke_all(opened.gate, BY, id_="000000000000")


@pytest.mark.parametrize(
    "whose", [{}, {"client": "a", "service": "b"}, {"client": "a", "id_": "1"}], ids=str
)
async def test_whose_tokens_must_be_said(opened: TestGate, whose: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="one of a client"):
        await token_care.revoke_all(opened.gate, BY, **whose)
