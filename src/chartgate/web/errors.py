"""Errors as answers: one shape, the OperationOutcome, for every route that is not a page.

Our own errors carry their sentence and issue code. Anything else is a fault of ours: the caller
gets an id to quote, and the log gets where it happened, but neither gets a value.
"""

import traceback
from collections.abc import Mapping

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response

from chartgate.errors import (
    ChartgateError,
    ConfigError,
    NotAllowed,
    SourceUnreachable,
    Throttled,
    Unauthenticated,
    Unavailable,
)

FHIR_JSON = "application/fhir+json"
RETRY_AFTER_S = 2.0  # for what passes by itself
REALM = 'Bearer realm="chartgate"'
SAY_UNEXPECTED = "something went wrong here, and nothing was answered; quote the request id"
FRAMES_MAX = 12


def outcome_body(error: ChartgateError) -> bytes:
    """The OperationOutcome of an error."""
    issue = {"severity": "error", "code": error.issue, "diagnostics": said(error)}
    return orjson.dumps({"resourceType": "OperationOutcome", "issue": [issue]})


def said(error: ChartgateError) -> str:
    """What the caller is told. A fault in our configuration is for the operator only."""
    return SAY_UNEXPECTED if isinstance(error, ConfigError) else str(error)


def status_of(error: ChartgateError) -> int:
    """The HTTP status; ConfigError is Invalid at the command line, but a fault of ours here."""
    return 500 if isinstance(error, ConfigError) else error.status


def outcome_page(request: Request, error: ChartgateError, request_id: str) -> Response:
    """The answer to an error, where the route names no page of its own."""
    return Response(
        outcome_body(error),
        status_code=status_of(error),
        media_type=FHIR_JSON,
        headers=dict(headers_of(error)),
    )


def headers_of(error: ChartgateError) -> Mapping[str, str]:
    """Headers that the status calls for, and the id of the decision."""
    headers = _headers_of_status(error)
    return {**headers, "chartgate-decision": error.decision} if error.decision else headers


def _headers_of_status(error: ChartgateError) -> Mapping[str, str]:
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": REALM}
    if isinstance(error, Throttled):
        return {"retry-after": str(max(1, round(error.retry_after_s)))}
    if isinstance(error, Unavailable | SourceUnreachable):
        return {"retry-after": str(round(RETRY_AFTER_S))}
    if isinstance(error, NotAllowed) and error.allow:
        return {"allow": error.allow}
    return {}


def unexpected(fault: Exception, *, route: str, request_id: str) -> ChartgateError:
    """What to answer to a fault that we did not foresee; the log gets its kind and its place."""
    frames = traceback.extract_tb(fault.__traceback__)[-FRAMES_MAX:]
    structlog.get_logger().error(
        "unexpected",
        route=route,
        request_id=request_id,
        error=type(fault).__name__,
        at=[f"{frame.filename.rpartition('chartgate/')[2]}:{frame.lineno}" for frame in frames],
    )
    return ChartgateError(SAY_UNEXPECTED)


def log_detail(error: ChartgateError, *, route: str, request_id: str) -> None:
    """What the operator should know of an error of ours."""
    structlog.get_logger().warning(
        "refused",
        route=route,
        request_id=request_id,
        error=type(error).__name__,
        detail=error.operator_detail,
    )
