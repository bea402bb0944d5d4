"""FHIR `read`: GET /fhir/{site}/{type}/{id}."""

from starlette.responses import Response

from chartgate.errors import Invalid
from chartgate.flows import reads
from chartgate.flows.emergency_reads import read_in_emergency
from chartgate.model.principal import Person
from chartgate.web.fhir.answers import check_format, interaction_of, respond
from chartgate.web.routes import Call


async def read(call: Call) -> Response:
    """One resource as the caller's charter shows it, 304 if it is the version they name; or, for a
    person, of the patient whose glass they broke."""
    if check_format(call, call.query):
        raise Invalid("a read takes no parameters: the charter says which elements are shown")
    if isinstance(call.principal, Person):
        return respond(
            await read_in_emergency(
                call.gate,
                call.principal,
                call.parameters["site"],
                call.parameters["resource_type"],
                call.parameters["id"],
            )
        )
    answer = await reads.read(
        call.gate,
        call.client,
        call.parameters["site"],
        call.parameters["resource_type"],
        call.parameters["id"],
        interaction=interaction_of(call),
        if_none_match=call.header("if-none-match"),
    )
    return respond(answer)
