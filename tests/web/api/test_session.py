"""A person signs in and out over JSON."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chartgate.config import WebConfig
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.web.api.promised import Api
from tests.web.front_desk import PASSWORD, FrontDesk, Session, open_front_desk


@pytest.fixture
async def public_desk(
    database: Database, clock: FakeClock, tmp_path: Path
) -> AsyncIterator[FrontDesk]:
    """A gateway behind https."""
    web = WebConfig(public_url="https://gate.example")
    async with open_front_desk(database, clock, tmp_path, web=web) as opened:
        yield opened


async def test_session_holds_from_sign_in_to_sign_out(desk: FrontDesk, api: Api) -> None:
    await desk.add("sofia")
    answer = await api("POST", "/v1/session", json={"name": "sofia", "password": PASSWORD})
    assert answer.status == 201
    assert (answer.json["person"], answer.json["roles"]) == ("sofia", ["scheduler"])
    cookie = answer.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    sofia = Session(name="sofia", cookie=cookie, csrf=answer.json["csrf"])
    assert (await api("GET", "/v1/proposals", headers=sofia.headers)).status == 200

    gone = await api("DELETE", "/v1/session", headers=sofia.changing)
    assert gone.status == 204
    assert "Max-Age=0" in gone.headers["Set-Cookie"]
    assert (await api("GET", "/v1/proposals", headers=sofia.headers)).status == 401


async def test_cookie_is_for_no_script_and_no_other_site(desk: FrontDesk, api: Api) -> None:
    await desk.add("sofia")
    answer = await api("POST", "/v1/session", json={"name": "sofia", "password": PASSWORD})
    flags = {part.strip().lower() for part in answer.headers["Set-Cookie"].split(";")[1:]}
    assert flags == {"httponly", "path=/", "samesite=strict"}


async def test_cookie_is_secure_where_the_gateway_is_called_by_https(
    public_desk: FrontDesk,
) -> None:
    await public_desk.add("sofia")
    body = {"name": "sofia", "password": PASSWORD}
    answer = await public_desk.ask("POST", "/v1/session", json=body)
    assert "; Secure" in answer.headers["Set-Cookie"]
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


async def test_whatever_is_wrong_the_answer_is_the_same(desk: FrontDesk, api: Api) -> None:
    await desk.add("sofia")
    answers = [
        await api("POST", "/v1/session", json={"name": name, "password": password})
        for name, password in (("sofia", "wrong"), ("nobody", PASSWORD), ("Not A Name", PASSWORD))
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert not any("Set-Cookie" in answer.headers for answer in answers)


async def test_sign_in_without_its_fields_is_refused(api: Api) -> None:
    cases: tuple[tuple[object, str], ...] = (
        ({"name": "sofia"}, "password must be a text"),
        ({"name": "", "password": "x"}, "name must be a text"),
        ({"name": "sofia", "pasword": "x"}, "did you mean password"),
        ([], "must be a JSON object"),
    )
    for body, sentence in cases:
        answer = await api("POST", "/v1/session", json=body)
        assert (answer.status, sentence in answer.diagnostics) == (400, True), body


async def test_sign_out_without_the_sessions_secret_is_refused(desk: FrontDesk, api: Api) -> None:
    sofia = await desk.sign_in()
    assert (await api("DELETE", "/v1/session", headers=sofia.headers)).status == 403
    assert (await api("GET", "/v1/proposals", headers=sofia.headers)).status == 200
