"""Signing in and out by the page."""

from tests.web.console.conftest import Look
from tests.web.console.pages_of import Page
from tests.web.front_desk import PASSWORD, Answer, FrontDesk


async def send(
    desk: FrontDesk, *, at: str = "/login", page: Answer | None = None, **fields: str
) -> Answer:
    """The form, as a browser that asked for it sends it."""
    page = page or await desk.ask("GET", at)
    cookie = page.headers["Set-Cookie"].partition(";")[0]
    form = Page(page).form("/login").fields | {"name": "sofia", "password": PASSWORD} | fields
    return await desk.ask("POST", "/login", headers={"Cookie": cookie}, form=form)


async def test_form_that_another_browser_asked_for_signs_nobody_in(desk: FrontDesk) -> None:
    """W-04: somebody else's form in a victim's browser would sign them in as somebody else."""
    await desk.add("sofia")
    page = await desk.ask("GET", "/login")
    cookie = page.headers["Set-Cookie"].partition(";")[0]
    form = Page(page).form("/login").fields | {"name": "sofia", "password": PASSWORD}
    other = (await desk.ask("GET", "/login")).headers["Set-Cookie"].partition(";")[0]
    for headers, fields in (
        ({}, form),
        ({"Cookie": other}, form),
        ({"Cookie": cookie}, form | {"form": ""}),
        ({"Cookie": cookie}, form | {"form": "ü"}),
        ({"Cookie": f"{cookie}; {other}"}, form),
    ):
        answer = await desk.ask("POST", "/login", headers=headers, form=fields)
        assert (answer.status, "Set-Cookie" in answer.headers) == (403, False)
    assert not await desk.clinic.audited("person.sign-in")
    assert (await desk.ask("POST", "/login", headers={"Cookie": cookie}, form=form)).status == 303


async def test_form_works_in_two_tabs(desk: FrontDesk) -> None:
    await desk.add("sofia")
    first = await desk.ask("GET", "/login")
    cookie = first.headers["Set-Cookie"].partition(";")[0]
    second = await desk.ask("GET", "/login", headers={"Cookie": cookie})
    assert "Set-Cookie" not in second.headers
    for page in (first, second):
        form = Page(page).form("/login").fields | {"name": "sofia", "password": PASSWORD}
        answer = await desk.ask("POST", "/login", headers={"Cookie": cookie}, form=form)
        assert answer.status == 303


async def test_person_signs_out_on_every_machine_at_once(desk: FrontDesk) -> None:
    here, there = await desk.sign_in(), await desk.sign_in()
    form = {"csrf": here.csrf, "everywhere": "yes"}
    answer = await desk.ask("POST", "/logout", headers=here.headers, form=form)
    assert answer.headers["Location"] == "/login?done=signed-out-everywhere"
    for session in (here, there):
        assert (await desk.ask("GET", "/", headers=session.headers)).status == 303
    (event,) = await desk.clinic.audited("person.sign-out")
    assert event["details"] == {"sessions": "all"}


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
    page = await desk.ask("GET", "/login")
    answers = [await send(desk, page=page, **fields) for fields in tries]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert "Name or password is wrong" in Page(answers[0]).text
    assert not any("Set-Cookie" in answer.headers for answer in answers)


async def test_name_and_password_are_not_put_back_into_the_page(desk: FrontDesk) -> None:
    answer = await send(desk, name="secretname", password="secretword")
    assert "secret" not in answer.text


async def test_sign_in_leads_to_what_was_asked_for(desk: FrontDesk) -> None:
    await desk.add("sofia")
    then = f"/proposals/{(await desk.clinic.booked()).id}"
    assert (await send(desk, at=f"/login?then={then}")).headers["Location"] == then


async def test_sign_in_leads_to_no_other_site(desk: FrontDesk, look: Look) -> None:
    await desk.add("sofia")
    for then in ("//evil.example", "https://evil.example", "/\\evil.example", "/x", "javascript:1"):
        assert (await look(f"/login?then={then}")).form("/login").fields["then"] == "/"
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
