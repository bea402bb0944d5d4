"""What a route is: a method, a path, the guard that stands before it, and its endpoint.

Each area (fhir, api, console) declares its own tuple `ROUTES` in its package; app.py joins them.
A route cannot be made without a guard, and the guard is checked before the endpoint is called.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from starlette.responses import Response

from chartgate.errors import ChartgateError, Invalid
from chartgate.flows.people import SignedIn
from chartgate.gate import Gate
from chartgate.model.principal import Client, Person, Service

FORM_FIELDS_MAX = 200  # our largest form has under 20


class Guard(Enum):
    """Who may call. What they may do once in is for policy to decide, not for the guard."""

    PUBLIC = "public"  # nobody is asked who they are; shows no patient data
    CLIENT = "client"  # an AI client, by its access token; the walk looks at its epoch at the end
    PERSON = "person"  # a member of staff, by their session cookie
    PRINCIPAL = "principal"  # either of the two
    SERVICE = "service"  # a program that asks about Chartgate itself, by its access token
    TOKEN = "token"  # an AI client or a service, by its access token
    AUDIT = "audit"  # a person or a service; the walk asks for the role or the power
    OPERATOR = "operator"  # a person who holds the role operator


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request that passed its guard. The body is within its limits of size and depth."""

    gate: Gate
    request: Request
    parameters: Mapping[str, str]  # of the path, percent-decoded
    body: bytes
    request_id: str
    principal: Client | Person | Service | None  # None: only where the guard is PUBLIC
    signed_in: SignedIn | None = None  # set where the principal is a Person

    @property
    def client(self) -> Client:
        """The calling AI client; only where the guard is CLIENT."""
        assert isinstance(self.principal, Client), "not a CLIENT route"
        return self.principal

    @property
    def service(self) -> Service:
        """The calling service; only where the guard is SERVICE."""
        assert isinstance(self.principal, Service), "not a SERVICE route"
        return self.principal

    @property
    def holder(self) -> Client | Service:
        """Whose token it is; only where the guard is TOKEN."""
        assert isinstance(self.principal, Client | Service), "not a TOKEN route"
        return self.principal

    @property
    def person(self) -> Person:
        """The calling person; only where the guard is PERSON or OPERATOR."""
        assert isinstance(self.principal, Person), "not a PERSON route"
        return self.principal

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query string's pairs, in order. Raises Invalid."""
        return parse_pairs(self.request.scope["query_string"])

    def header(self, name: str) -> str | None:
        """One header's value, if it was sent."""
        value: str | None = self.request.headers.get(name)
        return value

    def json(self) -> Any:
        """The body as JSON. Raises Invalid."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise Invalid(
                f"the body is not JSON: line {error.lineno}, column {error.colno}"
            ) from None

    def form(self) -> dict[str, str]:
        """The body as an urlencoded form, each field once. Raises Invalid."""
        return parse_form(self.body)


Endpoint = Callable[[Call], Awaitable[Response]]
ErrorPage = Callable[[Request, ChartgateError, str], Response]  # the text is the request id


@dataclass(frozen=True, kw_only=True)
class Route:
    """One row of the table. `{name}` in the path takes one segment, `{name:path}` the rest."""

    method: str  # "GET" answers HEAD too
    path: str  # "/fhir/{site}/{resource_type}/{id}"
    endpoint: Endpoint
    guard: Guard
    name: str  # unique; used in metrics and logs, where the path itself never stands
    error_page: ErrorPage | None = None  # None: OperationOutcome
    body_types: tuple[str, ...] = field(default=("application/json", "application/fhir+json"))
    # Its walk looks at the epoch before it answers, so a credential may be one of a moment ago.
    checks_epoch: bool = False


def parse_pairs(encoded: bytes) -> list[tuple[str, str]]:
    """Pairs of a query string or urlencoded form. Raises Invalid."""
    try:
        return parse_qsl(
            encoded.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(encoded),
            errors="strict",
            max_num_fields=FORM_FIELDS_MAX,
        )
    except ValueError:
        raise Invalid("the query or form is not urlencoded name=value pairs in UTF-8") from None


def parse_form(body: bytes) -> dict[str, str]:
    """An urlencoded form whose fields each stand once. Raises Invalid."""
    pairs = parse_pairs(body)
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Invalid("a field of the form stands twice")
    return fields
