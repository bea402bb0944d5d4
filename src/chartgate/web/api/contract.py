"""openapi.yaml, served as it stands: the contract that the tests hold this API to."""

from functools import cache
from importlib import resources

from starlette.responses import Response

from chartgate.web.routes import Call


@cache
def contract_text() -> str:
    """The file."""
    return (resources.files("chartgate.web") / "openapi.yaml").read_text(encoding="utf-8")


async def contract(call: Call) -> Response:
    """GET /v1/openapi.yaml"""
    return Response(contract_text(), media_type="application/yaml")
