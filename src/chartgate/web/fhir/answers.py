"""A flow's answer as a FHIR response, and what all FHIR requests are checked for."""

from collections.abc import Sequence

from starlette.responses import Response

from chartgate.errors import Invalid, NotAcceptable
from chartgate.flows.reads import Answer
from chartgate.web.routes import Call

FHIR_JSON = "application/fhir+json"
JSON_FORMATS = ("json", "application/json", "application/fhir+json", "text/json")
JSON_RANGES = ("json", "*/*", "application/*")
STALE_WARNING = '110 - "Response is Stale"'  # RFC 7234, section 5.5.1


def respond(answer: Answer) -> Response:
    """The bytes as the flow made them, with what the caller needs to build on them."""
    headers = {
        "chartgate-as-of": answer.as_of.isoformat(),
        "chartgate-interaction": answer.interaction,
        "chartgate-decision": answer.decision,
    }
    if answer.notice:
        headers["chartgate-notice"] = answer.notice.encode("ascii", "replace").decode()
    if answer.etag:
        headers["etag"] = answer.etag
    if answer.stale:
        headers["chartgate-stale"] = "true"
        headers["warning"] = STALE_WARNING
    if answer.not_modified:
        return Response(status_code=304, headers=headers)
    return Response(answer.body, media_type=FHIR_JSON, headers=headers)


def check_format(call: Call, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The parameters without `_format` and `_pretty`. Raises NotAcceptable for anything but
    JSON. Source: https://hl7.org/fhir/R4/http.html#mime-type"""
    asked = [value.partition(";")[0] for name, value in pairs if name == "_format"]
    accept = call.header("accept") or "*/*"
    if asked and asked[-1] not in JSON_FORMATS:
        raise NotAcceptable("only JSON is served; ask for application/fhir+json")
    if not asked and not any(known in accept for known in JSON_RANGES):
        raise NotAcceptable("only JSON is served; accept application/fhir+json")
    return [pair for pair in pairs if pair[0] not in ("_format", "_pretty")]


def interaction_of(call: Call) -> str | None:
    """The interaction that the client continues, if it names one. Raises Invalid."""
    value = call.header("chartgate-interaction")
    if value == "":
        raise Invalid("leave Chartgate-Interaction out to open a new interaction")
    return value
