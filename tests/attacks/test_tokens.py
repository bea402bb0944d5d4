"""Attacks on credentials: assertions, tokens, scopes, sessions, and what passes for one of them."""

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from multidict import CIMultiDict

from chartgate.flows import people
from chartgate.flows.tokens import hash_token
from chartgate.web.app import ROUTES
from chartgate.web.routes import Guard
from tests.attacks.chart import PATIENT
from tests.attacks.contract import CANARY, check_alike, counts, nothing_happened, refused
from tests.web.front_desk import PASSWORD, Answer, FrontDesk

READ = f"/fhir/north-clinic/{PATIENT}"
PUBLIC = {
    "api-contract", "api-sign-in", "fhir-metadata", "health-live", "health-ready", "metrics",
    "page-login", "page-sign-in", "page-style", "smart-configuration", "token",
}  # fmt: skip
ABSENT = (
    "/mcp", "/mcp/sse", "/sse", "/messages", "/.well-known/mcp", "/cds-services",
    "/cds-services/book", "/docs", "/redoc", "/openapi.json", "/swagger", "/admin", "/debug",
    "/internal", "/control/scenario", "/demo", "/env", "/config", "/graphql", "/register",
    "/oauth/register",
)  # fmt: skip


async def post_assertion(desk: FrontDesk, assertion: str, **more: str) -> Answer:
    form = desk.served.opened.token_form(assertion) | more
    return await desk.ask("POST", "/oauth/token", form=form)


def attack(desk: FrontDesk, assertion: str, **more: str) -> Callable[[], Awaitable[Answer]]:
    return lambda: post_assertion(desk, assertion, **more)


def claims(desk: FrontDesk, client: str = "slot-picker") -> dict[str, Any]:
    """Right ones."""
    now = int(desk.gate.clock().timestamp())
    return {
        "iss": client,
        "sub": client,
        "aud": desk.gate.config.web.token_url,
        "exp": now + 240,
        "jti": str(uuid4()),
    }


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def unsigned(header: dict[str, Any], body: dict[str, Any], signature: bytes = b"") -> str:
    return f"{b64(orjson.dumps(header))}.{b64(orjson.dumps(body))}.{b64(signature)}"


@pytest.mark.parametrize(
    "audience",
    [
        "https://other.example/oauth/token",
        "http://127.0.0.1:8480/oauth/token/",
        "http://127.0.0.1:8480",
        "HTTP://127.0.0.1:8480/OAUTH/TOKEN",
        ["http://127.0.0.1:8480/oauth/token", "https://other.example"],
        "",
        None,
        {"aud": "http://127.0.0.1:8480/oauth/token"},
    ],
    ids=str,
)
async def test_T_01_assertion_for_another_audience(desk: FrontDesk, audience: Any) -> None:
    assertion = desk.served.opened.assertion(aud=audience)
    await refused(desk, attack(desk, assertion), status=401, reason="audience")


async def test_T_01_jwt_of_another_issuer_is_no_access_token(desk: FrontDesk) -> None:
    """The audience of a JWT is not looked at, because no JWT is taken; a client that has a token
    for elsewhere is told where tokens for here come from."""
    key = ECKey.generate_key("P-384")
    elsewhere = jwt.encode({"alg": "ES384"}, claims(desk), key, algorithms=["ES384"])
    headers = {"Authorization": f"Bearer {elsewhere}"}
    answer = await refused(desk, lambda: desk.ask("GET", READ, headers=headers), status=401)
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer ")
    [where] = re.findall(r'resource_metadata="([^"]+)"', challenge)
    path = where.removeprefix(desk.gate.config.web.url)
    assert (await desk.ask("GET", path)).json["resource"] == desk.gate.config.web.url


def forged(desk: FrontDesk, how: str) -> str:
    """An assertion whose signature proves nothing."""
    key = desk.served.opened.keys["slot-picker"]
    kid = key.thumbprint()
    body = claims(desk)
    head: dict[str, Any]
    if how in ("none", "None", "nOnE", "", "null"):
        return unsigned({"alg": None if how == "null" else how, "kid": kid}, body)
    if how == "HS256 with the public key":
        head = {"alg": "HS256", "kid": kid}
        text = unsigned(head, body).rpartition(".")[0]
        secret = orjson.dumps(key.as_dict(private=False))
        return f"{text}.{b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"
    if how == "zeros":
        return unsigned({"alg": "ES384", "kid": kid}, body, bytes(96))
    if how == "no signature":
        return unsigned({"alg": "ES384", "kid": kid}, body)
    mine = ECKey.generate_key("P-384")
    if how == "own key in the header":
        head = {"alg": "ES384", "kid": kid, "jwk": mine.as_dict(private=False)}
    elif how == "own jku":
        head = {"alg": "ES384", "kid": kid, "jku": "http://127.0.0.1:9/jwks.json"}
    elif how == "critical extension":
        head = {"alg": "ES384", "kid": kid, "crit": ["x"], "x": 1}
        mine = key  # type: ignore[assignment]
        text = unsigned(head, body).rpartition(".")[0]
        return f"{text}.{b64(b'x' * 96)}"
    elif how == "another client's key":
        other = desk.served.opened.keys["scribe"]
        return jwt.encode(
            {"alg": "ES384", "kid": other.thumbprint()}, body, other, algorithms=["ES384"]
        )
    else:
        head = {"alg": "ES384", "kid": {"unknown": "nobody", "no kid": None}.get(how, kid)}
        head = {k: v for k, v in head.items() if v is not None}
    text = unsigned(head, body).rpartition(".")[0]
    signature = jwt.encode({"alg": "ES384"}, body, mine, algorithms=["ES384"]).rpartition(".")[2]
    return f"{text}.{signature}"


@pytest.mark.parametrize(
    "how",
    [
        "none", "None", "nOnE", "", "null", "HS256 with the public key", "zeros", "no signature",
        "own key in the header", "own jku", "critical extension", "another client's key",
        "unknown", "no kid", "of nobody's key",
    ],
)  # fmt: skip
async def test_T_03_signature_that_proves_nothing(desk: FrontDesk, how: str) -> None:
    assertion = forged(desk, how)
    answer = await refused(desk, attack(desk, assertion), status=401, reason="assertion")
    assert assertion.rpartition(".")[0] not in answer.text


@pytest.mark.parametrize(
    ("shift", "reason"),
    [
        ({"exp": -61}, "expired"),
        ({"exp": -86_400}, "expired"),
        ({"exp": 361}, "lifetime"),
        ({"exp": 10**12}, "lifetime"),
        ({"nbf": 61}, "clock"),
        ({"iat": 61}, "clock"),
        ({"iat": 10**9}, "clock"),
        ({"exp": None}, "expired"),
    ],
    ids=str,
)
async def test_T_05_assertion_out_of_its_time(
    desk: FrontDesk, shift: dict[str, int | None], reason: str
) -> None:
    now = int(desk.gate.clock().timestamp())
    moved: dict[str, Any] = {name: None if by is None else now + by for name, by in shift.items()}
    assertion = desk.served.opened.assertion(**moved)
    reasons = {reason, "expired"} if "exp" in shift else reason
    await refused(desk, attack(desk, assertion), status=401, reason=reasons)


@pytest.mark.parametrize("value", ["soon", True, [1], float("1e300"), "1e9"], ids=str)
async def test_T_05_time_that_is_none(desk: FrontDesk, value: Any) -> None:
    assertion = desk.served.opened.assertion(exp=value)
    await refused(
        desk, attack(desk, assertion), status=401, reason={"expired", "assertion", "lifetime"}
    )


@pytest.mark.parametrize("shift", [{"exp": -59}, {"nbf": 59}, {"iat": 59}], ids=str)
async def test_T_05_a_minute_of_skew_is_forgiven(desk: FrontDesk, shift: dict[str, int]) -> None:
    """The other side of the same line, so that the refusals above are not by accident."""
    now = int(desk.gate.clock().timestamp())
    moved: dict[str, Any] = {name: now + by for name, by in shift.items()}
    assertion = desk.served.opened.assertion(**moved)
    assert (await post_assertion(desk, assertion)).status == 200


@pytest.mark.parametrize("place", ["query", "form", "cookie", "other header"])
async def test_T_06_token_in_a_place_that_is_logged_or_sent_by_itself(
    desk: FrontDesk, bearer: dict[str, str], place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    token = bearer["Authorization"].partition(" ")[2]
    search = "/fhir/north-clinic/Slot/_search"
    ways: dict[str, Callable[[], Awaitable[Answer]]] = {
        "query": lambda: desk.ask("GET", f"{READ}?access_token={token}"),
        "form": lambda: desk.ask("POST", search, form={"access_token": token}),
        "cookie": lambda: desk.ask("GET", READ, headers={"Cookie": f"access_token={token}"}),
        "other header": lambda: desk.ask("GET", READ, headers={"X-Access-Token": token}),
    }
    await refused(desk, ways[place], status=(400, 401))
    assert token not in "".join(capfd.readouterr())
    leaves = await desk.gate.database.fetch("SELECT body FROM audit_event WHERE tenant = $1")
    assert all(token not in bytes(row["body"]).decode() for row in leaves)


@pytest.mark.parametrize("place", ["query", "form"])
async def test_T_06_token_twice_is_not_taken_from_the_wrong_place(
    desk: FrontDesk, bearer: dict[str, str], place: str
) -> None:
    token = bearer["Authorization"].partition(" ")[2]
    ways: dict[str, Callable[[], Awaitable[Answer]]] = {
        "query": lambda: desk.ask("GET", f"{READ}?access_token={token}", headers=bearer),
        "form": lambda: desk.ask(
            "POST",
            "/fhir/north-clinic/Slot/_search",
            headers=bearer,
            form={"access_token": token},
        ),
    }
    answer = await refused(desk, ways[place], status=(400, 403))
    assert token not in answer.text


async def test_T_06_token_is_kept_as_a_hash_only(desk: FrontDesk, bearer: dict[str, str]) -> None:
    token = bearer["Authorization"].partition(" ")[2]
    rows = await desk.gate.database.fetch("SELECT * FROM access_token WHERE tenant = $1")
    assert any(hash_token(token) in dict(row).values() for row in rows)
    assert all(token not in repr(dict(row)) for row in rows)


@pytest.mark.parametrize(
    "scope",
    [
        "user/*.*", "user/*.cruds", "patient/*.rs", "system/*.cud", "system/Patient.cud",
        "system/*.*", "system/*.cruds", "system/*.write", "system/Slot.rs user/*.rs",
        "system/Observation.rs", "openid fhirUser", "launch/patient", "offline_access",
        "system/*.*x", "SYSTEM/*.RS", "system/Patient.rsrsrs../*",
    ],
)  # fmt: skip
async def test_T_09_scopes_that_no_agent_gets(desk: FrontDesk, scope: str) -> None:
    assertion = desk.served.opened.assertion()
    await refused(desk, attack(desk, assertion, scope=scope), status=400, reason="scope")


async def test_T_09_wildcard_brings_no_more_than_the_charter(desk: FrontDesk) -> None:
    """A wildcard for reading is cut down, never granted as such, and nothing in it writes."""
    answer = await post_assertion(desk, desk.served.opened.assertion(), scope="system/*.rs")
    granted = answer.json["scope"].split()
    assert not [s for s in granted if "*" in s or re.search(r"\.r?s?.*[cud]", s)]
    token = {"Authorization": f"Bearer {answer.json['access_token']}"}
    path = "/fhir/north-clinic/Observation/canary"
    await refused(desk, lambda: desk.ask("GET", path, headers=token), status=404)


@pytest.mark.parametrize("path", ["Slot?status=free", "Patient/canary"], ids=["search", "read"])
async def test_T_10_narrow_scope_used_for_more(desk: FrontDesk, path: str) -> None:
    token = await desk.bearer(scope="system/Slot.r")
    where = f"/fhir/north-clinic/{path}"
    await refused(desk, lambda: desk.ask("GET", where, headers=token), status=(403, 404))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_T_10_reading_scope_used_to_write(
    desk: FrontDesk, bearer: dict[str, str], method: str
) -> None:
    body = {"resourceType": "Patient", "id": "canary"}
    await refused(
        desk,
        lambda: desk.ask(method, READ, headers=bearer, json=body),
        status=405,
        action="fhir.write",
        reason="read-only",
    )


@pytest.mark.parametrize("grant", ["refresh_token", "password", "authorization_code", ""])
async def test_T_13_refresh_tokens_surface_is_absent(desk: FrontDesk, grant: str) -> None:
    """Agents get no refresh tokens: each token costs a newly signed assertion."""
    form = desk.served.opened.token_form() | {"grant_type": grant, "refresh_token": "x"}
    way = lambda: desk.ask("POST", "/oauth/token", form=form)
    await refused(desk, way, status=400, reason="grant-type")
    issued = await post_assertion(desk, desk.served.opened.assertion())
    assert "refresh_token" not in issued.json


async def test_T_14_token_past_its_end(desk: FrontDesk) -> None:
    """Expired, and the same answer as for one that never was."""
    token = await desk.bearer()
    missing = {"Authorization": f"Bearer cg_{'A' * 43}"}
    desk.clinic.clock.advance(301)
    try:
        expired = await refused(desk, lambda: desk.ask("GET", READ, headers=token), status=401)
        unknown = await refused(desk, lambda: desk.ask("GET", READ, headers=missing), status=401)
    finally:
        desk.clinic.clock.advance(-301)
    check_alike(expired, unknown)


async def test_T_15_assertion_used_twice(desk: FrontDesk) -> None:
    assertion = desk.served.opened.assertion()
    assert (await post_assertion(desk, assertion)).status == 200
    await refused(desk, attack(desk, assertion), status=401, reason="replay")


@pytest.mark.parametrize("jti", ["", "x" * 201, 7, None, "a\nb"], ids=repr)
async def test_T_15_assertion_that_could_not_be_known_again(desk: FrontDesk, jti: Any) -> None:
    assertion = desk.served.opened.assertion(jti=jti)
    await refused(desk, attack(desk, assertion), status=401, reason="jti")


async def test_T_15_same_assertion_many_times_at_once(desk: FrontDesk) -> None:
    """One of a crowd gets a token, however they race."""
    assertion = desk.served.opened.assertion()
    answers = await asyncio.gather(*(post_assertion(desk, assertion) for _ in range(20)))
    assert sorted(a.status for a in answers) == [200] + [401] * 19


async def test_T_17_token_of_another_tenant_looks_like_none(desk: FrontDesk) -> None:
    """It is in the same database, and real."""
    token = "cg_" + "B" * 43
    async with desk.gate.database.connection() as connection, connection.transaction():
        await connection.execute("SELECT set_config('chartgate.tenant', 'other', true)")
        await connection.execute(
            "INSERT INTO access_token SELECT 'other', $1, "
            "client, charter, scopes, $2, sites, $3, now() FROM (VALUES "
            "('slot-picker', 'clinic-booking', ARRAY['system/Patient.r'], "
            "ARRAY['north-clinic'])) AS t (client, charter, scopes, sites)",
            hash_token(token),
            desk.gate.clock().replace(year=2099),
            desk.gate.config.web.url,
        )
    other = {"Authorization": f"Bearer {token}"}
    none = {"Authorization": f"Bearer cg_{'C' * 43}"}
    real = await refused(desk, lambda: desk.ask("GET", READ, headers=other), status=401)
    unknown = await refused(desk, lambda: desk.ask("GET", READ, headers=none), status=401)
    check_alike(real, unknown)


def test_T_18_census_of_routes() -> None:
    """Every route says who may call it; the public ones are these, and show nothing of a chart."""
    assert all(isinstance(route.guard, Guard) for route in ROUTES)
    public = {route.name for route in ROUTES if route.guard is Guard.PUBLIC}
    assert public >= PUBLIC
    arriving = {"page-to-provider", "page-from-provider", "page-launched", "page-launch"}
    known = (
        PUBLIC
        | arriving
        | {"resource-metadata", "introspect", "revoke", "introspection", "revocation"}
    )
    assert public <= known, f"public and unknown to this census: {public - known}"


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/v1/openapi.yaml"])
async def test_T_18_public_routes_show_no_chart_and_change_nothing(
    desk: FrontDesk, bearer: dict[str, str], path: str
) -> None:
    await desk.ask("GET", READ, headers=bearer)
    before = await counts(desk)
    answer = await desk.ask("GET", path)
    assert answer.status == 200
    assert CANARY not in answer.text
    await nothing_happened(desk, before)
    for method in ("POST", "PUT", "DELETE"):
        await refused(desk, lambda m=method: desk.ask(m, path), status=405)  # type: ignore[misc]


@pytest.mark.parametrize("path", ABSENT)
async def test_T_18_surface_is_absent(desk: FrontDesk, bearer: dict[str, str], path: str) -> None:
    """Model Context Protocol, CDS Hooks, consoles of frameworks: whoever builds one of these
    replaces its row here by tests of what it refuses."""
    for method in ("GET", "POST"):
        way = lambda m=method: desk.ask(m, path, headers=bearer, json={} if m == "POST" else None)
        await refused(desk, way, status=404)


async def test_T_19_mcp_session_surface_is_absent(desk: FrontDesk, bearer: dict[str, str]) -> None:
    """What is like a session id here is the interaction: another client's opens nothing, and
    cannot be told from one that never was."""
    first = await desk.ask("GET", READ, headers=bearer)
    stolen = first.headers["Chartgate-Interaction"]
    thief = await desk.bearer("scribe")
    answers = [
        await refused(
            desk,
            lambda i=id_: desk.ask("GET", READ, headers=thief | {"Chartgate-Interaction": i}),  # type: ignore[misc]
            status=404,
        )
        for id_ in (stolen, str(uuid4()))
    ]
    check_alike(*answers)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example", "file://", ""]
)
async def test_T_20_foreign_origin(desk: FrontDesk, origin: str) -> None:
    """A page of another site, or a name that was bound anew to our address."""
    form = {"name": "sofia", "password": PASSWORD}
    way = lambda: desk.ask("POST", "/login", form=form, headers={"Origin": origin})
    await refused(desk, way, status=403)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-HTTP-Method-Override": "DELETE"},
        {"X-HTTP-Method": "PUT"},
        {"X-Method-Override": "PATCH"},
    ],
    ids=str,
)
async def test_T_22_method_override(
    desk: FrontDesk, bearer: dict[str, str], headers: dict[str, str]
) -> None:
    """Ignored: a GET stays a GET, a write is still refused."""
    before = await counts(desk)
    answer = await desk.ask("GET", READ, headers=bearer | headers)
    assert answer.status == 200
    after = await counts(desk)
    assert (after.writes, after.effects) == (before.writes, before.effects)
    way = lambda: desk.ask("POST", READ, headers=bearer | headers, json={})
    await refused(desk, way, status=405)


@pytest.mark.parametrize("query", ["_method=DELETE", "_method=PUT&x=y"])
async def test_T_22_method_in_the_query(
    desk: FrontDesk, bearer: dict[str, str], query: str
) -> None:
    await refused(desk, lambda: desk.ask("GET", f"{READ}?{query}", headers=bearer), status=400)


def raw(desk: FrontDesk, request: bytes) -> Callable[[], Awaitable[Answer]]:
    """Exactly these bytes."""

    async def send() -> Answer:
        refusals = desk.gate.database.refusals.counts
        before = refusals.total()
        answer = await desk.served.raw(request, timeout_s=2)
        async with asyncio.timeout(2):
            # Where a body goes wrong midway, the request that waits for it leaves the event.
            while refusals.total() == before:
                await asyncio.sleep(0.001)
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        fields = [tuple(line.split(": ", 1)) for line in lines[1:]]
        status = int(lines[0].split(" ")[1]) if head else 0
        return Answer(status=status, headers=CIMultiDict(fields), body=body)  # type: ignore[arg-type]

    return send


TO = b"/v1/proposals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"get " + READ.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n", (400, 405)),
        (b"GeT / HTTP/1.1\r\nHost: x\r\n\r\n", (400, 405)),
        (b"POST " + TO + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (b"POST " + TO + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"POST " + TO + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST " + TO + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (b"POST " + TO + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        (b"POST " + TO + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", (400, 401)),
        (b"POST " + TO + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST " + TO + b"Content-Length: +2\r\n\r\n{}", 400),
        (b"POST " + TO + b"Content-Length: 0x2\r\n\r\n{}", 400),
        (b"POST " + TO + b"Content-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", (303, 400, 401)),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404, 405)),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 405)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
    ids=range(22),
)
async def test_T_22_request_that_two_readers_read_differently(
    desk: FrontDesk, request_: bytes, status: int | tuple[int, ...]
) -> None:
    await refused(desk, raw(desk, request_), status=status)


@pytest.mark.parametrize(
    "header",
    [
        "X-Confirmed-By", "X-Human-Approved", "X-Step-Up", "X-User", "X-Remote-User",
        "X-Forwarded-User", "X-Role", "X-Original-URL", "X-Rewrite-URL",
    ],
)  # fmt: skip
async def test_T_23_header_by_which_an_agent_says_that_a_person_agreed(
    desk: FrontDesk, bearer: dict[str, str], header: str
) -> None:
    proposal = await desk.clinic.booked(desk.clinic.hospital.scenario.free_slots[1])
    body = {"verdict": "approve", "digest": proposal.content.digest}
    path = f"/v1/proposals/{proposal.id}/review"
    headers = bearer | {header: "sofia"}
    await refused(desk, lambda: desk.ask("POST", path, headers=headers, json=body), status=403)
    assert (await desk.clinic.get(proposal)).status == proposal.status
    await desk.ask("POST", f"/v1/proposals/{proposal.id}/withdraw", headers=bearer)


PEOPLE_ONLY = [r for r in ROUTES if r.guard in (Guard.PERSON, Guard.OPERATOR)]


@pytest.mark.parametrize("route", PEOPLE_ONLY, ids=[route.name for route in PEOPLE_ONLY])
async def test_T_24_agent_calls_what_is_for_people(
    desk: FrontDesk, bearer: dict[str, str], route: Any
) -> None:
    """Every such route: an agent's credential opens none of them, whatever it sends."""
    path = re.sub(r"\{\w+(:path)?\}", str(uuid4()), route.path)
    await refused(
        desk,
        lambda: desk.ask(route.method, path, headers=bearer),
        status=403,
        action="web.refuse",
        reason="forbidden",
    )


async def test_T_24_author_does_not_become_a_reviewer_by_the_same_name(
    desk: FrontDesk, bearer: dict[str, str]
) -> None:
    """A person who is called as the client is another principal, and has no part in it without a
    role; their session does not help the client."""
    await people.add_person(desk.gate, "slot-picker", PASSWORD, ["nothing"], ["north-clinic"])
    signed_in = await people.sign_in(desk.gate, "slot-picker", PASSWORD)
    proposal = await desk.clinic.booked(desk.clinic.hospital.scenario.free_slots[2])
    body = {"verdict": "approve", "digest": proposal.content.digest}
    headers = {
        "Cookie": f"chartgate_session={signed_in.cookie}",
        "X-CSRF-Token": signed_in.csrf,
    }
    path = f"/v1/proposals/{proposal.id}/review"
    await refused(
        desk, lambda: desk.ask("POST", path, headers=headers, json=body), status=(403, 404)
    )
    both = headers | bearer
    await refused(desk, lambda: desk.ask("POST", path, headers=both, json=body), status=400)
    await desk.ask("POST", f"/v1/proposals/{proposal.id}/withdraw", headers=bearer)


def test_T_18_no_route_of_the_sample_hospital_is_in_the_gateway() -> None:
    """Its back door for tests stays in its own package."""
    source = Path(__file__).parents[2] / "src" / "chartgate" / "web"
    assert not [p for p in source.rglob("*.py") if "chartgate.demo" in p.read_text()]
