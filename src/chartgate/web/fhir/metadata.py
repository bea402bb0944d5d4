"""What a site offers, derived from the charters: CapabilityStatement and SMART configuration."""

from collections.abc import Sequence

import orjson
from starlette.responses import Response

from chartgate import __version__
from chartgate.errors import NotFound
from chartgate.flows.assertions import ALGORITHMS
from chartgate.formats import r4
from chartgate.gate import Gate
from chartgate.model.charter import Charter
from chartgate.policy.scopes import scopes_of
from chartgate.web.routes import Call

FHIR_JSON = "application/fhir+json"
SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"
RELEASED = "2026-01-01"  # of this statement's form; what it lists follows the charters


async def capability_statement(call: Call) -> Response:
    """GET /fhir/{site}/metadata. Source: https://hl7.org/fhir/R4/capabilitystatement.html"""
    site = call.parameters["site"]
    charters = charters_at(call.gate, site)
    types = sorted({t for charter in charters for t in charter.reads})
    statement = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": RELEASED,
        "kind": "instance",
        "software": {"name": "Chartgate", "version": __version__},
        "implementation": {
            "description": f"Governed reads of {site} for AI clients; changes are proposed",
            "url": f"{call.gate.config.web.url}/fhir/{site}",
        },
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "security": {
                    "service": [{"coding": [{"system": SECURITY_SERVICE, "code": "SMART-on-FHIR"}]}]
                },
                "resource": [_resource(t, charters) for t in types],
            }
        ],
    }
    return Response(orjson.dumps(statement), media_type=FHIR_JSON)


async def smart_configuration(call: Call) -> Response:
    """GET /fhir/{site}/.well-known/smart-configuration.

    Source: https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html
    """
    charters = charters_at(call.gate, call.parameters["site"])
    web = call.gate.config.web
    scopes = {str(scope) for c in charters for scope in scopes_of(c.reads)}
    configuration = {
        "token_endpoint": web.token_url,
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "grant_types_supported": ["client_credentials"],
        "introspection_endpoint": f"{web.url}/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": ["Bearer"],
        "revocation_endpoint": f"{web.url}/oauth/revoke",
        "scopes_supported": sorted(scopes),
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
        "code_challenge_methods_supported": ["S256"],
    }
    return Response(orjson.dumps(configuration), media_type="application/json")


def charters_at(gate: Gate, site: str) -> tuple[Charter, ...]:
    """The charters of one site. Raises NotFound where there is none."""
    charters = tuple(c for c in gate.charters.charters.values() if site in c.sites)
    if not charters:
        raise NotFound("there is no such site")
    return charters


def _resource(resource_type: str, charters: Sequence[Charter]) -> dict[str, object]:
    rules = [c.reads[resource_type] for c in charters if resource_type in c.reads]
    searched = sorted({name for rule in rules for name in rule.search})
    interactions = [{"code": "read"}] + ([{"code": "search-type"}] if searched else [])
    resource: dict[str, object] = {
        "type": resource_type,
        "interaction": interactions,
        "versioning": "versioned",
    }
    if searched:
        known = r4.search_parameters(resource_type)
        resource["searchParam"] = [{"name": n, "type": known[n].type} for n in searched]
    return resource
