"""Signing in at the organisation's own provider, over sockets: what it says is believed only where
it is proven, and each refusal is one sentence, one audit event and no session."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from joserfc.jwk import ECKey, RSAKey

from chartgate.config import OidcConfig, PeopleConfig, WebConfig
from chartgate.flows import accounts, code_grants, people
from chartgate.policy.charters import compile_book
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import CHARTERS, OPERATOR, SITE, sample_charter
from tests.web.console.pages_of import Page
from tests.web.front_desk import FrontDesk, open_front_desk
from tests.web.provider import (
    CLIENT_ID,
    SECRET,
    Provider,
    Traveller,
    query_of,
    running_provider,
    sign,
    unsigned,
    with_key_of_its_own,
    with_public_key_as_secret,
)

ROLES = {"staff-schedulers": "scheduler", "staff-clinicians": "clinician"}
SITES = {"clinic-north": SITE}
Lie = Callable[[Provider, dict[str, Any]], str]


@pytest.fixture
async def provider(clock: FakeClock) -> AsyncIterator[Provider]:
    async with running_provider(clock) as running:
        yield running


@pytest.fixture
def settings(provider: Provider, tmp_path: Path) -> dict[str, Any]:
    """Of the config; a test may change them before `desk` is asked for."""
    (tmp_path / "oidc-secret").write_text(SECRET + "\n")
    oidc = OidcConfig(
        issuer=provider.url,
        client_id=CLIENT_ID,
        client_secret_file="oidc-secret",
        name_claim="preferred_username",
        roles=ROLES,
        sites=SITES,
        mfa_acr=("loa3",),
        step_up_acr="loa3",
    )
    return {"oidc": oidc, "people": PeopleConfig(mfa="required")}


@pytest.fixture
async def desk(
    database: Database, clock: FakeClock, tmp_path: Path, settings: dict[str, Any]
) -> AsyncIterator[FrontDesk]:
    async with open_front_desk(database, clock, tmp_path, **settings) as opened:
        charters = [sample_charter(name) for name in CHARTERS]
        opened.gate.running.charters = compile_book(charters, mfa_required=True)
        yield opened


@pytest.fixture
def ada(desk: FrontDesk) -> Traveller:
    return Traveller(desk=desk)


async def sign_ins(desk: FrontDesk) -> list[dict[str, Any]]:
    return await desk.clinic.audited("person.sign-in")


async def test_person_signs_in_with_roles_and_sites_of_claims(
    desk: FrontDesk, ada: Traveller, provider: Provider
) -> None:
    page = Page(await ada.ask("GET", "/login"))
    assert "Sign in with your organisation's account" in page.text
    assert provider.asked == [], "the page works whatever becomes of the provider"
    answer = await ada.arrive()
    assert answer.status == 200
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert Page(answer).attributes("meta")[-1]["content"] == "0;url=/"
    inbox = Page(await ada.ask("GET", "/"))
    assert "ada@north.example scheduler · north-clinic" in inbox.text
    (event,) = await sign_ins(desk)
    assert (event["agent"], event["outcome"]) == ("person:ada@north.example", "success")
    assert event["details"] == {"way": "oidc", "mfa": "yes", "roles": "scheduler"}


async def test_what_goes_to_the_provider_is_what_the_protocol_needs(
    ada: Traveller, provider: Provider
) -> None:
    asked = query_of(await ada.away())
    assert asked.keys() == {
        "response_type", "client_id", "redirect_uri", "scope", "state", "nonce",
        "code_challenge", "code_challenge_method",
    }  # fmt: skip
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == "http://127.0.0.1:8480/login/oidc/callback"
    again = query_of(await ada.away())
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[name]) == 43
        assert asked[name] != again[name]
    await ada.arrive()
    (form,) = provider.forms
    assert form.keys() == {"grant_type", "code", "redirect_uri", "code_verifier"}


async def test_store_keeps_neither_state_nor_cookie_nor_code_nor_token(
    desk: FrontDesk, ada: Traveller, provider: Provider
) -> None:
    with structlog.testing.capture_logs() as logs:
        url = await ada.away()
        secrets = [*query_of(url).values(), ada.cookies["chartgate_sign_in"]]
        secrets = [s for s in secrets if len(s) == 43]
        rows = await desk.gate.database.fetch(
            "SELECT t::text FROM sign_in_attempt t WHERE tenant = $1"
        )
        assert len(rows) == 1
        assert not [s for s in secrets for row in rows if s in row["t"]]
        path = await ada.back(url)
        assert (await ada.ask("GET", path)).status == 200
        assert (await ada.ask("GET", path)).status == 403
        secrets += [
            query_of(path)["code"],
            *provider.tokens,
            "access-canary",
            provider.forms[0]["code_verifier"],
        ]
    rows = await desk.gate.database.fetch("SELECT t::text FROM audit_event t WHERE tenant = $1")
    said = " ".join([str(logs), *(row["t"] for row in rows)])
    assert not [s for s in secrets if s in said]


LIES: dict[str, tuple[dict[str, Any], Lie | None]] = {
    "id-token-nonce": ({"nonce": "A" * 43}, None),
    "id-token-nonce (none)": ({"nonce": None}, None),
    "id-token-audience": ({"aud": "somebody-else"}, None),
    "id-token-audience (two)": ({"aud": [CLIENT_ID, "somebody-else"]}, None),
    "id-token-audience (none)": ({"aud": None}, None),
    "id-token-authorized-party": ({"azp": "somebody-else"}, None),
    "id-token-issuer": ({"iss": "https://idp.example"}, None),
    "id-token-issuer (none)": ({"iss": None}, None),
    "id-token-subject": ({"sub": None}, None),
    "id-token-subject (number)": ({"sub": 7}, None),
    "id-token-subject (control)": ({"sub": "a\0b"}, None),
    "id-token-expired (none)": ({"exp": None}, None),
    "id-token-expired (text)": ({"exp": "tomorrow"}, None),
    "id-token-issued-at": ({"iat": None}, None),
    "id-token-algorithm": ({}, unsigned),
    "id-token-algorithm (HS256)": ({}, with_public_key_as_secret),
    "id-token-algorithm (RS512)": ({}, lambda p, c: sign(c, p.key, algorithm="RS512")),
    "id-token-signature": ({}, with_key_of_its_own),
    "id-token-signature (cut)": ({}, lambda p, c: sign(c, p.key, algorithm="RS256")[:-4]),
    "id-token-signature (other)": (
        {},
        lambda p, c: sign(c, RSAKey.generate_key(2048), algorithm="RS256"),
    ),
    "id-token-key": ({}, lambda p, c: sign(c, p.key, algorithm="RS256", kid="unknown")),
    "id-token-key (kind)": (
        {},
        lambda p, c: sign(c, ECKey.generate_key("P-256"), algorithm="ES256"),
    ),
    "id-token-form": ({}, lambda p, c: "x.y"),
    "id-token-form (long)": ({}, lambda p, c: "a." * 20_000),
    "name": ({"preferred_username": None}, None),
    "name (odd)": ({"preferred_username": "<b>ada</b>"}, None),
    "no-role": ({"groups": ["clinic-north", "coffee"]}, None),
    "no-site": ({"groups": ["staff-schedulers"]}, None),
    "no-role (form)": ({"groups": {"staff-schedulers": True}}, None),
}


@pytest.mark.parametrize("lie", LIES)
async def test_provider_that_lies_signs_nobody_in(
    desk: FrontDesk, ada: Traveller, provider: Provider, lie: str
) -> None:
    claims, token = LIES[lie]
    provider.claims = claims
    if token:
        provider.lies["token"] = token
    answer = await ada.arrive()
    assert answer.status == 403
    assert "chartgate_session" not in ada.cookies
    assert Page(answer).form("/login"), "the page to begin again on"
    (event,) = await sign_ins(desk)
    assert (event["agent"], event["outcome"]) == ("person:(unknown)", "denied")
    assert event["reason"] == lie.partition(" ")[0]
    assert not await desk.gate.database.fetch("SELECT 1 FROM person_session WHERE tenant = $1")
    assert not await desk.gate.database.fetch("SELECT 1 FROM person WHERE tenant = $1")


@pytest.mark.parametrize(
    ("claim", "seconds", "status"),
    [
        ("exp", -59, 200), ("exp", -61, 403),
        ("iat", 59, 200), ("iat", 61, 403), ("iat", -660, 200), ("iat", -661, 403),
        ("nbf", 59, 200), ("nbf", 61, 403),
    ],
)  # fmt: skip
async def test_clocks_may_differ_by_a_minute_and_no_more(
    ada: Traveller, provider: Provider, clock: FakeClock, claim: str, seconds: int, status: int
) -> None:
    provider.claims[claim] = int(clock().timestamp()) + seconds
    assert (await ada.arrive()).status == status


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256"])
async def test_named_algorithms_are_taken(
    ada: Traveller, provider: Provider, algorithm: str
) -> None:
    provider.algorithm = algorithm
    if algorithm == "ES256":
        provider.key = ECKey.generate_key("P-256")
    assert (await ada.arrive()).status == 200


@pytest.mark.parametrize(
    "change", [{"use": "enc"}, {"alg": "RS512"}, {"kty": "oct"}, {"n": "AQAB"}]
)
async def test_key_that_is_weak_or_of_another_use_is_none(
    ada: Traveller, provider: Provider, change: dict[str, str]
) -> None:
    provider.lies["jwks"] = {"keys": [provider.published()["keys"][0] | change]}
    assert (await ada.arrive()).status == 403


async def test_code_and_state_work_once(ada: Traveller, desk: FrontDesk) -> None:
    path = await ada.back(await ada.away())
    assert (await ada.ask("GET", path)).status == 200
    replayed = await ada.ask("GET", path)
    assert replayed.status == 403
    assert "was used already; begin again" in Page(replayed).text
    assert (await sign_ins(desk))[-1]["reason"] == "state"


async def test_way_back_in_another_browser_is_refused(ada: Traveller, desk: FrontDesk) -> None:
    """Login forgery: a stranger's code in a victim's browser signs nobody in."""
    path = await ada.back(await ada.away())
    for victim in (
        Traveller(desk=desk),
        Traveller(desk=desk, cookies={"chartgate_sign_in": "B" * 43}),
    ):
        answer = await victim.ask("GET", path)
        assert answer.status == 403
        assert "chartgate_session" not in victim.cookies
        assert (await ada.ask("GET", path)).status == 403, "and the state is used up"
        path = await ada.back(await ada.away())


@pytest.mark.parametrize(
    ("back", "reason"),
    [
        ({"state": "A" * 43}, "state"),
        ({"state": None}, "state"),
        ({"iss": "https://other.example"}, "mix-up"),
        ({"iss": None}, "mix-up"),
        ({"code": None}, "code"),
        ({"code": "made-up"}, "code"),
        ({"code": None, "error": "access_denied"}, "provider-access-denied"),
        ({"error": "<script>"}, "provider-error"),
    ],
    ids=str,
)
async def test_answer_that_is_not_to_our_question_is_refused(
    desk: FrontDesk, ada: Traveller, provider: Provider, back: dict[str, Any], reason: str
) -> None:
    provider.lies["back"] = back
    answer = await ada.arrive()
    assert answer.status == 403
    assert "<script>" not in answer.text
    (event,) = await sign_ins(desk)
    assert event["reason"] == reason


async def test_sign_in_that_took_too_long_is_refused(
    ada: Traveller, clock: FakeClock, desk: FrontDesk
) -> None:
    path = await ada.back(await ada.away())
    clock.advance(601)
    assert (await ada.ask("GET", path)).status == 403
    assert (await sign_ins(desk))[-1]["reason"] == "expired"


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example"},
        {"token_endpoint": "https://other.example/token"},
        {"jwks_uri": "http://169.254.169.254/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"token_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"code_challenge_methods_supported": ["plain"]},
    ],
    ids=str,
)
async def test_metadata_that_leads_elsewhere_is_not_followed(
    desk: FrontDesk, ada: Traveller, provider: Provider, metadata: dict[str, Any]
) -> None:
    provider.lies["metadata"] = metadata
    answer = await ada.ask("GET", "/login/oidc")
    assert answer.status == 503
    assert "try again shortly, or in an emergency open a sealed account" in Page(answer).text
    assert provider.asked == ["/.well-known/openid-configuration"]
    assert (await sign_ins(desk))[-1]["outcome"] == "failed"


async def test_key_that_is_not_known_is_looked_for_once_a_minute(
    ada: Traveller, provider: Provider, clock: FakeClock
) -> None:
    assert (await ada.arrive()).status == 200
    provider.key, provider.kid = RSAKey.generate_key(2048), "two"
    clock.advance(61)
    assert (await ada.arrive()).status == 200, "a new key is found without waiting"
    provider.lies["token"] = lambda p, c: sign(c, p.key, algorithm="RS256", kid="made-up")
    for _ in range(5):
        assert (await ada.arrive()).status == 403
    assert provider.asked.count("/jwks") == 2
    clock.advance(61)
    assert (await ada.arrive()).status == 403
    assert provider.asked.count("/jwks") == 3


async def test_roles_follow_the_claims_and_what_was_taken_away_is_gone_at_once(
    desk: FrontDesk, ada: Traveller, provider: Provider
) -> None:
    provider.claims["groups"] = ["staff-schedulers", "staff-clinicians", "clinic-north"]
    await ada.arrive()
    elsewhere = Traveller(desk=desk)
    provider.claims["groups"] = ["staff-clinicians", "clinic-north"]
    await elsewhere.arrive()
    assert "ada@north.example clinician ·" in Page(await elsewhere.ask("GET", "/")).text
    assert (await ada.ask("GET", "/")).status == 303, "the session with the older role has ended"


async def test_name_stays_with_the_subject_that_had_it_first(
    desk: FrontDesk, ada: Traveller, provider: Provider
) -> None:
    await ada.arrive()
    provider.claims = {"sub": "subject-2"}
    other = Traveller(desk=desk)
    answer = await other.arrive()
    assert answer.status == 403
    assert "belongs to another account here" in Page(answer).text
    provider.claims = {"preferred_username": "renamed"}
    await ada.arrive()
    assert "ada@north.example" in Page(await ada.ask("GET", "/")).text


async def test_provider_cannot_take_over_an_account_of_our_own(
    desk: FrontDesk, ada: Traveller, provider: Provider
) -> None:
    await people.add_person(desk.gate, "olu", "correct horse", ["operator"], [SITE])
    provider.claims["preferred_username"] = "olu"
    assert (await ada.arrive()).status == 403
    assert (await sign_ins(desk))[-1]["reason"] == "name-taken"


async def test_removed_person_is_out_at_once_and_stays_out(desk: FrontDesk, ada: Traveller) -> None:
    await ada.arrive()
    await accounts.remove_person(desk.gate, "ada@north.example", by=OPERATOR)
    assert (await ada.ask("GET", "/")).status == 303
    answer = await ada.arrive()
    assert (answer.status, "you were removed here" in Page(answer).text.lower()) == (403, True)
    await accounts.restore_person(desk.gate, "ada@north.example", by=OPERATOR)
    assert (await ada.arrive()).status == 200


@pytest.mark.parametrize(
    "claims", [{"amr": None}, {"amr": ["pwd"]}, {"amr": "mfa"}, {"acr": "loa1", "amr": []}]
)
async def test_without_a_second_factor_nothing_is_decided_until_it_is_shown(
    desk: FrontDesk, ada: Traveller, provider: Provider, claims: dict[str, Any]
) -> None:
    proposal = await desk.clinic.booked()
    provider.claims = dict(claims)
    await ada.arrive()
    path = f"/proposals/{proposal.id}"
    page = Page(await ada.ask("GET", path))
    say = "This needs a sign-in with a second factor: sign in again with one, and come back."
    assert page.why_not("Approve and write to the chart") == say
    fields = page.form("/logout").fields | {"verdict": "approve", "digest": proposal.content.digest}
    forced = await ada.ask("POST", f"{path}/review", form=fields)
    assert (forced.status, say in Page(forced).text) == (403, True)
    assert (await desk.clinic.get(proposal)).status.value == "pending-review"

    link = next(a["href"] for a in page.attributes("a") if "step-up" in a["href"])
    provider.claims = {"amr": None, "acr": "loa3"}
    old = dict(ada.cookies)
    url = await ada.away(link)
    asked = query_of(url)
    assert (asked["prompt"], asked["acr_values"]) == ("login", "loa3")
    arrived = Page(await ada.ask("GET", await ada.back(url)))
    assert arrived.attributes("meta")[-1]["content"] == f"0;url={path}"
    assert (await Traveller(desk=desk, cookies=old).ask("GET", "/")).status == 303, "replaced"
    page = Page(await ada.ask("GET", path))
    assert not page.button("Approve and write to the chart").disabled
    assert "second factor" not in page.text


async def test_passwords_are_off_where_there_is_a_provider(desk: FrontDesk) -> None:
    await people.add_person(desk.gate, "sofia", "correct horse", ["scheduler"], [SITE])
    for password in ("correct horse", "wrong"):
        answer = await desk.ask("POST", "/v1/session", json={"name": "sofia", "password": password})
        assert (answer.status, answer.diagnostics) == (401, people.SAY_NO_PASSWORDS)
    assert [e["reason"] for e in await sign_ins(desk)] == ["passwords-off", "wrong"]


async def test_sealed_account_opens_while_the_provider_is_down_and_only_once(
    desk: FrontDesk, ada: Traveller, provider: Provider
) -> None:
    secret = await accounts.seal(desk.gate, "emergency-1", [SITE], by=OPERATOR)
    await provider.close()
    assert (await ada.ask("GET", "/login/oidc")).status == 503
    page = Page(await ada.ask("GET", "/login"))
    fields = page.form("/login").fields | {"name": "emergency-1", "password": secret.lower()}
    with structlog.testing.capture_logs() as logs:
        answer = await ada.ask("POST", "/login", form=fields)
    assert (answer.status, answer.headers["Location"]) == (303, "/break-glass")
    assert [(e["event"], e["log_level"]) for e in logs] == [("sealed account opened", "critical")]
    (event,) = await desk.clinic.audited("person.unseal")
    assert "alarm" in event["details"]
    again = await Traveller(desk=desk, cookies=dict(ada.cookies)).ask("POST", "/login", form=fields)
    assert again.status == 401
    proposal = await desk.clinic.booked()
    assert (await ada.ask("GET", f"/proposals/{proposal.id}")).status == 404
    await accounts.seal(desk.gate, "emergency-1", [SITE], by=OPERATOR)
    assert (await ada.ask("GET", "/break-glass")).status == 303, "sealing anew ends its sessions"


async def test_client_proves_itself_by_a_key_where_it_has_one(
    database: Database,
    clock: FakeClock,
    tmp_path: Path,
    provider: Provider,
    settings: dict[str, Any],
) -> None:
    (tmp_path / "key.pem").write_bytes(ECKey.generate_key("P-256").as_pem(private=True))
    oidc = replace(settings["oidc"], client_secret_file="", private_key_file="key.pem")
    async with open_front_desk(database, clock, tmp_path, oidc=oidc) as desk:
        assert (await Traveller(desk=desk).arrive()).status == 200
    assert provider.forms[0]["client_assertion"].count(".") == 2


async def test_https_cookies_cannot_be_planted_by_another_host(
    database: Database, clock: FakeClock, tmp_path: Path, settings: dict[str, Any]
) -> None:
    web = WebConfig(public_url="https://gate.north.example")
    async with open_front_desk(database, clock, tmp_path, web=web, **settings) as desk:
        ada = Traveller(desk=desk)
        answer = await ada.ask("GET", await ada.back(await ada.away()))
        lines = [line.lower() for line in answer.headers.getall("Set-Cookie")]  # type: ignore[attr-defined]
        assert ada.cookies.keys() == {"__Host-chartgate_session"}
        (session,) = (line for line in lines if line.startswith("__host-chartgate_session="))
        for flag in ("secure", "httponly", "samesite=strict", "path=/"):
            assert flag in session
        assert "domain" not in session
        planted = {"chartgate_session": ada.cookies["__Host-chartgate_session"]}
        assert (await Traveller(desk=desk, cookies=planted).ask("GET", "/")).status == 303
        assert (await ada.ask("GET", "/")).status == 200


async def test_person_who_proposed_under_an_ai_clients_name_cannot_review_it(
    desk: FrontDesk, ada: Traveller, provider: Provider
) -> None:
    """T-24: reviewer and author are one user, whatever the provider calls them."""
    provider.claims["preferred_username"] = "slot-picker"
    proposal = await desk.clinic.booked()
    await ada.arrive()
    page = Page(await ada.ask("GET", f"/proposals/{proposal.id}"))
    assert (
        "nobody decides on a proposal of their own"
        in page.why_not("Approve and write to the chart").lower()
    )
    fields = page.form("/logout").fields | {"verdict": "approve", "digest": proposal.content.digest}
    assert (await ada.ask("POST", f"/proposals/{proposal.id}/review", form=fields)).status == 403


async def test_flood_of_sign_ins_that_never_come_back_keeps_nobody_out(
    desk: FrontDesk, ada: Traveller, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    monkeypatch.setattr(code_grants, "UNDER_WAY_MAX", 3)
    for _ in range(10):
        await Traveller(desk=desk).away()
        clock.advance(1)
    assert (await ada.arrive()).status == 200
    rows = await desk.gate.database.fetch("SELECT 1 FROM sign_in_attempt WHERE tenant = $1")
    assert len(rows) == 3
    clock.advance(601)
    await ada.away()
    rows = await desk.gate.database.fetch("SELECT 1 FROM sign_in_attempt WHERE tenant = $1")
    assert len(rows) == 1


async def test_provider_that_failed_is_asked_again_after_a_while(
    ada: Traveller, provider: Provider, clock: FakeClock
) -> None:
    provider.lies["metadata"] = {"issuer": "https://other.example"}
    for _ in range(5):
        assert (await ada.ask("GET", "/login/oidc")).status == 503
    assert len(provider.asked) == 1
    provider.lies.clear()
    clock.advance(6)
    assert (await ada.arrive()).status == 200
