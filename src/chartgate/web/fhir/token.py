"""Tokens: POST /oauth/token (RFC 6749), /oauth/introspect (RFC 7662), /oauth/revoke (RFC 7009)."""

import orjson
from starlette.requests import Request
from starlette.responses import Response

from chartgate.errors import ChartgateError, Invalid
from chartgate.flows import token_care, tokens
from chartgate.flows.assertions import TokenRefused
from chartgate.web.errors import headers_of, said, status_of
from chartgate.web.routes import Call


async def token(call: Call) -> Response:
    """A token for a client that proves itself by a signed assertion."""
    answer = await tokens.issue(call.gate, call.form())
    return Response(
        orjson.dumps(answer), media_type="application/json", headers={"pragma": "no-cache"}
    )


async def introspect(call: Call) -> Response:
    """What a token is good for; only that it is not, where the caller may not know more."""
    said_of = await token_care.introspect(call.gate, call.holder, _token_in(call))
    return Response(orjson.dumps(said_of), media_type="application/json")


async def revoke(call: Call) -> Response:
    """Takes a token away. 200 whether there was one or not."""
    await token_care.revoke(call.gate, call.holder, _token_in(call))
    return Response(b"", media_type="application/json")


def _token_in(call: Call) -> str:
    token = call.form().get("token", "")
    if not token:
        raise Invalid("the form needs the field token")
    return token


def token_error(request: Request, error: ChartgateError, request_id: str) -> Response:
    """An error as RFC 6749, section 5.2, has it."""
    code = error.code if isinstance(error, TokenRefused) else _code_of(status_of(error))
    return Response(
        orjson.dumps({"error": code, "error_description": said(error)}),
        status_code=status_of(error),
        media_type="application/json",
        headers=dict(headers_of(error)),
    )


def _code_of(status: int) -> str:
    if status == 503:
        return "temporarily_unavailable"
    if status in (401, 403):
        return "invalid_client" if status == 401 else "unauthorized_client"
    return "server_error" if status >= 500 else "invalid_request"
