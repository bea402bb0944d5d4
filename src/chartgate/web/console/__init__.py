"""The pages people use, one file a page."""

from chartgate.web.console import (
    break_glass,
    connections,
    inbox,
    launch,
    login,
    proposal,
    take_back,
    worklist,
)
from chartgate.web.console.pages import FORM, error_page, style
from chartgate.web.routes import Endpoint, Guard, Route


def _route(method: str, path: str, endpoint: Endpoint, guard: Guard, name: str) -> Route:
    return Route(
        method=method,
        path=path,
        endpoint=endpoint,
        guard=guard,
        name=f"page-{name}",
        error_page=error_page,
        body_types=FORM,
    )


ROUTES: tuple[Route, ...] = (
    _route("GET", "/login", login.form, Guard.PUBLIC, "login"),
    _route("POST", "/login", login.sign_in, Guard.PUBLIC, "sign-in"),
    _route("GET", "/login/oidc", login.to_provider, Guard.PUBLIC, "to-provider"),
    _route("GET", "/login/oidc/callback", login.from_provider, Guard.PUBLIC, "from-provider"),
    _route("GET", "/launch", launch.launch, Guard.PUBLIC, "launch"),
    _route("GET", "/launch/{name}/callback", launch.launched, Guard.PUBLIC, "launched"),
    _route("POST", "/logout", login.sign_out, Guard.PERSON, "sign-out"),
    _route("GET", "/static/style.css", style, Guard.PUBLIC, "style"),
    _route("GET", "/", inbox.inbox, Guard.PERSON, "inbox"),
    _route("GET", "/proposals/{id}", proposal.show, Guard.PERSON, "proposal"),
    _route("POST", "/proposals/{id}/review", proposal.decide, Guard.PERSON, "review"),
    _route("POST", "/proposals/{id}/edit", proposal.edit, Guard.PERSON, "edit"),
    _route("POST", "/proposals/{id}/rollback", proposal.roll_back, Guard.PERSON, "rollback"),
    _route("GET", "/worklist", worklist.worklist, Guard.PERSON, "worklist"),
    _route("GET", "/worklist/{id}", worklist.show, Guard.PERSON, "handoff"),
    _route("POST", "/worklist/{id}/take", worklist.take, Guard.PERSON, "take"),
    _route("POST", "/worklist/{id}/close", worklist.close, Guard.PERSON, "close"),
    _route("GET", "/take-back", take_back.show, Guard.PERSON, "take-back"),
    _route("POST", "/take-back", take_back.ask, Guard.PERSON, "take-back-all"),
    _route("GET", "/connections", connections.connections, Guard.PERSON, "connections"),
    _route("GET", "/break-glass", break_glass.show, Guard.PERSON, "break-glasses"),
    _route("POST", "/break-glass", break_glass.open_, Guard.PERSON, "break-glass"),
    _route("POST", "/break-glass/{id}/end", break_glass.end, Guard.PERSON, "break-glass-end"),
    _route(
        "POST", "/break-glass/{id}/review", break_glass.review, Guard.PERSON, "break-glass-review"
    ),
)
