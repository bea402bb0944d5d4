"""Rendering: Jinja2 with escaping always on, and the headers that every page carries."""

import re
from dataclasses import fields
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from chartgate.errors import ChartgateError, Unauthenticated
from chartgate.web.console.wording import day_text
from chartgate.web.errors import headers_of, said, status_of
from chartgate.web.routes import Call

FORM = ("application/x-www-form-urlencoded",)
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "cache-control": "no-store",
    # Under no-referrer a browser sends `Origin: null` with our own forms, which are then refused.
    # Source: https://fetch.spec.whatwg.org/#append-a-request-origin-header
    "referrer-policy": "same-origin",
}
# What a page says after a form was taken. Codes, so that no text travels in a URL.
FLASHES = {
    "approved": "Approved. It is being written to the chart and read back.",
    "approved-in-part": "Your approval is noted. It is written once the others have approved too.",
    "known-bad": "That was a known-bad proposal, to test the review. Nothing was written.",
    "refused": "Refused. Nothing was written.",
    "handed-back": "Handed back to staff; it is in the worklist.",
    "edited": "Your version is saved. Look at it once more, then decide.",
    "rolling-back": "The change is being taken back.",
    "rolling-back-many": "They are being taken back, the newest first. Look again to see how far.",
    "taken": "You have taken it on.",
    "closed": "Closed.",
    "signed-out": "You are signed out.",
    "signed-out-everywhere": "You are signed out, here and on every other machine.",
    "glass-broken": "The glass is broken. Everything you look at is noted, and will be reviewed.",
    "glass-ended": "It has ended. A privacy officer will review it.",
    "glass-reviewed": "Your review is noted.",
    "expired": "Your session had ended, and what you sent was not done. Sign in and do it again.",
}
# Where a sign-in may lead: our own pages only, or a link could send people elsewhere.
AFTER_SIGN_IN = re.compile(
    r"/(worklist(/[0-9a-f-]{36})?|take-back|break-glass|connections|proposals/[0-9a-f-]{36})?"
)
RETURN = re.compile(r"(/proposals/[0-9a-f-]{36}|/take-back)(/\w+)?")  # to where a form was


@cache
def environment() -> Environment:
    """The templates of this folder."""
    env = Environment(
        loader=PackageLoader("chartgate.web.console"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["moment"] = moment
    env.filters["sentence"] = sentence
    return env


def moment(value: datetime) -> str:
    """A time as staff read it; UTC, said so."""
    return f"{day_text(value)}, {value:%H:%M} UTC"


def sentence(text: str) -> str:
    """A sentence of ours, which are written to stand inside others, on its own."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def page(
    call: Call, template: str, context: Any, *, status: int = 200, refresh: str = ""
) -> Response:
    """Renders `template` with the fields of a dataclass, and who is signed in. `refresh` is what
    `refresh_after` gave."""
    shown = {field.name: getattr(context, field.name) for field in fields(context)}
    signed_in = call.signed_in
    body = (
        environment()
        .get_template(template)
        .render(
            **shown,
            person=signed_in.person if signed_in else None,
            csrf=signed_in.csrf if signed_in else "",
            flash=FLASHES.get(dict(call.query).get("done", ""), ""),
            here=call.request.url.path,
            refresh=refresh,
            step_up=_should_step_up(call),
        )
    )
    return html(body, status=status)


def _should_step_up(call: Call) -> bool:
    """Whether this person could decide if they signed in again. From an EHR they come by it."""
    config = call.gate.config
    if call.signed_in is None or not config.mfa_required or not config.oidc.issuer:
        return False
    person = call.signed_in.person
    return not (person.mfa or person.sealed or person.patient)


def refresh_after(call: Call, *, every_s: int, times_max: int) -> str:
    """Content of a meta refresh of this page, or "" after that many without a person's doing: a
    page that reloads itself for ever would keep its session from ever being idle."""
    again = dict(call.query).get("again", "0")
    count = int(again) if again.isascii() and again.isdigit() and len(again) < 4 else times_max
    if count >= times_max:
        return ""
    return f"{every_s};url={call.request.url.path}?again={count + 1}"


def html(body: str, *, status: int = 200) -> Response:
    """A page that nobody may keep, frame or script."""
    return Response(body, status_code=status, media_type="text/html", headers=HEADERS)


def see(path: str, *, done: str = "") -> Response:
    """After a form: look at `path`."""
    return RedirectResponse(f"{path}?done={done}" if done else path, status_code=303)


def error_page(request: Request, error: ChartgateError, request_id: str) -> Response:
    """An error as a page; whoever is not signed in is sent to do so."""
    path = request.url.path
    if isinstance(error, Unauthenticated):
        if request.method not in ("GET", "HEAD"):
            return see("/login", done="expired")
        return see(f"/login?then={path}" if AFTER_SIGN_IN.fullmatch(path) else "/login")
    form = RETURN.fullmatch(path)
    body = (
        environment()
        .get_template("error.html")
        .render(
            reason=said(error),
            request_id=request_id,
            back=form[1] if form and request.method == "POST" else "",
            person=None,
            csrf="",
            flash="",
            here="",
            refresh="",
            step_up=False,
        )
    )
    response = html(body, status=status_of(error))
    response.headers.update(headers_of(error))
    return response


@cache
def stylesheet() -> bytes:
    """The one CSS file."""
    return (resources.files("chartgate.web.console") / "static" / "style.css").read_bytes()


async def style(call: Call) -> Response:
    """GET /static/style.css"""
    return Response(stylesheet(), media_type="text/css", headers={"cache-control": "max-age=300"})
