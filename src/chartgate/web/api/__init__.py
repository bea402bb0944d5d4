"""The versioned JSON API under /v1; openapi.yaml is its contract."""

from starlette.responses import Response

from chartgate.errors import ChartgateError, NotFound
from chartgate.flows import decided
from chartgate.web.api import (
    audit,
    break_glass,
    changes,
    contract,
    handoffs,
    proposals,
    rollbacks,
    session,
)
from chartgate.web.routes import Call, Endpoint, Guard, Route


def _route(method: str, path: str, endpoint: Endpoint, guard: Guard, name: str) -> Route:
    return Route(
        method=method,
        path=f"/v1{path}",
        endpoint=_naming_decision(endpoint),
        guard=guard,
        name=f"api-{name}",
    )


def _naming_decision(endpoint: Endpoint) -> Endpoint:
    """The endpoint, whose answers and refusals name the decision that they rest on; except where
    something is not found, which must not tell what is hidden from what there is not."""

    async def named(call: Call) -> Response:
        decided.forget()
        try:
            response = await endpoint(call)
        except ChartgateError as error:
            if not isinstance(error, NotFound):
                error.decision = error.decision or decided.last()
            raise
        if id_ := decided.last():
            response.headers.setdefault("chartgate-decision", id_)
        return response

    return named


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
    _route("GET", "/proposals/{id}/three-way", rollbacks.compare, Guard.PERSON, "three-way"),
    _route("GET", "/rollbacks", rollbacks.listed, Guard.PERSON, "rollbacks"),
    _route("POST", "/rollbacks", rollbacks.ask, Guard.PERSON, "rollback-many"),
    _route("GET", "/changes", changes.listed, Guard.PERSON, "changes"),
    _route("GET", "/changes/{digest}", changes.show, Guard.PERSON, "change"),
    _route("POST", "/changes/{digest}/approve", changes.approve, Guard.PERSON, "change-approve"),
    _route("POST", "/changes/{digest}/refuse", changes.refuse, Guard.PERSON, "change-refuse"),
    _route("GET", "/audit", audit.search, Guard.AUDIT, "audit"),
    _route("GET", "/audit/review", audit.review, Guard.AUDIT, "audit-review"),
    _route("POST", "/audit/review", audit.sign_off, Guard.PERSON, "audit-sign-off"),
    _route("GET", "/handoffs", handoffs.listed, Guard.PERSON, "handoffs"),
    _route("POST", "/handoffs/{id}/take", handoffs.take, Guard.PERSON, "take"),
    _route("POST", "/handoffs/{id}/close", handoffs.close, Guard.PERSON, "close"),
    _route("GET", "/break-glass", break_glass.listed, Guard.PERSON, "break-glasses"),
    _route("POST", "/break-glass", break_glass.open_, Guard.PERSON, "break-glass"),
    _route("POST", "/break-glass/{id}/end", break_glass.end, Guard.PERSON, "break-glass-end"),
    _route(
        "POST", "/break-glass/{id}/review", break_glass.review, Guard.PERSON, "break-glass-review"
    ),
)
