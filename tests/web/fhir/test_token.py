"""POST /oauth/token over a socket."""

from dataclasses import replace

import orjson
import pytest
from joserfc.jwk import ECKey

from chartgate.config import ServiceConfig
from chartgate.flows import token_care
from chartgate.model.principal import Process
from tests.web.serving import Served


async def test_token_that_is_given_opens_the_door(served: Served) -> None:
    async with served.http.post(
        f"{served.url}/oauth/token", data=served.opened.token_form()
    ) as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        token = (await answer.json())["access_token"]
    async with served.http.get(
        f"{served.url}/fhir/north-clinic/Slot/12", headers={"Authorization": f"Bearer {token}"}
    ) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"grant_type": "authorization_code"}, 400, "unsupported_grant_type"),
        ({"client_assertion": "a.b.c"}, 401, "invalid_client"),
        ({"scope": "system/Observation.rs"}, 400, "invalid_scope"),
    ],
    ids=str,
)
async def test_refusal_is_an_oauth_error(
    served: Served, change: dict[str, str], status: int, code: str
) -> None:
    form = {**served.opened.token_form(), **change}
    async with served.http.post(f"{served.url}/oauth/token", data=form) as answer:
        assert answer.status == status
        body = await answer.json()
    assert body["error"] == code
    assert body["error_description"]


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"grant_type", "application/x-www-form-urlencoded", 400),
        (b"a=1&a=2", "application/x-www-form-urlencoded", 400),
        (b"%ff=%ff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(300)), "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 415),
    ],
    ids=["no pair", "twice", "no utf-8", "many", "json"],
)
async def test_form_that_is_none_is_an_oauth_error_too(
    served: Served, body: bytes, media_type: str, status: int
) -> None:
    async with served.http.post(
        f"{served.url}/oauth/token", data=body, headers={"Content-Type": media_type}
    ) as answer:
        assert answer.status == status
        assert (await answer.json())["error"] == "invalid_request"


async def test_store_that_is_gone_is_an_oauth_error_too(served: Served) -> None:
    await served.gate.database.close()
    async with served.http.post(
        f"{served.url}/oauth/token", data=served.opened.token_form()
    ) as answer:
        assert answer.status == 503
        assert (await answer.json())["error"] == "temporarily_unavailable"


async def test_keys_that_cannot_be_read_are_our_fault_and_stay_ours(served: Served) -> None:
    (served.gate.config.folder / "slot-picker.jwks.json").write_text("{")
    async with served.http.post(
        f"{served.url}/oauth/token", data=served.opened.token_form()
    ) as answer:
        assert answer.status == 500
        assert "jwks" not in await answer.text()


async def ask(served: Served, name: str, token: str, **headers: str) -> tuple[int, bytes]:
    async with served.http.post(
        f"{served.url}/oauth/{name}", data={"token": token}, headers=headers
    ) as answer:
        return answer.status, await answer.read()


async def test_client_asks_about_its_own_token_and_takes_it_away(served: Served) -> None:
    headers = await served.bearer()
    token = headers["Authorization"].partition(" ")[2]
    status, body = await ask(served, "introspect", token, **headers)
    assert status == 200
    said = orjson.loads(body)
    assert (said["active"], said["client_id"]) == (True, "slot-picker")
    url = f"{served.url}/fhir/north-clinic/Slot/12"
    async with served.http.get(url, headers=headers) as answer:
        assert answer.status == 200
    assert await ask(served, "revoke", token, **headers) == (200, b"")
    async with served.http.get(url, headers=headers) as answer:
        assert answer.status == 401
    assert (await ask(served, "introspect", token, **headers))[0] == 401


async def test_token_revoked_by_another_process_opens_nothing_from_then_on(
    served: Served,
) -> None:
    """What this process keeps of it is not believed: the epoch moved."""
    headers = await served.bearer()
    url = f"{served.url}/fhir/north-clinic/Slot/12"
    async with served.http.get(url, headers=headers) as answer:
        assert answer.status == 200
    elsewhere = replace(served.gate)  # the same store, other caches
    await token_care.revoke_all(elsewhere, Process(id="cli/ada"), client="slot-picker")
    async with served.http.get(url, headers=headers) as answer:
        assert answer.status == 401
        assert b"Slot" not in await answer.read()


async def test_revoking_what_is_not_there_looks_the_same(served: Served) -> None:
    headers = await served.bearer()
    assert await ask(served, "revoke", "cg_" + "A" * 43, **headers) == (200, b"")
    assert (await ask(served, "introspect", "cg_" + "A" * 43, **headers))[1] == b'{"active":false}'


@pytest.mark.parametrize("name", ["introspect", "revoke"])
@pytest.mark.parametrize("token", ["", "cg_" + "A" * 43, "cgs_" + "A" * 43])
async def test_without_a_token_of_ones_own_nobody_asks(
    served: Served, name: str, token: str
) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    status, body = await ask(served, name, "cg_" + "A" * 43, **headers)
    assert status == 401
    assert orjson.loads(body)["error"] == "invalid_client"


async def test_request_without_a_token_to_ask_about_is_invalid(served: Served) -> None:
    status, body = await ask(served, "introspect", "", **await served.bearer())
    assert (status, orjson.loads(body)["error"]) == (400, "invalid_request")


async def test_service_opens_no_door_but_its_own(served: Served) -> None:
    gate = served.gate
    key = ECKey.generate_key("P-384")
    served.opened.keys["archive"] = key
    jwks = {"keys": [{**key.as_dict(private=False), "kid": key.thumbprint()}]}
    (gate.config.folder / "archive.jwks.json").write_bytes(orjson.dumps(jwks))
    service = ServiceConfig(name="archive", jwks_file="archive.jwks.json", may=("introspect",))
    object.__setattr__(gate.config, "services", {"archive": service})
    mine = await served.bearer("archive")
    theirs = (await served.bearer())["Authorization"].partition(" ")[2]
    assert orjson.loads((await ask(served, "introspect", theirs, **mine))[1])["active"] is True
    assert (await ask(served, "revoke", theirs, **mine)) == (200, b"")
    assert orjson.loads((await ask(served, "introspect", theirs, **mine))[1])["active"] is True
    for method, path in (
        ("GET", "/fhir/north-clinic/Slot/12"),
        ("GET", "/v1/proposals"),
        ("POST", "/v1/proposals/00000000-0000-0000-0000-000000000000/review"),
    ):
        async with served.http.request(
            method, served.url + path, headers=mine, json={} if method == "POST" else None
        ) as answer:
            assert answer.status in (401, 403, 404), path
            assert b"Slot/12" not in await answer.read()


async def test_token_for_one_site_does_not_hold_at_another(served: Served) -> None:
    form = {**served.opened.token_form(), "resource": f"{served.gate.config.web.url}/fhir/x"}
    async with served.http.post(f"{served.url}/oauth/token", data=form) as answer:
        assert (answer.status, (await answer.json())["error"]) == (400, "invalid_target")
    headers = await served.bearer()
    await served.gate.database.fetch("UPDATE access_token SET sites = '{}' WHERE tenant = $1")
    async with served.http.get(
        f"{served.url}/fhir/north-clinic/Slot/12", headers=headers
    ) as answer:
        assert answer.status == 404


@pytest.mark.parametrize(("status", "code"), [("free", 200), ("busy", 404), ("free,busy", 200)])
async def test_granular_scope_shows_what_its_condition_covers(
    served: Served, status: str, code: int
) -> None:
    form = served.opened.token_form(scope=f"system/Slot.rs?status={status}")
    async with served.http.post(f"{served.url}/oauth/token", data=form) as answer:
        granted = await answer.json()
    assert granted["scope"].split()[0] == f"system/Slot.rs?status={status}"
    headers = {"Authorization": f"Bearer {granted['access_token']}"}
    base = f"{served.url}/fhir/north-clinic/Slot"
    async with served.http.get(f"{base}/12", headers=headers) as answer:
        assert answer.status == code
    async with served.http.get(f"{base}?schedule=Schedule/1", headers=headers) as answer:
        assert answer.status == 200
        found = [entry["resource"]["status"] for entry in (await answer.json()).get("entry", [])]
    assert set(found) <= set(status.split(","))
