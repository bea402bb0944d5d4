"""Signing in and out by the page."""

from tests.web.console.conftest import Look
from tests.web.console.pages_of import Page
from tests.web.front_desk import PASSWORD, Answer, FrontDesk


async def send(desk: FrontDesk, **fields: str) -> Answer:
    return await desk.ask("POST", "/login", form={"name": "sofia", "password": PASSWORD} | fields)


async def test_person_signs_in_and_out(desk: FrontDesk, look: Look) -> None:
    await desk.add("sofia")
    answer = await send(desk)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie, *flags = answer.headers["Set-Cookie"].split("; ")
    assert {flag.lower() for flag in flags} == {"httponly", "path=/", "samesite=strict"}
    headers = {"Cookie": cookie}
    inbox = Page(await desk.ask("GET", "/", headers=headers))
    assert "sofia scheduler · north-clinic" in inbox.text

    form = inbox.form("/logout").fields
    gone = await desk.ask("POST", "/logout", headers=headers, form=form)
    assert gone.headers["Location"] == "/login?done=signed-out"
    assert "Max-Age=0" in gone.headers["Set-Cookie"]
    assert (await desk.ask("GET", "/", headers=headers)).status == 303
    assert "You are signed out." in (await look("/login?done=signed-out")).text


async def test_whatever_is_wrong_the_page_is_the_same(desk: FrontDesk) -> None:
    await desk.add("sofia")
    tries = [
        {"password": "wrong"},
        {"name": "nobody"},
        {"name": ""},
        {"name": "<b>", "password": ""},
    ]
    answers = [await send(desk, **fields) for fields in tries]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert "Name or password is wrong" in Page(answers[0]).text
    assert not any("Set-Cookie" in answer.headers for answer in answers)


async def test_name_and_password_are_not_put_back_into_the_page(desk: FrontDesk) -> None:
    answer = await send(desk, name="secretname", password="secretword")
    assert "secret" not in answer.text


async def test_sign_in_leads_to_what_was_asked_for(desk: FrontDesk, look: Look) -> None:
    await desk.add("sofia")
    then = f"/proposals/{(await desk.clinic.booked()).id}"
    form = (await look(f"/login?then={then}")).form("/login").fields
    assert (await send(desk, **form)).headers["Location"] == then


async def test_sign_in_leads_to_no_other_site(desk: FrontDesk, look: Look) -> None:
    await desk.add("sofia")
    for then in ("//evil.example", "https://evil.example", "/\\evil.example", "/x", "javascript:1"):
        assert (await look(f"/login?then={then}")).form("/login").fields == {"then": "/"}
        assert (await send(desk, then=then)).headers["Location"] == "/"


async def test_form_sent_from_another_site_signs_nobody_in(desk: FrontDesk) -> None:
    await desk.add("sofia")
    for origin in ("https://evil.example", "null"):
        answer = await desk.ask(
            "POST",
            "/login",
            headers={"Origin": origin},
            form={"name": "sofia", "password": PASSWORD},
        )
        assert (answer.status, "Set-Cookie" in answer.headers) == (403, False)


async def test_field_that_stands_twice_is_refused(desk: FrontDesk) -> None:
    answer = await desk.ask(
        "POST",
        "/login",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        data=b"name=sofia&name=olu&password=x",
    )
    assert answer.status == 400
