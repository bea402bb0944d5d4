"""The token endpoint: POST /oauth/token. Its answers and errors follow RFC 6749."""

import orjson
from starlette.requests import Request
from starlette.responses import Response

from chartgate.errors import ChartgateError
from chartgate.flows import tokens
from chartgate.web.errors import headers_of, said, status_of
from chartgate.web.routes import Call


async def token(call: Call) -> Response:
    """A token for a client that proves itself by a signed assertion."""
    answer = await tokens.issue(call.gate, call.form())
    return Response(
        orjson.dumps(answer), media_type="application/json", headers={"pragma": "no-cache"}
    )


def token_error(request: Request, error: ChartgateError, request_id: str) -> Response:
    """An error as RFC 6749, section 5.2, has it."""
    code = error.code if isinstance(error, tokens.TokenRefused) else _code_of(status_of(error))
    return Response(
        orjson.dumps({"error": code, "error_description": said(error)}),
        status_code=status_of(error),
        media_type="application/json",
        headers=dict(headers_of(error)),
    )


def _code_of(status: int) -> str:
    if status == 503:
        return "temporarily_unavailable"
    return "server_error" if status >= 500 else "invalid_request"
