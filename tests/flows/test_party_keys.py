"""Keys by address: fetched through the door, kept, asked for again but rarely, and never by what
an assertion says."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from chartgate.config import ClientConfig, EgressConfig
from chartgate.flows.assertions import TokenRefused
from chartgate.flows.tokens import issue
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import TestGate, open_test_gate

CLIENT = "slot-picker"


def jwks(*keys: ECKey | RSAKey) -> dict[str, Any]:
    return {"keys": [{**key.as_dict(private=False), "kid": key.thumbprint()} for key in keys]}


@dataclass
class Publisher:
    """Where a client publishes its keys; counts how often it is asked."""

    document: Any = None
    raw: bytes | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        body = orjson.dumps(self.document) if self.raw is None else self.raw
        return web.Response(body=body, status=self.status, headers=self.headers)

    def url(self, path: str = "/jwks.json") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    one = Publisher()
    app = web.Application()
    app.router.add_get("/{tail:.*}", one.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.port = runner.addresses[0][1]
    yield one
    await runner.cleanup()


@pytest.fixture
async def opened(
    database: Database, clock: FakeClock, tmp_path: Path, publisher: Publisher
) -> AsyncIterator[TestGate]:
    async with open_test_gate(database, folder=tmp_path, clock=clock) as test_gate:
        config = test_gate.gate.config
        client = ClientConfig(name=CLIENT, jwks_url=publisher.url())
        object.__setattr__(config, "clients", {CLIENT: client})
        publisher.document = jwks(test_gate.keys[CLIENT])
        yield test_gate


async def got_token(opened: TestGate, **header: Any) -> bool:
    try:
        await issue(opened.gate, opened.token_form(signed(opened, **header)))
    except TokenRefused:
        return False
    return True


def signed(opened: TestGate, **header: Any) -> str:
    plain = opened.assertion()
    if not header:
        return plain
    key = opened.keys[CLIENT]
    claims = jwt.decode(plain, key, algorithms=["ES384"]).claims
    head = {"alg": "ES384", "kid": key.thumbprint(), **header}
    return jwt.encode(head, claims, key, algorithms=["ES384"])


async def test_keys_are_fetched_once_and_kept(
    opened: TestGate, publisher: Publisher, clock: FakeClock
) -> None:
    assert await got_token(opened)
    clock.advance(599)
    assert await got_token(opened)
    assert len(publisher.asked) == 1
    clock.advance(1)
    assert await got_token(opened)
    assert len(publisher.asked) == 2


async def test_new_key_is_fetched_for_but_at_most_twice_a_minute(
    opened: TestGate, publisher: Publisher, clock: FakeClock
) -> None:
    assert await got_token(opened)
    opened.keys[CLIENT] = ECKey.generate_key("P-384")
    publisher.document = jwks(opened.keys[CLIENT])
    for _ in range(20):
        assert not await got_token(opened)  # too soon after the last time
    assert len(publisher.asked) == 1
    clock.advance(30)
    assert await got_token(opened)
    assert len(publisher.asked) == 2


async def test_made_up_key_ids_do_not_make_us_ask(
    opened: TestGate, publisher: Publisher, clock: FakeClock
) -> None:
    clock.advance(31)
    for number in range(20):
        assert not await got_token(opened, kid=f"made-up-{number}")
    assert len(publisher.asked) == 1


async def test_key_that_was_taken_back_is_out_after_ten_minutes(
    opened: TestGate, publisher: Publisher, clock: FakeClock
) -> None:
    assert await got_token(opened)
    publisher.document = jwks(ECKey.generate_key("P-384"))
    clock.advance(600)
    assert not await got_token(opened)


async def test_address_that_falls_silent_is_believed_for_ten_minutes_and_no_longer(
    opened: TestGate, publisher: Publisher, clock: FakeClock
) -> None:
    assert await got_token(opened)
    publisher.status = 503
    clock.advance(599)
    assert await got_token(opened)
    clock.advance(1)
    with pytest.raises(TokenRefused) as refused:
        await issue(opened.gate, opened.token_form())
    assert (refused.value.code, refused.value.status) == ("temporarily_unavailable", 503)
    assert refused.value.reason == "keys"
    assert "127.0.0.1" not in str(refused.value)
    publisher.status = 200
    clock.advance(30)
    assert await got_token(opened)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": []}',
        b'{"keys": [1, null, "x", {}]}',
        b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "x"}]}',
        b"[" * 5_000,
        b'{"keys": [' + b" " * 70_000 + b"]}",
    ],
    ids=["nothing", "half", "list", "empty", "object", "none", "odd", "shared", "deep", "large"],
)
async def test_document_that_holds_no_key_lets_nobody_in(
    opened: TestGate, publisher: Publisher, raw: bytes
) -> None:
    publisher.raw = raw
    assert not await got_token(opened)


async def test_redirect_is_not_followed(opened: TestGate, publisher: Publisher) -> None:
    publisher.status, publisher.headers = 302, {"location": "/elsewhere"}
    assert not await got_token(opened)
    assert publisher.asked == ["/jwks.json"]


async def test_what_the_header_says_of_keys_is_not_looked_at(
    opened: TestGate, publisher: Publisher
) -> None:
    """With the right key they change nothing; with another, they bring nothing."""
    elsewhere = publisher.url("/attacker.json")
    assert await got_token(opened, jku=elsewhere, x5u=elsewhere)
    right = opened.keys[CLIENT]
    opened.keys[CLIENT] = ECKey.generate_key("P-384")
    for header in (
        {"jku": elsewhere},
        {"jwk": opened.keys[CLIENT].as_dict(private=False)},
        {"x5u": elsewhere},
    ):
        assert not await got_token(opened, **header, kid=right.thumbprint())
    assert publisher.asked == ["/jwks.json"]


async def test_address_that_turns_out_to_be_inside_is_not_asked(
    opened: TestGate, publisher: Publisher
) -> None:
    object.__setattr__(opened.gate.config, "egress", EgressConfig(private=("10.9.0.0/16",)))
    assert not await got_token(opened)
    assert publisher.asked == []


async def test_key_for_another_algorithm_or_use_is_not_taken(
    opened: TestGate, publisher: Publisher, clock: FakeClock
) -> None:
    good = publisher.document["keys"][0]
    for change in ({"alg": "ES256"}, {"alg": "RS384"}, {"use": "enc"}, {"kid": None}):
        publisher.document = {"keys": [{**good, **change}]}
        assert not await got_token(opened)
        clock.advance(601)
    publisher.document = {"keys": [{**good, "alg": "ES384", "use": "sig"}]}
    assert await got_token(opened)


async def test_curve_that_smart_does_not_name_is_not_taken(
    opened: TestGate, publisher: Publisher
) -> None:
    publisher.document = jwks(ECKey.generate_key("P-256"), ECKey.generate_key("P-521"))
    assert not await got_token(opened)
