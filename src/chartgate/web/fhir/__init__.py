"""FHIR REST, one file an interaction."""

from chartgate.web.fhir.metadata import capability_statement, smart_configuration
from chartgate.web.fhir.read import read
from chartgate.web.fhir.search import search, search_by_form
from chartgate.web.fhir.token import introspect, revoke, token, token_error
from chartgate.web.fhir.write import refuse_write
from chartgate.web.routes import Guard, Route

FORM = ("application/x-www-form-urlencoded",)
WRITE_TYPES = ("application/json", "application/fhir+json", "application/json-patch+json")

READING = (
    Route(
        method="GET",
        path="/fhir/{site}/metadata",
        endpoint=capability_statement,
        guard=Guard.PUBLIC,
        name="fhir-metadata",
    ),
    Route(
        method="GET",
        path="/fhir/{site}/.well-known/smart-configuration",
        endpoint=smart_configuration,
        guard=Guard.PUBLIC,
        name="smart-configuration",
    ),
    Route(
        method="GET",
        path="/fhir/{site}/{resource_type}/{id}",
        endpoint=read,
        guard=Guard.PRINCIPAL,
        name="fhir-read",
        checks_epoch=True,
    ),
    Route(
        method="GET",
        path="/fhir/{site}/{resource_type}",
        endpoint=search,
        guard=Guard.PRINCIPAL,
        name="fhir-search",
        checks_epoch=True,
    ),
    Route(
        method="POST",
        path="/fhir/{site}/{resource_type}/_search",
        endpoint=search_by_form,
        guard=Guard.CLIENT,
        name="fhir-search-form",
        checks_epoch=True,
        body_types=FORM,
    ),
)
WRITING = tuple(
    Route(
        method=method,
        path="/fhir/{site}/{rest:path}",
        endpoint=refuse_write,
        guard=Guard.CLIENT,
        name=f"fhir-write-{method.lower()}",
        body_types=WRITE_TYPES,
    )
    for method in ("POST", "PUT", "PATCH", "DELETE")
)
TOKEN = (
    Route(
        method="POST",
        path="/oauth/token",
        endpoint=token,
        guard=Guard.PUBLIC,
        name="token",
        error_page=token_error,
        body_types=FORM,
    ),
    *(
        Route(
            method="POST",
            path=f"/oauth/{name}",
            endpoint=endpoint,
            guard=Guard.TOKEN,
            name=name,
            error_page=token_error,
            body_types=FORM,
        )
        for name, endpoint in (("introspect", introspect), ("revoke", revoke))
    ),
)

ROUTES: tuple[Route, ...] = (*READING, *WRITING, *TOKEN)
