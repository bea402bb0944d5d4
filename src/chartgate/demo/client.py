"""What every sample AI client is made of: a token, reads, proposals, and an ear for notifications.

It speaks only Chartgate's public interface and holds no credential of the EHR: this is what an
AI developer writes on the first day.
"""

import hashlib
import hmac
import time
import uuid
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from joserfc import jwt
from joserfc.jwk import ECKey

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TIMEOUT_S = 30.0
TOLERANCE_S = 300  # between the sender's clock and ours


@dataclass
class Gateway:
    """One client's way to one Chartgate."""

    url: str
    site: str
    client_id: str
    key: ECKey
    http: aiohttp.ClientSession
    scope: str  # e.g. "system/Slot.rs system/Patient.rs"
    token: str = ""
    renew_at: float = 0.0
    interaction: str | None = field(default=None)

    async def read(self, reference: str) -> dict[str, Any]:
        """One resource, minimised to what the charter allows."""
        return await self._get(f"/fhir/{self.site}/{reference}", {})

    async def search(self, resource_type: str, **criteria: str) -> list[dict[str, Any]]:
        """The matches of a type search. `_` in a name stands for `-`."""
        query = {
            name.replace("_", "-") if name[0] != "_" else name: v for name, v in criteria.items()
        }
        bundle = await self._get(f"/fhir/{self.site}/{resource_type}", query)
        return [
            entry["resource"]
            for entry in bundle.get("entry", [])
            if entry.get("search", {}).get("mode", "match") == "match"
        ]

    async def propose(
        self,
        action: str,
        changes: list[dict[str, Any]],
        *,
        confidence: float,
        rationale: str,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Submits a proposal for what this interaction read; sent again with the same `key`, it
        stays one proposal."""
        body = {
            "site": self.site,
            "action": action,
            "interaction": self.interaction,
            "changes": changes,
            "confidence": confidence,
            "rationale": rationale,
        }
        headers = await self._headers() | {
            "Content-Type": "application/json",
            "Idempotency-Key": key or str(uuid.uuid4()),
        }
        async with self.http.post(
            f"{self.url}/v1/proposals", data=orjson.dumps(body), headers=headers
        ) as response:
            return await _answer(response)

    def begin(self) -> None:
        """Starts a new interaction: the next read opens it."""
        self.interaction = None

    async def _get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        async with self.http.get(
            self.url + path, params=query, headers=await self._headers()
        ) as response:
            answer = await _answer(response)
            self.interaction = response.headers.get("Chartgate-Interaction", self.interaction)
            return answer

    async def _headers(self) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {await self._token()}"}
        return headers | ({"Chartgate-Interaction": self.interaction} if self.interaction else {})

    async def _token(self) -> str:
        """SMART Backend Services: a signed assertion for a short-lived token."""
        if time.monotonic() < self.renew_at:
            return self.token
        now = int(time.time())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": f"{self.url}/oauth/token",
            "iat": now,
            "exp": now + 240,
            "jti": str(uuid.uuid4()),
        }
        header = {"alg": "ES384", "typ": "JWT", "kid": self.key.thumbprint()}
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": jwt.encode(header, claims, self.key, algorithms=["ES384"]),
            "scope": self.scope,
        }
        async with self.http.post(f"{self.url}/oauth/token", data=form) as response:
            answer = await _answer(response)
        self.token = answer["access_token"]
        self.renew_at = time.monotonic() + answer["expires_in"] / 2
        return self.token


async def _answer(response: aiohttp.ClientResponse) -> dict[str, Any]:
    body: dict[str, Any] = await response.json(content_type=None)
    if response.status >= 400:
        raise GatewayRefused(response.status, body)
    return body


class GatewayRefused(Exception):
    """Chartgate answered with an error; `diagnostics` is its sentence."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        issues = body.get("issue") or [{}]
        self.status = status
        self.diagnostics = issues[0].get("diagnostics") or body.get("error_description", "")
        super().__init__(f"{status}: {self.diagnostics}")


def load_key(path: Path) -> ECKey:
    """A client's private key, as `chartgate init` wrote it."""
    return ECKey.import_key(path.read_bytes(), {"use": "sig"})


def signature_holds(secret: str, headers: Mapping[str, str], body: bytes, *, now_s: float) -> bool:
    """Whether a notification was signed with our secret, and not long ago (Standard Webhooks).

    Raises KeyError, ValueError for headers that are none.
    """
    if abs(now_s - int(headers["webhook-timestamp"])) > TOLERANCE_S:
        return False  # somebody kept it, to send it once more
    key = b64decode(secret.strip().removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = b"v1," + b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    given = headers["webhook-signature"].split()
    return any(hmac.compare_digest(expected, signature.encode()) for signature in given)
