"""Agents of an audit event, its source, and their addresses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import quote

from chartgate.model.audit import AuditEvent
from chartgate.transform.balp.codes import (
    ACT_REASON,
    BALP_AGENT,
    DICOM,
    PARTICIPATION,
    ROLE_CLASS,
    SECURITY_ROLE,
    SOURCE_TYPE,
    Json,
    absent,
    coding,
    concept,
    words,
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the events are written, and what they do not say themselves."""

    name: str  # of this Chartgate, e.g. the origin of its ledger
    url: str  # that its clients call
    systems: Mapping[str, str] = field(default_factory=dict)  # address of the record, by site
    vendors: Mapping[str, str] = field(default_factory=dict)  # who is behind a client, by agent


def source(place: Place, event: AuditEvent) -> Json:
    """Who says this: we do."""
    site = {"site": event.site} if event.site else {}
    return site | {"observer": ourselves(place), "type": [coding(SOURCE_TYPE, "4")]}


def ourselves(place: Place) -> Json:
    """This Chartgate, as a Reference."""
    return {"identifier": {"system": "urn:chartgate:gateway", "value": place.name}}


def who(agent: str) -> Json:
    """A Reference to "client:x", "person:x" or "process:x"."""
    kind, _, name = agent.partition(":")
    if not name:
        return {"display": agent}
    return {"identifier": {"system": f"urn:chartgate:{kind}", "value": name}}


def network(address: str | None) -> Json:
    """By what it is: an IP address, a URL or a name. What is not known is said to be so."""
    if not address:
        return absent()
    if "://" in address:
        return {"address": address, "type": "5"}
    try:
        ip_address(address)
    except ValueError:
        return {"address": address, "type": "1"}
    return {"address": address, "type": "2"}


def purposes(event: AuditEvent) -> list[Json]:
    """Purpose of use, if the event has one."""
    return [concept(ACT_REASON, event.purpose)] if event.purpose else []


def caller(place: Place, event: AuditEvent, role: str) -> Json:
    """The system that asked, in the role that the pattern gives it."""
    own = event.agent.startswith("process:")
    agent = {
        "type": concept(DICOM, role),
        "who": who(event.agent),
        "requestor": not event.agent.startswith("person:"),
        "network": network(event.network or (place.url if own else None)),
    }
    if event.charter:
        agent["policy"] = [f"urn:chartgate:charter:{event.charter}"]
    return agent


def gateway(place: Place, role: str) -> Json:
    """This Chartgate as an agent."""
    return {
        "type": concept(DICOM, role),
        "who": ourselves(place),
        "requestor": False,
        "network": network(place.url),
    }


def system_of_record(place: Place, event: AuditEvent, role: str) -> Json:
    """Where a write went."""
    address = place.systems.get(event.site or "")
    return {
        "type": concept(DICOM, role),
        "who": {"display": f"system of record of {event.site}"} if event.site else absent(),
        "requestor": False,
        "network": network(address),
    }


def user(event: AuditEvent) -> list[Json]:
    """The person who asked, if it was one; else nobody, as the caller acts for itself."""
    if not event.agent.startswith("person:"):
        return []
    return [_user(event)]


def token_holder(event: AuditEvent) -> list[Json]:
    """Whose access token was used, where the event says which it was."""
    token = quote(words(dict(event.details).get("token")))
    if not token:
        return []
    return [
        {
            "type": concept(BALP_AGENT, "UserOauthAgent"),
            "who": who(event.agent),
            "requestor": True,
            "policy": [token],
        }
    ]


def deciding(place: Place, event: AuditEvent) -> list[Json]:
    """The four agents of a decision on consent."""
    client = caller(place, event, "110150") | {"requestor": False}
    vendor = place.vendors.get(event.agent)
    return [
        client,
        _user(event),
        {
            "type": concept(ROLE_CLASS, "PROV"),
            "who": {"display": vendor} if vendor else absent(),
            "requestor": False,
        },
        {
            "type": concept(SECURITY_ROLE, "authserver"),
            "who": ourselves(place),
            "requestor": False,
        },
    ]


def asking_for_token(place: Place, event: AuditEvent) -> list[Json]:
    """The client, and the token endpoint."""
    service = gateway(place, "110152") | {"type": concept(BALP_AGENT, "AuthzOauthService")}
    return [caller(place, event, "110150"), service]


def _user(event: AuditEvent) -> Json:
    agent = {
        "type": concept(PARTICIPATION, "IRCP"),
        "who": who(event.agent),
        "name": event.agent.partition(":")[2] or event.agent,
        "requestor": True,
    }
    if event.purpose:
        agent["purposeOfUse"] = purposes(event)
    return agent
