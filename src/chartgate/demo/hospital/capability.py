"""What the sample hospital says it can do.

Source: https://hl7.org/fhir/R4/capabilitystatement.html
"""

from typing import Any

from chartgate.demo.hospital.oauth import ALGORITHMS
from chartgate.demo.hospital.parameters import PARAMETERS, parameters_of

INTERACTIONS = ("read", "vread", "update", "patch", "delete", "history-instance", "create")


def capability_statement(fhir_url: str, url: str) -> dict[str, Any]:
    """The CapabilityStatement for /metadata."""
    service = {"coding": [{"system": SERVICE_SYSTEM, "code": "SMART-on-FHIR"}]}
    uris = [{"url": "token", "valueUri": f"{url}/oauth/token"}]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01",
        "kind": "instance",
        "software": {"name": "Chartgate sample hospital"},
        "implementation": {"description": "Synthetic patients only", "url": fhir_url},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "patchFormat": ["application/json-patch+json"],
        "rest": [
            {
                "mode": "server",
                "security": {
                    "service": [service],
                    "extension": [{"url": OAUTH_URIS, "extension": uris}],
                },
                "resource": [_resource(name) for name in sorted(PARAMETERS)],
                "interaction": [{"code": "transaction"}, {"code": "batch"}],
            }
        ],
    }


def smart_configuration(url: str) -> dict[str, Any]:
    """The document at .well-known/smart-configuration."""
    return {
        "token_endpoint": f"{url}/oauth/token",
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": ["system/*.cruds", "system/*.rs"],
        "capabilities": ["client-confidential-asymmetric", "permission-v2"],
    }


SERVICE_SYSTEM = "http://terminology.hl7.org/CodeSystem/restful-security-service"
OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


def _resource(name: str) -> dict[str, Any]:
    return {
        "type": name,
        "interaction": [{"code": code} for code in (*INTERACTIONS, "search-type")],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": False,
        "conditionalCreate": True,
        "conditionalRead": "not-match",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [
            {"name": parameter.name, "type": parameter.kind}
            for parameter in parameters_of(name).values()
        ],
    }
