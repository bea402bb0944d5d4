"""Sign in and sign out."""

from dataclasses import dataclass

from starlette.responses import Response

from chartgate.errors import ChartgateError
from chartgate.flows import people
from chartgate.web.api.session import set_session
from chartgate.web.auth import session_cookie
from chartgate.web.console.pages import AFTER_SIGN_IN, page, see
from chartgate.web.routes import Call


@dataclass(frozen=True, kw_only=True)
class LoginPage:
    """What the form shows."""

    reason: str  # why the last try failed
    then: str  # the page that was asked for


async def form(call: Call) -> Response:
    """GET /login"""
    then = _own_page(dict(call.query).get("then", ""))
    return page(call, "login.html", LoginPage(reason="", then=then))


async def sign_in(call: Call) -> Response:
    """POST /login"""
    fields = call.form()
    then = _own_page(fields.get("then", ""))
    try:
        signed_in = await people.sign_in(
            call.gate, fields.get("name", ""), fields.get("password", "")
        )
    except ChartgateError as error:
        context = LoginPage(reason=str(error), then=then)
        return page(call, "login.html", context, status=error.status)
    response = see(then)
    set_session(call, response, signed_in.cookie)
    return response


async def sign_out(call: Call) -> Response:
    """POST /logout"""
    cookie = session_cookie((call.header("cookie") or "").encode("latin"))
    if cookie:
        await people.sign_out(call.gate, cookie)
    response = see("/login", done="signed-out")
    set_session(call, response, "")
    return response


def _own_page(path: str) -> str:
    return path if AFTER_SIGN_IN.fullmatch(path) else "/"
