"""Staff sign in where their organisation has their accounts: OpenID Connect, authorization code
with PKCE. Roles and sites come from claims, each time anew.

Source: https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chartgate.errors import ChartgateError, NotFound
from chartgate.flows.code_grants import (
    Begun,
    SignInRefused,
    begin,
    come_back,
    enter,
    name_in,
    record_refusal,
)
from chartgate.flows.id_tokens import claim_texts, has_second_factor
from chartgate.flows.people import SignedIn
from chartgate.flows.providers import Registration
from chartgate.gate import Gate
from chartgate.model.principal import Person

WAY = "oidc"
CALLBACK = "/login/oidc/callback"
LABEL = "your organisation's sign-in"
SAY_NOT_HERE = "people have passwords here; there is no other sign-in"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Somebody who is signed in, and the page that they were on their way to."""

    signed_in: SignedIn = field(repr=False)
    then: str


def is_on(gate: Gate) -> bool:
    """Whether a provider is configured."""
    return bool(gate.config.oidc.issuer)


async def begin_sign_in(
    gate: Gate,
    *,
    then: str,
    cookie: str | None,
    session: str | None = None,
    step_up: bool = False,
) -> Begun:
    """The way to the provider; `step_up` asks it for the person anew, with a second factor.
    Raises NotFound, ProviderSilent; audited."""
    registration = registration_of(gate)
    asked = {}
    if step_up:
        asked["prompt"] = "login"
        if gate.config.oidc.step_up_acr:
            asked["acr_values"] = gate.config.oidc.step_up_acr
    try:
        return await begin(
            gate, registration, then=then, cookie=cookie, session=session, parameters=asked
        )
    except ChartgateError as error:
        await record_refusal(gate, WAY, error)
        raise


async def finish_sign_in(gate: Gate, query: Mapping[str, str], cookie: str | None) -> Arrival:
    """Opens a session for who comes back. Raises NotFound, SignInRefused, CodeRefused,
    ProviderSilent; audited."""
    registration = registration_of(gate)
    try:
        vouched = await come_back(gate, registration, query, cookie)
        person = person_in(gate, registration, vouched.claims)
        signed_in = await enter(gate, vouched, person, way=WAY)
    except ChartgateError as error:
        await record_refusal(gate, WAY, error)
        raise
    return Arrival(signed_in=signed_in, then=vouched.attempt.then_path)


def registration_of(gate: Gate) -> Registration:
    """How Chartgate is known at the provider. Raises NotFound if there is none."""
    settings = gate.config.oidc
    if not settings.issuer:
        raise NotFound(SAY_NOT_HERE)
    return Registration(
        way=WAY,
        label=LABEL,
        address=settings.issuer,
        discovery_url=settings.issuer.rstrip("/") + "/.well-known/openid-configuration",
        settings=settings,
        redirect_uri=gate.config.web.url + CALLBACK,
    )


def person_in(gate: Gate, registration: Registration, claims: Mapping[str, Any]) -> Person:
    """Who the claims say it is. Raises SignInRefused for somebody without any role or site."""
    settings = gate.config.oidc
    roles = [
        settings.roles[v] for v in claim_texts(claims, settings.roles_claim) if v in settings.roles
    ]
    sites = [
        settings.sites[v] for v in claim_texts(claims, settings.sites_claim) if v in settings.sites
    ]
    if not roles or not sites:
        raise SignInRefused(
            f"you have no {'role' if not roles else 'site'} here yet: ask whoever runs "
            f"{registration.label} to put you into a group that Chartgate knows",
            reason="no-role" if not roles else "no-site",
        )
    return Person(
        id=name_in(registration, claims),
        roles=tuple(dict.fromkeys(roles)),
        sites=tuple(dict.fromkeys(sites)),
        mfa=has_second_factor(claims, amr=settings.mfa_amr, acr=settings.mfa_acr),
    )
