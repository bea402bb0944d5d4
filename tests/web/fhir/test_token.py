"""POST /oauth/token over a socket."""

import pytest

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
