"""A sample hospital on a real socket, and a caller that speaks HTTP to it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
import pytest

from chartgate.demo.hospital import Hospital, running_hospital

FHIR_JSON = "application/fhir+json"
PATCH_JSON = "application/json-patch+json"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An HTTP answer, decoded."""

    status: int
    json: Any
    headers: Mapping[str, str]

    @property
    def etag(self) -> str:
        return self.headers["ETag"]

    @property
    def found(self) -> list[str]:
        """Ids of a searchset, in order."""
        return [e["resource"]["id"] for e in self.json.get("entry", [])]


@pytest.fixture
async def hospital() -> AsyncIterator[Hospital]:
    """Open to all, without patients."""
    async with running_hospital() as opened:
        yield opened


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def call(hospital: Hospital, http: aiohttp.ClientSession) -> Callable[..., Awaitable[Reply]]:
    """call(method, path below the FHIR base or full URL, body=…, **headers with underscores)."""

    async def do(method: str, path: str, body: Any = None, **headers: str) -> Reply:
        kind = PATCH_JSON if method == "PATCH" else FHIR_JSON
        sent = {"Content-Type": kind} if body is not None else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = path if path.startswith("http") else f"{hospital.fhir_url}/{path}"
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        async with http.request(method, url, data=data, headers=sent) as response:
            text = await response.read()
            return Reply(
                status=response.status,
                json=orjson.loads(text) if text else None,
                headers=response.headers,
            )

    return do
