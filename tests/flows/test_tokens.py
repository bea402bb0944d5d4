"""The token endpoint's walk: who gets a token, for what, and who never does."""

import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from chartgate.config import ClientConfig, ServiceConfig, VendorConfig
from chartgate.errors import Unauthenticated
from chartgate.flows.assertions import TokenRefused
from chartgate.flows.tokens import ContractEnded, client_of, grant, issue, service_of
from chartgate.model.audit import AuditEvent
from chartgate.policy.charters import compile_book
from chartgate.store.database import Database
from chartgate.store.governance import bump_epoch
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import CHARTER, TestGate, open_test_gate, parse_test_charter


@pytest.fixture
async def opened(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[TestGate]:
    async with open_test_gate(database, folder=tmp_path, clock=clock) as test_gate:
        yield test_gate


async def audited(database: Database) -> list[dict[str, Any]]:
    rows = await database.fetch("SELECT body FROM audit_event WHERE tenant = $1 ORDER BY id")
    return [orjson.loads(row["body"]) for row in rows]


async def refused(opened: TestGate, assertion: str, *, scope: str = "") -> TokenRefused:
    with pytest.raises(TokenRefused) as error:
        await issue(opened.gate, opened.token_form(assertion, scope=scope))
    return error.value


async def test_right_assertion_gets_a_token_of_the_charter(
    opened: TestGate, database: Database
) -> None:
    answer = await issue(opened.gate, opened.token_form())
    assert answer["token_type"] == "bearer"
    assert answer["expires_in"] == 300
    assert "system/Slot.rs" in answer["scope"].split()
    client = await client_of(opened.gate, answer["access_token"])
    assert (client.id, client.charter) == ("slot-picker", "clinic-booking")
    assert client.scopes == ("system/Appointment.rs", "system/Patient.r", "system/Slot.rs")
    assert client.sites == ("north-clinic",)
    (event,) = await audited(database)
    assert (event["action"], event["outcome"]) == ("token.issue", "success")


async def test_token_is_stored_as_a_hash_only(opened: TestGate, database: Database) -> None:
    token = (await issue(opened.gate, opened.token_form()))["access_token"]
    rows = await database.fetch("SELECT t::text AS line FROM access_token t WHERE tenant = $1")
    assert all(token not in row["line"] for row in rows)


async def test_rs384_is_taken_too(opened: TestGate) -> None:
    add_rsa_client(opened, bits=2048)
    await issue(opened.gate, opened.token_form(opened.assertion("rsa", algorithm="RS384")))


@pytest.mark.filterwarnings("ignore:Key size")
async def test_short_rsa_key_is_refused(opened: TestGate) -> None:
    add_rsa_client(opened, bits=1024)
    error = await refused(opened, opened.assertion("rsa", algorithm="RS384"))
    assert (error.code, error.status) == ("invalid_client", 401)


def add_rsa_client(opened: TestGate, *, bits: int) -> None:
    """Registers a client `rsa`, in the same charter."""
    key = RSAKey.generate_key(bits)
    opened.keys["rsa"] = key
    jwks = {"keys": [{**key.as_dict(private=False), "kid": key.thumbprint()}]}
    (opened.gate.config.folder / "rsa.jwks.json").write_bytes(orjson.dumps(jwks))
    registered = dict(opened.gate.config.clients)
    registered["rsa"] = ClientConfig(name="rsa", jwks_file="rsa.jwks.json")
    object.__setattr__(opened.gate.config, "clients", registered)
    both = CHARTER.replace(b"[slot-picker]", b"[slot-picker, rsa]")
    opened.gate.running.charters = compile_book([parse_test_charter(both)])


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"sub": "scribe"}, "subject"),
        ({"sub": None}, "subject"),
        ({"aud": "https://other.example/oauth/token"}, "audience"),
        ({"aud": None}, "audience"),
        ({"exp": None}, "expired"),
        ({"exp": "soon"}, "expired"),
        ({"exp": True}, "expired"),
        ({"exp": -61}, "expired"),
        ({"exp": 361}, "lifetime"),
        ({"nbf": 61}, "clock"),
        ({"iat": 61}, "clock"),
        ({"iat": 1e300}, "clock"),
        ({"jti": None}, "jti"),
        ({"jti": ""}, "jti"),
        ({"jti": 7}, "jti"),
        ({"jti": "x" * 201}, "jti"),
    ],
    ids=str,
)
async def test_assertion_with_a_wrong_claim_is_refused_and_audited(
    opened: TestGate, database: Database, claims: dict[str, Any], reason: str
) -> None:
    """Numbers are seconds from now."""
    now = opened.gate.clock().timestamp()
    moved = {k: v + now if type(v) in (int, float) and k != "jti" else v for k, v in claims.items()}
    with_none = {k: v for k, v in moved.items()}
    error = await refused(opened, opened.assertion(**with_none))
    assert (error.code, error.status, error.reason) == ("invalid_client", 401, reason)
    (event,) = await audited(database)
    assert (event["outcome"], event["reason"]) == ("denied", reason)
    assert event["agent"] == "client:slot-picker"


@pytest.mark.parametrize("claims", [{"exp": -59}, {"exp": 359}, {"nbf": 59}, {"iat": 59}], ids=str)
async def test_assertion_within_a_minute_of_skew_is_taken(
    opened: TestGate, claims: dict[str, Any]
) -> None:
    now = int(opened.gate.clock().timestamp())
    assertion = opened.assertion(**{k: v + now for k, v in claims.items()})
    assert await issue(opened.gate, opened.token_form(assertion))


async def test_assertion_used_twice_is_refused(opened: TestGate, database: Database) -> None:
    assertion = opened.assertion()
    await issue(opened.gate, opened.token_form(assertion))
    error = await refused(opened, assertion)
    assert error.reason == "replay"
    assert [e["outcome"] for e in await audited(database)] == ["success", "denied"]


async def test_assertion_is_remembered_as_long_as_it_could_be_replayed(
    opened: TestGate, clock: FakeClock
) -> None:
    assertion = opened.assertion()
    await issue(opened.gate, opened.token_form(assertion))
    clock.advance(240 + 59)
    await issue(opened.gate, opened.token_form())  # clears what has expired
    assert (await refused(opened, assertion)).reason == "replay"
    clock.advance(2)
    assert (await refused(opened, assertion)).reason == "expired"


def segment(value: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


def signed(opened: TestGate, claims: dict[str, Any], header: dict[str, Any]) -> str:
    """Signed with the right key, under a header of any kind."""
    text = f"{segment({'alg': 'ES384', **header})}.{segment(claims)}"
    key: Any = opened.keys["slot-picker"].get_op_key("sign")
    der = key.sign(text.encode(), ECDSA(SHA384()))
    r, s = decode_dss_signature(der)
    raw = r.to_bytes(48, "big") + s.to_bytes(48, "big")
    return f"{text}.{base64.urlsafe_b64encode(raw).decode().rstrip('=')}"


def test_signatures_made_here_are_sound(opened: TestGate) -> None:
    claims = orjson.loads(base64.urlsafe_b64decode(opened.assertion().split(".")[1] + "=="))
    assert jwt.decode(signed(opened, claims, {}), opened.keys["slot-picker"], algorithms=["ES384"])


def forged(opened: TestGate, kind: str) -> str:
    """An assertion with the right claims and a signature that must not hold."""
    right = opened.assertion()
    header, payload, signature = right.split(".")
    public = opened.keys["slot-picker"].as_dict(private=False)
    kid = opened.keys["slot-picker"].thumbprint()
    claims = orjson.loads(base64.urlsafe_b64decode(payload + "=="))
    hmac_key = OctKey.import_key(orjson.dumps(public))
    stranger = ECKey.generate_key("P-384")
    deep = base64.urlsafe_b64encode(b"[" * 3000).decode()
    forgeries = {
        "none": f"{segment({'alg': 'none', 'kid': kid})}.{payload}.",
        "hs256": jwt.encode({"alg": "HS256", "kid": kid}, claims, hmac_key, algorithms=["HS256"]),
        "stranger": jwt.encode(
            {"alg": "ES384", "kid": kid}, claims, stranger, algorithms=["ES384"]
        ),
        "unknown kid": f"{segment({'alg': 'ES384', 'kid': 'x'})}.{payload}.{signature}",
        "claims changed": f"{header}.{segment({**claims, 'jti': 'other'})}.{signature}",
        "unknown client": f"{header}.{segment({**claims, 'iss': 'nobody'})}.{signature}",
        "issuer no text": f"{header}.{segment({**claims, 'iss': ['slot-picker']})}.{signature}",
        "two parts": f"{header}.{payload}",
        "no base64": f"{header}.!!!.{signature}",
        "no object": f"{header}.{segment([1])}.{signature}",
        "deep": f"{header}.{deep}.{signature}",
        "deep header": f"{deep}.{payload}.{signature}",
        "extension": signed(opened, claims, {"kid": kid, "crit": ["exp"], "exp": 1}),
        "no kid": signed(opened, claims, {}),
        "long kid": signed(opened, claims, {"kid": "x" * 201}),
        "long": right + "x" * 8000,
    }
    return forgeries[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "none", "hs256", "stranger", "unknown kid", "claims changed", "unknown client",
        "issuer no text", "two parts", "no base64", "no object", "deep", "deep header", "long",
        "extension", "no kid", "long kid",
    ],
)  # fmt: skip
async def test_forged_assertion_is_refused_always_alike(
    opened: TestGate, database: Database, kind: str
) -> None:
    error = await refused(opened, forged(opened, kind))
    assert (error.code, error.status) == ("invalid_client", 401)
    assert "does not hold" in str(error)
    (event,) = await audited(database)
    assert (event["agent"], event["reason"]) == ("client:unknown", "assertion")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": ""}, "unsupported_grant_type"),
        ({"client_assertion_type": "other"}, "invalid_request"),
        ({"client_assertion": ""}, "invalid_request"),
    ],
    ids=str,
)
async def test_request_that_is_no_client_credentials_grant_is_refused(
    opened: TestGate, change: dict[str, str], code: str
) -> None:
    with pytest.raises(TokenRefused) as error:
        await issue(opened.gate, {**opened.token_form(), **change})
    assert (error.value.code, error.value.status) == (code, 400)


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("", "system/Appointment.rs system/Patient.r system/Slot.rs"),
        ("system/Slot.rs", "system/Slot.rs"),
        ("system/Slot.r", "system/Slot.r"),
        ("system/Patient.rs", "system/Patient.r"),
        ("system/Slot.cruds", "system/Slot.rs"),
        ("system/*.rs", "system/Appointment.rs system/Patient.r system/Slot.rs"),
        ("system/Slot.read system/Observation.rs", "system/Slot.rs"),
        ("system/Slot.r system/Slot.s", "system/Slot.rs"),
        ("system/Slot.rs?status=free", "system/Slot.rs?status=free"),
    ],
)
async def test_scope_is_cut_down_to_what_the_charter_allows(
    opened: TestGate, asked: str, granted: str
) -> None:
    assert " ".join(grant(opened.gate, "slot-picker", scope=asked).scopes) == granted


@pytest.mark.parametrize(
    "asked",
    [
        "system/Observation.rs",
        "user/*.*",
        "patient/Slot.rs",
        "system/Slot.cud",
        "openid",
        "system/*.*",
        "system/Slot.rs user/*.rs",
        "system/Slot.rs offline_access",
        "system/Slot.rs?status:not=free",
        "x" * 5000,
    ],
)
async def test_scope_that_leaves_nothing_is_refused(opened: TestGate, asked: str) -> None:
    assert (await refused(opened, opened.assertion(), scope=asked)).code == "invalid_scope"


async def test_client_in_two_charters_names_one(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    second = CHARTER.replace(b"charter: clinic-booking", b"charter: visit-note")
    async with open_test_gate(
        database, folder=tmp_path, clock=clock, charters=[CHARTER, second]
    ) as opened:
        with pytest.raises(TokenRefused, match="charter:clinic-booking charter:visit-note"):
            grant(opened.gate, "slot-picker", scope="")
        granted = grant(opened.gate, "slot-picker", scope="charter:visit-note system/Slot.r")
        assert (granted.charter.name, granted.scopes) == ("visit-note", ("system/Slot.r",))
        for asked in ("charter:other", "charter:visit-note charter:clinic-booking"):
            with pytest.raises(TokenRefused, match="exactly one"):
                grant(opened.gate, "slot-picker", scope=asked)


async def test_token_that_is_not_one_of_ours_is_refused_always_alike(opened: TestGate) -> None:
    token = (await issue(opened.gate, opened.token_form()))["access_token"]
    sentences = set()
    for wrong in ("", "x", "cg_" + "A" * 43, token[:-1], token + "A", token.upper(), "\udcff"):
        with pytest.raises(Unauthenticated) as error:
            await client_of(opened.gate, wrong)
        sentences.add(str(error.value))
    assert len(sentences) == 1


async def test_token_after_its_time_is_refused(opened: TestGate, clock: FakeClock) -> None:
    token = (await issue(opened.gate, opened.token_form()))["access_token"]
    clock.advance(299)
    assert await client_of(opened.gate, token)
    clock.advance(1)
    with pytest.raises(Unauthenticated):
        await client_of(opened.gate, token)


async def test_token_that_is_taken_from_the_store_ends_at_once(
    opened: TestGate, database: Database, clock: FakeClock
) -> None:
    """Even behind our back; who reads may keep it for a second, and looks at the epoch instead."""
    token = (await issue(opened.gate, opened.token_form()))["access_token"]
    assert await client_of(opened.gate, token, kept=True)
    await database.fetch("DELETE FROM access_token WHERE tenant = $1")
    assert await client_of(opened.gate, token, kept=True)
    clock.advance(1)
    for kept in (True, False):
        with pytest.raises(Unauthenticated):
            await client_of(opened.gate, token, kept=kept)


async def test_token_that_is_kept_is_asked_for_again_once_the_epoch_moves(
    opened: TestGate, database: Database
) -> None:
    token = (await issue(opened.gate, opened.token_form()))["access_token"]
    before = await client_of(opened.gate, token, kept=True)
    denied = AuditEvent(recorded=opened.gate.clock(), action="web.refuse", agent="unknown")
    async with database.change(denied) as transaction:
        await transaction.execute("DELETE FROM access_token WHERE tenant = $1", database.tenant)
        await bump_epoch(transaction, database.tenant)
    assert before.epoch != await opened.gate.audit.record(denied)  # which a read meets last
    with pytest.raises(Unauthenticated):
        await client_of(opened.gate, token, kept=True)


@pytest.mark.parametrize(
    ("resource", "audience"),
    [
        ("", "http://127.0.0.1:8480"),
        ("http://127.0.0.1:8480", "http://127.0.0.1:8480"),
        ("http://127.0.0.1:8480/", "http://127.0.0.1:8480"),
        ("http://127.0.0.1:8480/fhir/north-clinic", "http://127.0.0.1:8480/fhir/north-clinic"),
    ],
)
async def test_token_is_for_an_address_of_ours(
    opened: TestGate, database: Database, resource: str, audience: str
) -> None:
    form = {**opened.token_form(), "resource": resource}
    token = (await issue(opened.gate, form))["access_token"]
    row = await database.fetch_row("SELECT audience FROM access_token WHERE tenant = $1")
    assert row is not None
    assert row["audience"] == audience
    assert (await client_of(opened.gate, token)).sites == ("north-clinic",)


@pytest.mark.parametrize(
    "resource",
    [
        "https://other.example",
        "http://127.0.0.1:8480.evil.example",
        "http://127.0.0.1:8480/fhir/south-clinic",
        "http://127.0.0.1:8480/fhir/north-clinic/Patient",
        "http://127.0.0.1:8480/v1",
        "north-clinic",
    ],
)
async def test_token_for_another_address_is_refused(
    opened: TestGate, database: Database, resource: str
) -> None:
    with pytest.raises(TokenRefused) as error:
        await issue(opened.gate, {**opened.token_form(), "resource": resource})
    assert error.value.code == "invalid_target"
    (event,) = await audited(database)
    assert (event["outcome"], event["reason"]) == ("denied", "target")


@pytest.mark.parametrize(
    "audience", ["https://other.example", "http://127.0.0.1:8480/fhir/south-clinic", ""]
)
async def test_token_that_was_issued_for_another_address_opens_nothing(
    opened: TestGate, database: Database, audience: str
) -> None:
    """The store may be shared, and addresses change."""
    token = (await issue(opened.gate, opened.token_form()))["access_token"]
    assert await client_of(opened.gate, token)
    await database.fetch("UPDATE access_token SET audience = $2 WHERE tenant = $1", audience)
    with pytest.raises(Unauthenticated):
        await client_of(opened.gate, token)


def configured(opened: TestGate, **changes: Any) -> None:
    for name, value in changes.items():
        object.__setattr__(opened.gate.config, name, value)


def with_vendor(opened: TestGate, vendor: VendorConfig | None) -> None:
    """Production, where the client is run by this vendor."""
    client = ClientConfig(
        name="slot-picker",
        jwks_file="slot-picker.jwks.json",
        vendor=vendor.name if vendor else "",
    )
    configured(
        opened,
        production=True,
        clients={"slot-picker": client},
        vendors={vendor.name: vendor} if vendor else {},
    )


async def test_contract_that_ends_ends_the_token_and_gives_no_new_one(
    opened: TestGate, database: Database, clock: FakeClock
) -> None:
    today = clock().date()
    with_vendor(opened, VendorConfig(name="acme", contract="BAA-1", until=today))
    token = (await issue(opened.gate, opened.token_form()))["access_token"]
    assert await client_of(opened.gate, token)
    with_vendor(opened, VendorConfig(name="acme", contract="BAA-1", until=today - timedelta(1)))
    with pytest.raises(ContractEnded, match="BAA-1 with the vendor acme ended") as ended:
        await client_of(opened.gate, token)
    assert ended.value.agent == "client:slot-picker"
    error = await refused(opened, opened.assertion())
    assert (error.code, error.reason) == ("unauthorized_client", "vendor")
    assert [e["reason"] for e in await audited(database) if e["outcome"] == "denied"] == ["vendor"]


@pytest.mark.parametrize(
    "vendor", [None, VendorConfig(name="acme"), VendorConfig(name="acme", contract=" ")], ids=str
)
async def test_no_contract_means_no_token_in_production(
    opened: TestGate, vendor: VendorConfig | None
) -> None:
    with_vendor(opened, vendor)
    assert (await refused(opened, opened.assertion())).reason == "vendor"
    configured(opened, production=False)
    assert await issue(opened.gate, opened.token_form())


def add_service(opened: TestGate, name: str, *may: str) -> None:
    key = ECKey.generate_key("P-384")
    opened.keys[name] = key
    jwks = {"keys": [{**key.as_dict(private=False), "kid": key.thumbprint()}]}
    (opened.gate.config.folder / f"{name}.jwks.json").write_bytes(orjson.dumps(jwks))
    service = ServiceConfig(name=name, jwks_file=f"{name}.jwks.json", may=may)
    configured(opened, services={**opened.gate.config.services, name: service})


async def test_service_gets_a_token_of_its_own_kind(opened: TestGate, database: Database) -> None:
    add_service(opened, "archive", "audit")
    answer = await issue(opened.gate, opened.token_form(opened.assertion("archive")))
    assert answer["scope"] == "service:audit"
    service = await service_of(opened.gate, answer["access_token"])
    assert (service.agent, service.may) == ("service:archive", ("audit",))
    with pytest.raises(Unauthenticated):
        await client_of(opened.gate, answer["access_token"])
    (event,) = await audited(database)
    assert (event["agent"], event["details"]) == ("service:archive", {"may": "audit"})


async def test_token_of_a_client_is_none_of_a_service(opened: TestGate, database: Database) -> None:
    """Not even under the other prefix: the kinds lie in two tables."""
    add_service(opened, "archive", "audit")
    token = (await issue(opened.gate, opened.token_form()))["access_token"]
    other = await issue(opened.gate, opened.token_form(opened.assertion("archive")))
    for wrong in (token, token.replace("cg_", "cgs_"), other["access_token"] + "A"):
        with pytest.raises(Unauthenticated):
            await service_of(opened.gate, wrong)


async def test_service_loses_its_powers_with_the_config(opened: TestGate) -> None:
    add_service(opened, "archive", "audit")
    answer = await issue(opened.gate, opened.token_form(opened.assertion("archive")))
    add_service(opened, "archive")
    assert (await service_of(opened.gate, answer["access_token"])).may == ()
    configured(opened, services={})
    with pytest.raises(Unauthenticated):
        await service_of(opened.gate, answer["access_token"])


async def test_service_asks_for_no_scope(opened: TestGate) -> None:
    add_service(opened, "archive", "audit")
    error = await refused(opened, opened.assertion("archive"), scope="system/*.rs")
    assert error.code == "invalid_scope"


async def test_assertion_of_a_service_is_used_up_too(opened: TestGate) -> None:
    add_service(opened, "archive", "audit")
    assertion = opened.assertion("archive")
    await issue(opened.gate, opened.token_form(assertion))
    assert (await refused(opened, assertion)).reason == "replay"


async def test_token_of_a_client_that_left_the_charter_is_refused_at_once(
    opened: TestGate,
) -> None:
    token = (await issue(opened.gate, opened.token_form()))["access_token"]
    assert await client_of(opened.gate, token)
    without = CHARTER.replace(b"[slot-picker]", b"[somebody-else]")
    opened.gate.running.charters = compile_book([parse_test_charter(without)])
    with pytest.raises(Unauthenticated):
        await client_of(opened.gate, token)
