"""What stands in the place of FHIR writes: how to propose instead."""

from starlette.responses import Response

from chartgate.errors import NotAllowed
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.web.routes import Call

SAY_PROPOSE = (
    "an AI client does not write here; propose the change: POST it to /v1/proposals, with the "
    "interaction in which you read, and a person will decide"
)


async def refuse_write(call: Call) -> Response:
    """Always raises NotAllowed, audited."""
    client = call.client
    await call.gate.audit.record(
        AuditEvent(
            recorded=call.gate.clock(),
            action="fhir.write",
            agent=client.agent,
            outcome=Outcome.DENIED,
            charter=client.charter,
            reason="read-only",
            details=(("method", call.request.method),),
        )
    )
    raise NotAllowed(SAY_PROPOSE, allow="GET, HEAD")
