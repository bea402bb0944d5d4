"""SMART Backend Services as a client, at the sample hospital's token endpoint and worse ones."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from chartgate.adapters.fhir_r4.adapter import FhirR4
from chartgate.demo.hospital.oauth import RegisteredClient
from chartgate.demo.hospital.server import Hospital, running_hospital
from chartgate.errors import (
    ConfigError,
    InvalidTransition,
    SourceUnreachable,
    Throttled,
    WriteRefused,
)
from chartgate.model.write import Write
from chartgate.testing.builders import task
from chartgate.testing.clock import FakeClock
from chartgate.testing.conformance_bench import creation

Opener = Callable[..., Awaitable[FhirR4]]
Server = Callable[..., Awaitable[str]]
KEYS: dict[str, RSAKey | ECKey] = {
    "RS384": RSAKey.generate_key(2048),
    "ES384": ECKey.generate_key("P-384"),
}


def write_key(folder: Path, algorithm: str) -> str:
    (folder / "ehr.pem").write_bytes(KEYS[algorithm].as_pem(private=True))
    return "ehr.pem"


def credential(folder: Path, algorithm: str = "ES384") -> dict[str, str]:
    """What a connection is configured with, for a key of ours."""
    key_file = write_key(folder, algorithm)
    return {"client_id": "chartgate", "key_file": key_file, "key_alg": algorithm}


def registered(algorithm: str) -> RegisteredClient:
    key = KEYS[algorithm]
    public = {**key.as_dict(private=False), "kid": key.thumbprint()}
    return RegisteredClient(client_id="chartgate", jwks={"keys": [public]})


@asynccontextmanager
async def guarded_hospital(algorithm: str, clock: FakeClock) -> AsyncIterator[Hospital]:
    async with running_hospital(clients=[registered(algorithm)], clock=clock) as hospital:
        hospital.edit({**task(), "id": "1"})
        yield hospital


@pytest.mark.parametrize("algorithm", ["RS384", "ES384"])
@pytest.mark.parametrize("named", [True, False], ids=["token_url", "discovered"])
async def test_token_is_fetched_with_a_signed_assertion(
    algorithm: str, named: bool, tmp_path: Path, open_ehr: Opener
) -> None:
    clock = FakeClock()
    async with guarded_hospital(algorithm, clock) as hospital:
        ehr = await open_ehr(
            hospital.fhir_url,
            clock=clock,
            **credential(tmp_path, algorithm),
            token_url=hospital.token_url if named else "",
            scope="system/*.cruds",
        )
        await ehr.read("Task/1")


async def test_token_is_fetched_once_for_all_who_wait_and_renewed_early(
    tmp_path: Path, open_ehr: Opener
) -> None:
    clock = FakeClock()
    async with guarded_hospital("ES384", clock) as hospital:
        ehr = await open_ehr(
            hospital.fhir_url,
            clock=clock,
            **credential(tmp_path),
            token_url=hospital.token_url,
        )
        await asyncio.gather(*(ehr.read("Task/1") for _ in range(20)))
        assert hospital.journal.counts["token"] == 1
        clock.advance(230)  # of 300 s
        await ehr.read("Task/1")
        assert hospital.journal.counts["token"] == 1
        clock.advance(20)
        await asyncio.gather(*(ehr.read("Task/1") for _ in range(20)))
        assert hospital.journal.counts["token"] == 2


async def test_token_that_stops_working_is_replaced_once(tmp_path: Path, open_ehr: Opener) -> None:
    clock = FakeClock()
    async with guarded_hospital("ES384", clock) as hospital:
        ehr = await open_ehr(
            hospital.fhir_url,
            dialect="sample-hospital",
            clock=clock,
            **credential(tmp_path),
            token_url=hospital.token_url,
        )
        await ehr.read("Task/1")
        hospital.app.desk.expire_all()
        await ehr.read("Task/1")
        assert hospital.journal.counts["token"] == 2
        hospital.faults.switch("unauthorised", interactions=["create", "read"])
        write = Write(marker="m", changes=(creation(task()),))
        with pytest.raises(WriteRefused, match="check the credential"):
            await ehr.commit(write)
        assert hospital.journal.counts["token"] == 3
        with pytest.raises(SourceUnreachable, match="does not let us read") as caught:
            await ehr.read("Task/1")
        assert caught.value.operator_detail == "HTTP 401"


async def test_last_look_comes_after_the_token_and_again_before_a_repeat(
    tmp_path: Path, open_ehr: Opener
) -> None:
    clock = FakeClock()
    async with guarded_hospital("ES384", clock) as hospital:
        ehr = await open_ehr(
            hospital.fhir_url,
            dialect="sample-hospital",
            clock=clock,
            **credential(tmp_path),
            token_url=hospital.token_url,
            breaker_failures=1,
        )
        tokens_at_look: list[int] = []

        async def halted_at_the_second() -> None:
            tokens_at_look.append(hospital.journal.counts["token"])
            if len(tokens_at_look) == 2:
                raise InvalidTransition("halted")

        hospital.faults.switch("unauthorised", interactions=["create"], times=1)
        write = Write(marker="m", changes=(creation(task()),))
        with pytest.raises(InvalidTransition, match="halted"):
            await ehr.commit(write, last_look=halted_at_the_second)
        assert tokens_at_look == [1, 2]
        assert not hospital.journal.effects_of("m")
        assert ehr.breaker.state == "closed"
        await ehr.commit(write, last_look=halted_at_the_second)
        assert len(hospital.journal.effects_of("m")) == 1


async def test_renewal_that_fails_early_leaves_the_token_in_use(
    tmp_path: Path, open_ehr: Opener
) -> None:
    clock = FakeClock()
    async with guarded_hospital("ES384", clock) as hospital:
        ehr = await open_ehr(
            hospital.fhir_url,
            clock=clock,
            **credential(tmp_path),
            token_url=hospital.token_url,
        )
        await ehr.read("Task/1")
        hospital.faults.switch("down", "503", interactions=["token"])
        clock.advance(250)
        await ehr.read("Task/1")


async def test_wrong_credential_names_the_connection_and_what_to_check(
    tmp_path: Path, open_ehr: Opener
) -> None:
    clock = FakeClock()
    async with guarded_hospital("RS384", clock) as hospital:
        ehr = await open_ehr(
            hospital.fhir_url,
            clock=clock,
            **credential(tmp_path),
            token_url=hospital.token_url,
        )
        for _ in range(3):
            with pytest.raises(SourceUnreachable, match=r"connections\.north-ehr.*registered"):
                await ehr.read("Task/1")
        assert hospital.journal.counts["token"] == 1, "a refused credential is not hammered"
        assert ehr.breaker.state == "closed", "the system itself did nothing wrong"


@pytest.mark.parametrize(
    ("status", "body", "error", "sentence"),
    [
        (503, {}, SourceUnreachable, "token endpoint of north-ehr gave no token"),
        (200, {}, SourceUnreachable, "token endpoint of north-ehr gave no token"),
        (200, {"access_token": "a\nb"}, SourceUnreachable, "gave no token"),
        (429, {}, Throttled, "slow down"),
        (302, {}, SourceUnreachable, "refused our credential"),
    ],
)
async def test_token_endpoint_that_misbehaves_is_told(
    status: int,
    body: Any,
    error: type[Exception],
    sentence: str,
    tmp_path: Path,
    open_ehr: Opener,
    serve: Server,
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    url = await serve(handler)
    ehr = await open_ehr(
        url,
        **credential(tmp_path),
        token_url=f"{url}/token",
    )
    with pytest.raises(error, match=sentence):
        await ehr.read("Task/1")


async def test_assertion_has_the_claims_of_the_standard(
    tmp_path: Path, open_ehr: Opener, serve: Server
) -> None:
    forms: list[dict[str, Any]] = []

    async def handler(request: web.Request) -> web.Response:
        if request.path.endswith("/token"):
            forms.append(dict(await request.post()))
            return web.json_response({"access_token": "t", "expires_in": 0})
        assert request.headers["Authorization"] == "Bearer t"
        return web.json_response({**task(), "id": "1"})

    url = await serve(handler)
    clock = FakeClock()
    ehr = await open_ehr(
        url,
        clock=clock,
        dialect="medplum",
        client_id="chartgate",
        key_file=write_key(tmp_path, "RS384"),
        key_id="our-key",
        token_url=f"{url}/token",
    )
    await ehr.read("Task/1")
    await ehr.read("Task/1")
    tokens = [jwt.decode(f["client_assertion"], KEYS["RS384"], ["RS384"]) for f in forms]
    claims = tokens[0].claims
    now = int(clock().timestamp())
    assert tokens[0].header == {"alg": "RS384", "typ": "JWT", "kid": "our-key"}
    assert claims["iss"] == claims["sub"] == "chartgate"
    assert claims["aud"] == f"{url}/token"
    assert now < claims["exp"] <= now + 300
    assert claims["jti"] != tokens[1].claims["jti"]
    assert forms[0]["scope"] == "system/*.cruds"
    assert forms[0]["grant_type"] == "client_credentials"
    assert forms[0]["client_assertion_type"].endswith(":client-assertion-type:jwt-bearer")


async def test_discovery_names_no_endpoint_in_the_clear(
    tmp_path: Path, open_ehr: Opener, serve: Server
) -> None:
    endpoint: list[Any] = [None]

    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"token_endpoint": endpoint[0]})

    url = await serve(handler)
    ehr = await open_ehr(url, **credential(tmp_path))
    for bad, sentence in [
        (None, "set token_url in"),
        (["x"], "set token_url in"),
        ("file:///token", "must begin with https"),
        ("https://user:pass@evil.test/", "no credentials"),
    ]:
        endpoint[0] = bad
        with pytest.raises(SourceUnreachable, match=sentence):
            await ehr.read("Task/1")


@pytest.mark.parametrize(
    ("content", "algorithm", "sentence"),
    [
        (b"junk", "RS384", "an RSA private key"),
        (KEYS["ES384"].as_pem(private=True), "RS384", "an RSA private key"),
        (KEYS["RS384"].as_pem(private=True), "ES384", "P-384"),
        (KEYS["RS384"].as_pem(private=False), "RS384", "private key"),
        (ECKey.generate_key("P-256").as_pem(private=True), "ES384", "P-384"),
    ],
)
async def test_key_that_does_not_fit_is_a_config_error(
    content: bytes, algorithm: str, sentence: str, tmp_path: Path, open_ehr: Opener
) -> None:
    (tmp_path / "ehr.pem").write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        await open_ehr(
            "http://127.0.0.1:1/fhir", client_id="c", key_file="ehr.pem", key_alg=algorithm
        )
    with pytest.raises(ConfigError, match="cannot be read"):
        await open_ehr("http://127.0.0.1:1/fhir", client_id="c", key_file="none.pem")
