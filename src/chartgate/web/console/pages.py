"""Rendering: Jinja2 with escaping always on, and the headers that every page carries."""

from dataclasses import fields
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from chartgate.errors import ChartgateError, Unauthenticated
from chartgate.web.errors import said, status_of
from chartgate.web.routes import Call

FORM = ("application/x-www-form-urlencoded",)
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
# What a page says after a form was taken. Codes, so that no text travels in a URL.
FLASHES = {
    "approved": "Approved. It is being written to the chart and read back.",
    "refused": "Refused. Its author is told; nothing was written.",
    "handed-back": "Handed back to staff; it is in the worklist.",
    "edited": "Your version is saved. Look at it once more, then decide.",
    "rolling-back": "The change is being taken back.",
    "taken": "You have taken it on.",
    "closed": "Closed.",
    "signed-out": "You are signed out.",
}


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
    return env


def moment(value: datetime) -> str:
    """A time as staff read it; UTC, said so."""
    return value.strftime("%d %b %Y, %H:%M UTC")


def page(call: Call, template: str, context: Any, *, status: int = 200) -> Response:
    """Renders `template` with the fields of a dataclass, and who is signed in."""
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
        )
    )
    return html(body, status=status)


def html(body: str, *, status: int = 200) -> Response:
    """A page that nobody may keep, frame or script."""
    return Response(
        body,
        status_code=status,
        media_type="text/html",
        headers={"content-security-policy": POLICY, "cache-control": "no-store"},
    )


def see(path: str, *, done: str = "") -> Response:
    """After a form: look at `path`."""
    return RedirectResponse(f"{path}?done={done}" if done else path, status_code=303)


def error_page(request: Request, error: ChartgateError, request_id: str) -> Response:
    """An error as a page; whoever is not signed in is sent to do so."""
    if isinstance(error, Unauthenticated) and request.method in ("GET", "HEAD"):
        return RedirectResponse("/login", status_code=303)
    template = environment().get_template("error.html")
    body = template.render(
        sentence=said(error), request_id=request_id, person=None, csrf="", flash=""
    )
    return html(body, status=status_of(error))


@cache
def stylesheet() -> bytes:
    """The one CSS file."""
    return (resources.files("chartgate.web.console") / "static" / "style.css").read_bytes()


async def style(call: Call) -> Response:
    """GET /static/style.css"""
    return Response(stylesheet(), media_type="text/css", headers={"cache-control": "max-age=300"})
