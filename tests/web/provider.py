"""A provider of identities on a socket: it signs people in without asking, and can lie in every way
that a test names in `lies`. It is an organisation's OpenID provider and an EHR's SMART server."""

import base64
import hashlib
import hmac
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from tests.web.front_desk import Answer, FrontDesk

CLIENT_ID = "chartgate-here"
SECRET = "a secret that:needs quoting/ and more"
Key = RSAKey | ECKey


@dataclass(kw_only=True)
class Provider:
    """What a test plays with. `claims` replace or add; None leaves one out."""

    url: str
    clock: Callable[[], datetime]
    key: Key
    algorithm: str = "RS256"
    claims: dict[str, Any] = field(default_factory=dict)
    patient: Any = "7"
    lies: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # paths of all requests
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    forms: list[dict[str, str]] = field(default_factory=list)  # of the token endpoint
    tokens: list[str] = field(default_factory=list)  # ID tokens that were given out
    kid: str = "one"
    site: web.TCPSite | None = None
    moved_to: str = ""  # where the gateway listens, if a real browser is to find it

    async def close(self) -> None:
        """Stops listening: connections are refused from now on."""
        assert self.site is not None
        await self.site.stop()

    def published(self) -> dict[str, Any]:
        """The JWK set."""
        entry = dict(self.key.as_dict(private=False)) | {"kid": self.kid, "use": "sig"}
        return self.lies.get("jwks") or {"keys": [entry]}

    def id_token(self, nonce: str) -> str:
        """What is said of who signs in, signed, or not."""
        now = int(self.clock().timestamp())
        right = {
            "iss": self.url,
            "sub": "subject-1",
            "aud": CLIENT_ID,
            "exp": now + 300,
            "iat": now,
            "nonce": nonce,
            "preferred_username": "Ada@north.example",
            "groups": ["staff-schedulers", "clinic-north", "coffee"],
            "amr": ["pwd", "mfa"],
        }
        said = {k: v for k, v in {**right, **self.claims}.items() if v is not None}
        if "token" in self.lies:
            return str(self.lies["token"](self, said))
        return sign(said, self.key, algorithm=self.algorithm, kid=self.kid)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Every path."""
        self.asked.append(request.path)
        if request.path in self.lies:
            lie: web.StreamResponse = await self.lies[request.path](request)
            return lie
        handler = {
            "/.well-known/openid-configuration": self._metadata,
            "/.well-known/smart-configuration": self._metadata,
            "/jwks": self._jwks,
            "/authorize": self._authorize,
            "/token": self._token,
        }[request.path]
        return await handler(request)

    async def _metadata(self, request: web.Request) -> web.Response:
        document = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        return web.json_response({**document, **self.lies.get("metadata", {})})

    async def _jwks(self, request: web.Request) -> web.Response:
        return web.json_response(self.published())

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.url}
        back = {k: v for k, v in {**back, **self.lies.get("back", {})}.items() if v is not None}
        path = asked["redirect_uri"]
        if self.moved_to:
            path = self.moved_to + urlsplit(path).path
        return web.Response(status=302, headers={"Location": f"{path}?{urlencode(back)}"})

    async def _token(self, request: web.Request) -> web.Response:
        form = {k: str(v) for k, v in (await request.post()).items()}
        self.forms.append(form)
        asked = self.codes.pop(form["code"], None)
        if asked is None or not _proves(request, form, asked):
            return web.json_response({"error": "invalid_grant"}, status=400)
        token = self.id_token(asked["nonce"])
        self.tokens.append(token)
        value = {
            "access_token": "access-canary",
            "token_type": "Bearer",
            "id_token": token,
            "patient": self.patient,
        }
        return web.json_response({k: v for k, v in value.items() if v is not None})


def sign(claims: Mapping[str, Any], key: Key, *, algorithm: str, kid: str | None = "one") -> str:
    """A token with any algorithm."""
    header = {"alg": algorithm} | ({"kid": kid} if kid else {})
    return jwt.encode(header, dict(claims), key, algorithms=[algorithm])


def unsigned(provider: Provider, claims: Mapping[str, Any]) -> str:
    """A token with the algorithm none."""
    parts = [_b64(orjson.dumps({"alg": "none", "kid": "one"})), _b64(orjson.dumps(dict(claims)))]
    return ".".join([*parts, ""])


def with_public_key_as_secret(provider: Provider, claims: Mapping[str, Any]) -> str:
    """HS256 under the bytes of the public RSA key, which everybody has."""
    assert isinstance(provider.key, RSAKey)
    parts = [_b64(orjson.dumps({"alg": "HS256", "kid": "one"})), _b64(orjson.dumps(dict(claims)))]
    signed = ".".join(parts)
    proof = hmac.digest(provider.key.as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{_b64(proof)}"


def with_key_of_its_own(provider: Provider, claims: Mapping[str, Any]) -> str:
    """Signed soundly, by a key that the header brings along."""
    key = RSAKey.generate_key(2048)
    header = {"alg": "RS256", "kid": "one", "jwk": key.as_dict(private=False)}
    return jwt.encode(header, dict(claims), key, algorithms=["RS256"])


def _proves(request: web.Request, form: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    challenge = _b64(hashlib.sha256(form["code_verifier"].encode()).digest())
    own = request.headers.get("Authorization") or form.get("client_assertion")
    return (
        challenge == asked["code_challenge"]
        and form["redirect_uri"] == asked["redirect_uri"]
        and bool(own or form.get("client_id"))
    )


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@asynccontextmanager
async def running_provider(clock: Callable[[], datetime]) -> AsyncIterator[Provider]:
    """One that listens on a free port."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    provider = Provider(url=f"http://127.0.0.1:{port}", clock=clock, key=RSAKey.generate_key(2048))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", provider.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    provider.site = web.SockSite(runner, listening)  # type: ignore[assignment]
    await provider.site.start()  # type: ignore[union-attr]
    try:
        yield provider
    finally:
        await runner.cleanup()


@dataclass(kw_only=True)
class Traveller:
    """A browser at the front desk: it keeps cookies, and goes where it is sent by hand."""

    desk: FrontDesk
    cookies: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, **more: Any) -> Answer:
        """One request to the gateway."""
        headers = dict(more.pop("headers", {}))
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        answer = await self.desk.ask(method, path, headers=headers, **more)
        for line in answer.headers.getall("Set-Cookie", []):  # type: ignore[attr-defined]
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
                if not morsel.value:
                    del self.cookies[name]
        return answer

    async def away(self, path: str = "/login/oidc") -> str:
        """Begins; the address at the provider."""
        answer = await self.ask("GET", path)
        assert answer.status == 303, answer.text
        return str(answer.headers["Location"])

    async def back(self, url: str) -> str:
        """Signs in at the provider; the path at the gateway that it sends back to."""
        async with self.desk.served.http.get(url, allow_redirects=False) as answer:
            assert answer.status == 302
            parts = urlsplit(answer.headers["Location"])
        return f"{parts.path}?{parts.query}"

    async def arrive(self, path: str = "/login/oidc") -> Answer:
        """All the way; what the gateway answers to the coming back."""
        return await self.ask("GET", await self.back(await self.away(path)))


def query_of(url: str) -> dict[str, str]:
    """Its parameters."""
    return dict(parse_qsl(urlsplit(url).query))
