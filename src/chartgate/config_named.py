"""Tables of chartgate.toml of which there may be several, each with a name: those we deal with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

NOTICE = timedelta(days=30)  # before a contract ends: enough to renew it


@dataclass(frozen=True, kw_only=True)
class AtnaConfig:
    """[atna.NAME]: an audit record repository that the ledger's events are sent to (ITI-20)."""

    name: str
    url: str  # FHIR base of the repository
    format: str = "fhir"  # AuditEvents, a batch Bundle at a time
    token_file: str = ""  # bearer token, if it wants one
    ca_file: str = ""  # who vouches for its certificate; empty: the system's
    batch_max: int = 100  # events in one message
    timeout_s: float = 10.0  # for it to take them
    since: str = ""  # a date: what was recorded before is not sent; empty: all of the ledger


@dataclass(frozen=True, kw_only=True)
class LaunchConfig:
    """[launch.NAME]: an EHR that may open Chartgate for one patient (SMART App Launch)."""

    name: str
    iss: str  # the EHR's FHIR address, exactly as it sends it
    client_id: str  # under which Chartgate is registered there
    site: str  # whose patients these are
    roles: tuple[str, ...]  # that whoever may open it there has here
    client_secret_file: str = ""  # as under [oidc]
    private_key_file: str = ""  # as under [oidc]
    scopes: tuple[str, ...] = ("launch", "openid", "fhirUser")  # that are asked for
    origins: tuple[str, ...] = ()  # beside that of iss, that hold its token and key endpoints
    name_claim: str = "sub"  # as under [oidc]
    mfa_amr: tuple[str, ...] = ("mfa",)  # as under [oidc]
    mfa_acr: tuple[str, ...] = ()  # as under [oidc]


@dataclass(frozen=True, kw_only=True)
class SiteConfig:
    """[sites.NAME]: how a site stands to consent. In production each site of a charter needs one;
    else a site without one needs no consent."""

    name: str
    consent: str = "not-needed"  # or "opt-in", "opt-out", "opt-in-with-exceptions"
    consent_from: str = ""  # connection that holds its Consents; empty: only those imported here
    consent_fresh_s: float = 60.0  # what it said is believed for so long; then it is asked again
    consent_timeout_s: float = 5.0  # for its answer; without one nothing is permitted
    consent_exceptions: tuple[str, ...] = ()  # purposes of use (HL7 v3) that need no consent there
    time_zone: str = ""  # of dates in consents, e.g. "Europe/Berlin"; empty: any may be meant
    recipients: Mapping[str, str] = field(default_factory=dict)  # client ("*": each) to references


@dataclass(frozen=True, kw_only=True)
class ConnectionConfig:
    """[connections.NAME]: a configured system. `options` are the adapter's own, checked by it."""

    name: str
    adapter: str  # its kind: fhir_r4, hl7v2_mllp or an installed one
    site: str = ""  # for feeds: which site its messages are about
    vendor: str = ""  # of [vendors.NAME]: who runs it for us; needed in production
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """[clients.NAME]: a registered AI client."""

    name: str
    jwks_file: str = ""  # its public keys, as a JWK set
    jwks_url: str = ""  # or where it publishes them; one of the two
    vendor: str = ""  # of [vendors.NAME]: who runs it; needed in production
    notify_url: str = ""  # where its notifications go; empty: none
    notify_secret_file: str = ""  # Standard Webhooks secret, "whsec_…"


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """[services.NAME]: a program of ours or of the hospital that is neither an AI nor a person."""

    name: str
    jwks_file: str = ""  # its public keys, as a JWK set
    jwks_url: str = ""  # or where it publishes them; one of the two
    may: tuple[str, ...] = ()  # of "audit", "introspect", "revoke"


@dataclass(frozen=True, kw_only=True)
class VendorConfig:
    """[vendors.NAME]: who handles patient data for us, and under which contract."""

    name: str
    contract: str = ""  # its number, e.g. "BAA-2026-014"; empty: there is none
    kind: str = "BAA"  # of contract: a business associate agreement, "DPA", "own" for ourselves
    until: date = date.max  # its last day; left out: it has no end
    contact: str = ""  # whom to call

    def state(self, today: date) -> str:
        """ "good", "ends soon", "ended" or "no contract"."""
        if not self.contract.strip():
            return "no contract"
        if self.until < today:  # the last day still counts
            return "ended"
        return "ends soon" if self.until - today <= NOTICE else "good"

    legal_name: str = ""  # as patients are told who got their data; empty: the table's name
    address: str = ""  # as patients are told it
