"""What a client that was refused may read to find out where tokens come from.

Source: RFC 9728 (OAuth 2.0 Protected Resource Metadata), sections 2 and 5.1
"""

import orjson
from starlette.responses import Response

from chartgate.config import WebConfig
from chartgate.web.routes import Call, Guard, Route

PATH = "/.well-known/oauth-protected-resource"


async def resource_metadata(call: Call) -> Response:
    """GET /.well-known/oauth-protected-resource: the same for everybody, of no patient."""
    web = call.gate.config.web
    sites = sorted({s for charter in call.gate.charters.charters.values() for s in charter.sites})
    metadata = {
        "resource": web.url,
        "resource_name": "Chartgate",
        "authorization_servers": [web.url],
        "bearer_methods_supported": ["header"],
        # Ours: SMART's own documents say the rest, one for each site.
        "smart_configurations": [
            f"{web.url}/fhir/{site}/.well-known/smart-configuration" for site in sites
        ],
    }
    return Response(orjson.dumps(metadata), media_type="application/json")


def with_pointer(challenge: str, web: WebConfig) -> str:
    """The challenge of a 401 with the address of that document."""
    return f'{challenge}, resource_metadata="{web.url}{PATH}"'


ROUTES = (
    Route(
        method="GET",
        path=PATH,
        endpoint=resource_metadata,
        guard=Guard.PUBLIC,
        name="resource-metadata",
    ),
)
