"""Sign in and sign out: by the organisation's own sign-in, by a password where people have one here,
or with the secret of a sealed account."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from starlette.responses import RedirectResponse, Response

from chartgate.errors import ChartgateError, Denied
from chartgate.flows import oidc, people
from chartgate.flows.code_grants import UNDER_WAY_FOR, Begun
from chartgate.flows.oidc import Arrival
from chartgate.web.api.session import set_session
from chartgate.web.auth import SAY_CROSS_SITE, session_cookie
from chartgate.web.console.pages import AFTER_SIGN_IN, page, see
from chartgate.web.cookies import read_cookie, set_cookie
from chartgate.web.routes import Call

FORM_COOKIE = "chartgate_form"  # ties the form to the browser that asked for it
AWAY_COOKIE = "chartgate_sign_in"  # of a sign-in that is under way at a provider
FORM_SECRET = re.compile(r"[A-Za-z0-9_\-]{43}")
# The address of this page holds a code that was used up; no other page needs to hear of it.
ARRIVAL_HEADERS = {"referrer-policy": "no-referrer"}


@dataclass(frozen=True, kw_only=True)
class LoginPage:
    """What the form shows."""

    reason: str  # why the last try failed
    then: str  # the page that was asked for
    provider: bool  # people may sign in where their organisation has their accounts
    passwords: bool  # people may sign in with a password of their own here
    form_token: str


@dataclass(frozen=True, kw_only=True)
class ArrivedPage:
    """What the browser shows for the moment until it goes on by itself."""

    then: str


async def form(call: Call) -> Response:
    """GET /login"""
    return _login_page(call, then=_own_page(dict(call.query).get("then", "")))


async def sign_in(call: Call) -> Response:
    """POST /login"""
    fields = call.form()
    _check_form(call, fields.get("form", ""))
    then = _own_page(fields.get("then", ""))
    try:
        signed_in = await people.sign_in(
            call.gate, fields.get("name", ""), fields.get("password", "")
        )
    except ChartgateError as error:
        return _login_page(call, then=then, error=error)
    sealed = signed_in.person.sealed
    response = see("/break-glass" if sealed else then)
    set_session(call, response, signed_in.cookie)
    return response


async def sign_out(call: Call) -> Response:
    """POST /logout; with `everywhere`, on all machines."""
    cookie = session_cookie(call.gate, _cookies(call))
    everywhere = "everywhere" in call.form()
    if cookie:
        await people.sign_out(call.gate, cookie, everywhere=everywhere)
    response = see("/login", done="signed-out-everywhere" if everywhere else "signed-out")
    set_session(call, response, "")
    return response


async def to_provider(call: Call) -> Response:
    """GET /login/oidc: off to the organisation's sign-in; with `step-up`, for a second factor."""
    query = dict(call.query)
    then = _own_page(query.get("then", ""))
    try:
        begun = await oidc.begin_sign_in(
            call.gate,
            then=then,
            cookie=read_cookie(call.gate, _cookies(call), AWAY_COOKIE),
            session=session_cookie(call.gate, _cookies(call)),
            step_up="step-up" in query,
        )
    except ChartgateError as error:
        return _login_page(call, then=then, error=error)
    return away(call, begun)


async def from_provider(call: Call) -> Response:
    """GET /login/oidc/callback: back from there."""
    cookie = read_cookie(call.gate, _cookies(call), AWAY_COOKIE)
    try:
        arrival = await oidc.finish_sign_in(call.gate, dict(call.query), cookie)
    except ChartgateError as error:
        return _login_page(call, then="/", error=error)
    return arrived(call, arrival)


def away(call: Call, begun: Begun) -> Response:
    """To the provider, with the cookie for coming back. It is sent on the way back although that
    begins at another site, so it is Lax; it opens nothing by itself."""
    response = RedirectResponse(begun.url, status_code=303)
    age_s = int(UNDER_WAY_FOR.total_seconds())
    set_cookie(call.gate, response, AWAY_COOKIE, begun.cookie, max_age_s=age_s, same_site="lax")
    return response


def arrived(call: Call, arrival: Arrival) -> Response:
    """A page that goes on by itself. After a redirect a browser would still count the way as one
    from the provider's site, and keep the session cookie, which is Strict, to itself."""
    then = _own_page(arrival.then)
    response = page(call, "arrived.html", ArrivedPage(then=then), refresh=f"0;url={then}")
    response.headers.update(ARRIVAL_HEADERS)
    set_session(call, response, arrival.signed_in.cookie)
    set_cookie(call.gate, response, AWAY_COOKIE, "", same_site="lax")
    return response


def _login_page(call: Call, *, then: str, error: ChartgateError | None = None) -> Response:
    known = read_cookie(call.gate, _cookies(call), FORM_COOKIE) or ""
    secret = known if FORM_SECRET.fullmatch(known) else secrets.token_urlsafe(32)
    context = LoginPage(
        reason=str(error) if error else "",
        then=then,
        provider=oidc.is_on(call.gate),
        passwords=people.passwords_are_on(call.gate),
        form_token=_form_token(secret),
    )
    response = page(call, "login.html", context, status=error.status if error else 200)
    if secret != known:
        # Lax: who follows a link to this page must not lose the form of another tab.
        set_cookie(call.gate, response, FORM_COOKIE, secret, same_site="lax")
    return response


def _check_form(call: Call, token: str) -> None:
    """Raises Denied for a form that did not come from our page in this very browser: somebody
    could sign a person in as somebody else, and look at what they do then."""
    secret = read_cookie(call.gate, _cookies(call), FORM_COOKIE)
    if not secret or not hmac.compare_digest(token.encode(), _form_token(secret).encode()):
        raise Denied(SAY_CROSS_SITE)


def _form_token(secret: str) -> str:
    return hashlib.sha256(b"form " + secret.encode("utf-8", "surrogateescape")).hexdigest()


def _cookies(call: Call) -> bytes:
    return (call.header("cookie") or "").encode("latin")


def _own_page(path: str) -> str:
    return path if AFTER_SIGN_IN.fullmatch(path) else "/"
