"""A person's session: sign in, sign out."""

from starlette.responses import Response

from chartgate.flows import people
from chartgate.web.api.bodies import Body
from chartgate.web.api.views import answer
from chartgate.web.auth import SESSION_COOKIE, session_cookie
from chartgate.web.cookies import set_cookie
from chartgate.web.routes import Call


async def sign_in(call: Call) -> Response:
    """POST /v1/session"""
    body = Body(call, known=("name", "password"))
    signed_in = await people.sign_in(call.gate, body.text("name"), body.text("password"))
    person = signed_in.person
    value = {
        "person": person.id,
        "roles": list(person.roles),
        "sites": list(person.sites),
        "csrf": signed_in.csrf,
    }
    response = answer(value, status=201)
    set_session(call, response, signed_in.cookie)
    return response


async def sign_out(call: Call) -> Response:
    """DELETE /v1/session"""
    cookie = session_cookie(call.gate, (call.header("cookie") or "").encode("latin"))
    if cookie:
        await people.sign_out(call.gate, cookie)
    response = Response(status_code=204)
    set_session(call, response, "")
    return response


def set_session(call: Call, response: Response, value: str) -> None:
    """The session cookie: no script sees it, no other site sends it. Empty removes it."""
    set_cookie(call.gate, response, SESSION_COOKIE, value)
