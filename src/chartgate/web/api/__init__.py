"""The versioned JSON API under /v1; openapi.yaml is its contract."""

from chartgate.web.api import contract, handoffs, proposals, session
from chartgate.web.routes import Endpoint, Guard, Route


def _route(method: str, path: str, endpoint: Endpoint, guard: Guard, name: str) -> Route:
    return Route(
        method=method, path=f"/v1{path}", endpoint=endpoint, guard=guard, name=f"api-{name}"
    )


ROUTES: tuple[Route, ...] = (
    _route("GET", "/openapi.yaml", contract.contract, Guard.PUBLIC, "contract"),
    _route("POST", "/session", session.sign_in, Guard.PUBLIC, "sign-in"),
    _route("DELETE", "/session", session.sign_out, Guard.PERSON, "sign-out"),
    _route("POST", "/proposals", proposals.submit, Guard.CLIENT, "submit"),
    _route("GET", "/proposals", proposals.listed, Guard.PRINCIPAL, "proposals"),
    _route("GET", "/proposals/{id}", proposals.show, Guard.PRINCIPAL, "proposal"),
    _route("POST", "/proposals/{id}/withdraw", proposals.withdraw, Guard.CLIENT, "withdraw"),
    _route("POST", "/proposals/{id}/review", proposals.review, Guard.PERSON, "review"),
    _route("POST", "/proposals/{id}/edit", proposals.edit, Guard.PERSON, "edit"),
    _route("POST", "/proposals/{id}/rollback", proposals.roll_back, Guard.PERSON, "rollback"),
    _route("GET", "/handoffs", handoffs.listed, Guard.PERSON, "handoffs"),
    _route("POST", "/handoffs/{id}/take", handoffs.take, Guard.PERSON, "take"),
    _route("POST", "/handoffs/{id}/close", handoffs.close, Guard.PERSON, "close"),
)
