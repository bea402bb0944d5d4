"""SMART Backend Services: who gets a token, and what it opens."""

import time
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from chartgate.clock import utc_now
from chartgate.demo.hospital import Hospital, RegisteredClient, running_hospital
from chartgate.demo.hospital.oauth import ASSERTION_TYPE, allowed_by, load_clients
from chartgate.errors import ConfigError

RSA = RSAKey.generate_key(2048, auto_kid=True)
EC = ECKey.generate_key("P-384", auto_kid=True)
STRANGER = ECKey.generate_key("P-384", auto_kid=True)


def registered(key: Any, scope: str = "system/*.cruds") -> RegisteredClient:
    jwks = KeySet([key]).as_dict(private=False)
    return RegisteredClient(client_id="gate", jwks=jwks, scope=scope)


@pytest.fixture(params=["RS384", "ES384"])
def algorithm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def assertion(hospital: Hospital, key: Any, algorithm: str = "ES384", **claims: Any) -> str:
    base = {
        "iss": "gate",
        "sub": "gate",
        "aud": hospital.token_url,
        "exp": int(time.time()) + 200,
        "jti": str(uuid.uuid4()),
    }
    header = {"alg": algorithm, "typ": "JWT", "kid": key.kid}
    return jwt.encode(header, {**base, **claims}, key, algorithms=[algorithm])


async def ask(
    http: aiohttp.ClientSession, hospital: Hospital, signed: str, **form: str
) -> tuple[int, Any]:
    fields = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": signed,
        "scope": "system/*.cruds",
    } | form
    async with http.post(hospital.token_url, data=fields) as response:
        assert response.headers["Cache-Control"] == "no-store"
        return response.status, await response.json()


async def get(http: aiohttp.ClientSession, hospital: Hospital, path: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with http.get(f"{hospital.fhir_url}/{path}", headers=headers) as response:
        return response.status


async def test_a_registered_key_gets_a_token_that_opens_the_chart(
    http: aiohttp.ClientSession, algorithm: str
) -> None:
    key = RSA if algorithm == "RS384" else EC
    async with running_hospital(clients=[registered(key)]) as hospital:
        hospital.edit({"resourceType": "Patient", "id": "a"})
        status, answer = await ask(http, hospital, assertion(hospital, key, algorithm))
        assert status == 200
        assert answer["token_type"] == "bearer"
        assert answer["expires_in"] <= 300
        for path in ("Patient/a", "Patient", "Patient/a/_history"):
            assert await get(http, hospital, path, answer["access_token"]) == 200
            assert await get(http, hospital, path, "") == 401
            assert await get(http, hospital, path, "guess") == 401
        assert await get(http, hospital, "metadata", "") == 200
        hospital.app.desk.expire_all()
        assert await get(http, hospital, "Patient/a", answer["access_token"]) == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "http://elsewhere/token"},
        {"exp": int(time.time()) - 60},
        {"exp": int(time.time()) + 3600},
        {"exp": None},
        {"sub": "other"},
        {"iss": "other", "sub": "other"},
        {"jti": ""},
    ],
)
async def test_an_assertion_with_wrong_claims_gets_none(
    http: aiohttp.ClientSession, claims: dict[str, Any]
) -> None:
    async with running_hospital(clients=[registered(EC)]) as hospital:
        status, answer = await ask(http, hospital, assertion(hospital, EC, **claims))
        assert (status, answer["error"]) == (401, "invalid_client")


async def test_an_assertion_is_good_once_and_only_from_its_key(
    http: aiohttp.ClientSession,
) -> None:
    async with running_hospital(clients=[registered(EC)]) as hospital:
        signed = assertion(hospital, EC)
        assert (await ask(http, hospital, signed))[0] == 200
        assert (await ask(http, hospital, signed))[1]["error"] == "invalid_client"
        forged = assertion(hospital, STRANGER)
        assert (await ask(http, hospital, forged))[1]["error"] == "invalid_client"
        assert (await ask(http, hospital, "a.b.c"))[1]["error"] == "invalid_client"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_assertion_type": "x"}, "invalid_request"),
        ({"scope": ""}, "invalid_scope"),
        ({"scope": "patient/*.read"}, "invalid_scope"),
        ({"scope": "system/Slot.cruds"}, "invalid_scope"),
    ],
)
async def test_a_form_that_asks_wrongly_gets_none(
    http: aiohttp.ClientSession, form: dict[str, str], error: str
) -> None:
    async with running_hospital(clients=[registered(EC, "system/*.rs")]) as hospital:
        status, answer = await ask(http, hospital, assertion(hospital, EC), **form)
        assert (status, answer["error"]) == (400, error)


async def test_a_token_opens_what_its_scopes_say(http: aiohttp.ClientSession) -> None:
    async with running_hospital(clients=[registered(EC)]) as hospital:
        for name in ("Patient", "Slot"):
            body: dict[str, Any] = {"schedule": {"reference": "Schedule/1"}, "status": "free"}
            times = {"start": "2026-03-02T09:00:00Z", "end": "2026-03-02T09:30:00Z"}
            extra = body | times if name == "Slot" else {}
            hospital.edit({"resourceType": name, "id": "a", **extra})
        scope = "system/Slot.rs system/Patient.r"
        token = (await ask(http, hospital, assertion(hospital, EC), scope=scope))[1]["access_token"]
        assert await get(http, hospital, "Slot/a", token) == 200
        assert await get(http, hospital, "Slot", token) == 200
        assert await get(http, hospital, "Patient/a", token) == 200
        assert await get(http, hospital, "Patient", token) == 403
        assert await get(http, hospital, "Task", token) == 403
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        entry = {"request": {"method": "DELETE", "url": "Slot/a"}}
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        async with http.post(hospital.fhir_url, json=bundle, headers=headers) as response:
            assert response.status == 403


async def test_a_token_stops_working_when_it_expires(http: aiohttp.ClientSession) -> None:
    later = timedelta()
    async with running_hospital(
        clients=[registered(EC)], clock=lambda: utc_now() + later
    ) as hospital:
        hospital.edit({"resourceType": "Patient", "id": "a"})
        token = (await ask(http, hospital, assertion(hospital, EC)))[1]["access_token"]
        assert await get(http, hospital, "Patient/a", token) == 200
        later = timedelta(seconds=301)
        assert await get(http, hospital, "Patient/a", token) == 401


def test_scopes_of_both_versions_are_understood() -> None:
    assert allowed_by("system/*.read system/Slot.cu") == {"*": "rs", "Slot": "cu"}


def test_a_clients_file_that_does_not_parse_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "clients.json"
    for text in ("{", '{"gate": {}}', '{"gate": {"jwks_file": "none"}}'):
        file.write_text(text)
        with pytest.raises(ConfigError, match="must be JSON such as"):
            load_clients(file)
    file.write_text('{"gate": {"jwks": {"keys": []}, "scope": "system/Slot.rs"}}')
    assert load_clients(file)[0].scope == "system/Slot.rs"
