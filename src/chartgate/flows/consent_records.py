"""Recording what is said of consents here: revocations, and consents that were given on paper or
elsewhere. Each holds at once, everywhere: it moves the epoch.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from chartgate.config import Config
from chartgate.errors import Denied, Invalid
from chartgate.formats.canonical import canonical_bytes
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.principal import Person, Principal, Process
from chartgate.model.resource import Resource, split_reference
from chartgate.policy.cedar import OPERATOR
from chartgate.policy.consent_codes import CONSENT_SCOPE, LOINC
from chartgate.policy.consent_parse import REVOCATION, parse_consent
from chartgate.store.consents import ConsentStore, Local

REASON_MAX = 500  # characters
IMPORT_MAX = 100  # consents in one file


async def revoke(gate: Gate, who: Principal, site: str, patient: str, *, reason: str) -> None:
    """All consent that this patient gave before now ends at this site, at once; one that is given
    later permits again. Raises Denied, Invalid, Unavailable."""
    at = gate.clock()
    await _check_who(gate, who, "consent.revoke", site, patient)
    words = reason.strip()
    if not words or len(words) > REASON_MAX or not words.isprintable():
        raise Invalid(f"say why, in one line of at most {REASON_MAX} characters, about no patient")
    id_ = str(uuid4())
    body = canonical_bytes(_revocation(id_, patient, at))
    local = Local(id=id_, kind="revocation", body=body, recorded_by=who.agent, recorded_at=at)
    event = _event(gate, who, "consent.revoke", site, patient, f"Consent/{id_}", reason=words)
    async with gate.database.change(event) as transaction:
        await ConsentStore(gate.database).put_local(transaction, site, patient, local)


async def bring_in(
    gate: Gate, who: Principal, site: str, resources: Sequence[Resource]
) -> tuple[tuple[str, str], ...]:
    """Keeps Consents that were given on paper or elsewhere; their ids and patients. One of the
    same id is replaced. Raises Denied, Invalid (nothing is kept), Unavailable."""
    at = gate.clock()
    if not 0 < len(resources) <= IMPORT_MAX:
        raise Invalid(f"bring in 1 to {IMPORT_MAX} consents at once")
    checked = [(*check_import(gate.config, site, each), each) for each in resources]
    if len({id_ for id_, _, _ in checked}) < len(checked):
        raise Invalid("two of the consents have one id")
    store = ConsentStore(gate.database)
    events = []
    for id_, patient, _ in checked:
        await _check_who(gate, who, "consent.import", site, patient)
        events.append(_event(gate, who, "consent.import", site, patient, f"Consent/{id_}"))
    async with gate.database.change(*events) as transaction:
        for id_, patient, resource in checked:
            body = canonical_bytes(resource)
            local = Local(id=id_, kind="consent", body=body, recorded_by=who.agent, recorded_at=at)
            await store.put_local(transaction, site, patient, local)
    return tuple((id_, patient) for id_, patient, _ in checked)


def check_import(config: Config, site: str, resource: Resource) -> tuple[str, str]:
    """Id and patient of a Consent that can be understood. Raises Invalid, ConfigError."""
    config.site(site)
    if resource.get("resourceType") != "Consent":
        raise Invalid("that is no FHIR Consent; bring in one, a Bundle of them, or one a line")
    if "meta" in resource and "tag" in resource["meta"]:
        raise Invalid("leave out meta.tag: tags are for Chartgate's own marks")
    said = parse_consent(resource)
    if said is not None and said.unreadable:
        raise Invalid(
            f"{said.id} would deny everything, as it cannot be understood: {said.unreadable}"
        )
    id_, patient = resource.get("id"), resource.get("patient", {}).get("reference", "")
    if not isinstance(id_, str) or split_reference(f"Consent/{id_}") is None:
        raise Invalid("a Consent needs an id, so that it can be replaced later")
    check_patient(patient)
    return id_, patient


def check_patient(patient: str) -> None:
    """Raises Invalid for what is no reference to a patient."""
    parts = split_reference(patient)
    if parts is None or parts[0] != "Patient":
        raise Invalid('name the patient as the system of record does, e.g. "Patient/7"')


def _revocation(id_: str, patient: str, at: datetime) -> Resource:
    """As a Consent, so that it is kept, shown and digested like the others."""
    return {
        "resourceType": "Consent",
        "id": id_,
        "meta": {"tag": [{"system": REVOCATION[0], "code": REVOCATION[1]}]},
        "status": "active",
        "scope": {"coding": [{"system": CONSENT_SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": LOINC, "code": "59284-0"}]}],
        "patient": {"reference": patient},
        "dateTime": at.isoformat(timespec="seconds"),
        "policy": [{"uri": REVOCATION[0]}],
        "provision": {"type": "deny"},
    }


async def _check_who(gate: Gate, who: Principal, action: str, site: str, patient: str) -> None:
    """Whoever works at the site may revoke; to bring in what may permit takes an operator. Never
    an AI client."""
    gate.config.site(site)
    check_patient(patient)
    of_site = isinstance(who, Person) and site in who.sites
    if isinstance(who, Process) or (of_site and action == "consent.revoke"):
        return
    if isinstance(who, Person) and of_site and OPERATOR in who.roles:
        return
    event = _event(gate, who, action, site, patient, reason="policy")
    await gate.audit.record(replace(event, outcome=Outcome.DENIED))
    raise Denied("consents are recorded by staff of the site")


def _event(
    gate: Gate,
    who: Principal,
    action: str,
    site: str,
    patient: str,
    *entities: str,
    reason: str | None = None,
) -> AuditEvent:
    return AuditEvent(
        recorded=gate.clock(),
        action=action,
        agent=who.agent,
        entities=entities,
        patient=patient,
        site=site,
        reason=reason,
    )
