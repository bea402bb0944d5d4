"""FHIR type search: GET /fhir/{site}/{type}?… and POST /fhir/{site}/{type}/_search.

The POST form keeps what is searched for out of URLs, and so out of other people's logs.
"""

from collections.abc import Sequence

from starlette.responses import Response

from chartgate.errors import Invalid
from chartgate.flows import searches
from chartgate.flows.emergency_reads import search_in_emergency
from chartgate.model.principal import Person
from chartgate.web.fhir.answers import check_format, interaction_of, respond
from chartgate.web.routes import Call, parse_pairs

COUNT = "_count"
CURSOR = "_cursor"


async def search(call: Call) -> Response:
    """A searchset by the parameters of the query; for a person, all of one type of the patient
    whose glass they broke."""
    if isinstance(call.principal, Person):
        if check_format(call, call.query):
            raise Invalid("under a break-glass a type is asked for as a whole, without parameters")
        names = (call.parameters["site"], call.parameters["resource_type"])
        return respond(await search_in_emergency(call.gate, call.principal, *names))
    return await _search(call, call.query)


async def search_by_form(call: Call) -> Response:
    """A searchset by the parameters of a form; those of a query would be a second place."""
    if call.query:
        raise Invalid("send all parameters in the form")
    return await _search(call, parse_pairs(call.body))


async def _search(call: Call, pairs: Sequence[tuple[str, str]]) -> Response:
    criteria = check_format(call, pairs)
    cursors = [value for name, value in criteria if name == CURSOR]
    if cursors:
        return await _search_on(call, criteria, cursors[0])
    counts = [value for name, value in criteria if name == COUNT]
    answer = await searches.search(
        call.gate,
        call.client,
        call.parameters["site"],
        call.parameters["resource_type"],
        [pair for pair in criteria if pair[0] != COUNT],
        interaction=interaction_of(call),
        count=_parse_count(counts),
    )
    return respond(answer)


async def _search_on(call: Call, criteria: Sequence[tuple[str, str]], cursor: str) -> Response:
    """The next page; the cursor stands for everything that was asked."""
    if len(criteria) > 1:
        raise Invalid("a link to a next page is used as it is: _cursor stands alone")
    answer = await searches.search_on(
        call.gate,
        call.client,
        call.parameters["site"],
        call.parameters["resource_type"],
        cursor,
        interaction=interaction_of(call),
    )
    return respond(answer)


def _parse_count(values: list[str]) -> int | None:
    if not values:
        return None
    if len(values) > 1 or not values[0].isascii() or not values[0].isdigit():
        raise Invalid("_count must be one whole number")
    count = int(values[0][:9])
    if count == 0:
        raise Invalid("_count must be at least 1: a count of matches alone is not given")
    return count
