"""One of our audit events as FHIR R4 AuditEvents. Pure: the same event gives the same resources.

BALP wants one AuditEvent for each patient of a search and for each resource that is written, so
one of ours may become several. What a consent decided about is told in one more, and so is a
disclosure that an accounting must hold.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.purpose import is_accounted
from chartgate.transform.balp import agents, entities
from chartgate.transform.balp.agents import Place
from chartgate.transform.balp.codes import (
    INTERACTION,
    LIFECYCLE,
    OUR_ACTION,
    PROFILE_TOKEN_REQUEST,
    PROFILES,
    PROVENANCE_ROLE,
    Json,
    coding,
    concept,
    words,
)
from chartgate.transform.balp.patterns import (
    CONSENT,
    DISCLOSURE,
    Code,
    Kind,
    Letter,
    Pattern,
    pattern_of,
)

OUTCOMES: Mapping[Outcome, str] = {  # as BALP's own example of a refusal by consent has it
    Outcome.SUCCESS: "0",
    Outcome.FAILED: "4",
    Outcome.DENIED: "8",
}
WRITES: Mapping[str, tuple[str, Letter]] = {  # by interaction: profile and action code
    "create": ("Create", "C"),
    "update": ("Update", "U"),
    "patch": ("Update", "U"),
    "delete": ("Delete", "D"),
}


@dataclass(frozen=True, kw_only=True)
class _Made:
    """What differs between the patterns."""

    pattern: Pattern
    profiles: tuple[str, ...] = ()
    subtypes: tuple[Code, ...] = ()  # beside those of the pattern
    agents: list[Json]
    entities: list[Json]


def fhir_events(event: AuditEvent, *, leaf: str, place: Place) -> tuple[Json, ...]:
    """The AuditEvents that say it; the first has the id `leaf`, the hash of its leaf in hex."""
    made = [(part, each) for part in _parts(event) for each in _makers(part, place, leaf)]
    return tuple(
        _resource(part, each, place, id_=leaf if number == 0 else _id(leaf, number))
        for number, (part, each) in enumerate(made)
    )


def profiles_of(action: str, outcome: Outcome, *, with_patient: bool = True) -> tuple[str, ...]:
    """The BALP profiles that the first AuditEvent of such an event claims, for the reference."""
    written = (("writes", "create"), ("versions", "Task/1/1"))
    example = AuditEvent(
        recorded=datetime.min.replace(tzinfo=UTC),
        action=action,
        agent="client:x",
        outcome=outcome,
        entities=("Task/1",),
        patient="Patient/1" if with_patient else None,
        details=written,
    )
    [first, *_] = _makers(example, Place(name="x", url="x"), "x")
    return first.profiles


def _parts(event: AuditEvent) -> Iterator[AuditEvent]:
    """One for each patient."""
    if not event.patients:
        yield event
        return
    for reference in event.patients:
        yield replace(event, patient=reference, patients=None)


def _makers(event: AuditEvent, place: Place, leaf: str) -> Iterator[_Made]:
    pattern = pattern_of(event.action)
    if event.outcome is Outcome.SUCCESS or pattern.kind == "consent":
        yield from BY_KIND[pattern.kind](event, pattern, place, leaf)
    else:
        yield _own(event, pattern, place, leaf)
    if event.consent and event.patient and pattern.kind != "consent":
        yield from _consent(event, CONSENT, place, leaf)
    if pattern.kind in ("read", "search") and _is_disclosure(event):
        yield from _disclosure(event, DISCLOSURE, place, leaf)


def _is_disclosure(event: AuditEvent) -> bool:
    done = event.outcome is Outcome.SUCCESS and event.patient is not None
    return done and bool(_references(event)) and is_accounted(event.purpose)


def _read(event: AuditEvent, pattern: Pattern, place: Place, leaf: str) -> Iterator[_Made]:
    if not event.entities:
        yield _own(event, pattern, place, leaf)
        return
    yield _Made(
        pattern=pattern,
        profiles=_claimed("PatientRead" if event.patient else "Read", event),
        agents=[
            agents.caller(place, event, "110152"),
            agents.gateway(place, "110153"),
            *agents.user(event),
            *agents.token_holder(event),
        ],
        entities=[
            entities.data(event.entities[0], event),
            *_patient(event),
            *map(entities.other, event.entities[1:]),
            *_common(event, leaf),
        ],
    )


def _search(event: AuditEvent, pattern: Pattern, place: Place, leaf: str) -> Iterator[_Made]:
    yield _Made(
        pattern=pattern,
        profiles=_claimed("PatientQuery" if event.patient else "Query", event),
        agents=[
            agents.caller(place, event, "110153"),
            agents.gateway(place, "110152"),
            *agents.user(event),
            *agents.token_holder(event),
        ],
        entities=[
            entities.query(event, place),
            *_patient(event),
            *(entities.other(e) for e in event.entities if "/" in e),
            *_common(event, leaf),
        ],
    )


def _write(event: AuditEvent, pattern: Pattern, place: Place, leaf: str) -> Iterator[_Made]:
    """One for each resource that was written, if the event says which and how."""
    said = dict(event.details)
    done = zip(said.get("writes", "").split(), said.get("versions", "").split(), strict=False)
    written = [(verb, _unversioned(version)) for verb, version in done if verb in WRITES]
    if not written:
        yield _own(event, pattern, place, leaf)
    for verb, reference in written:
        profile, letter = WRITES[verb]
        # BALP gives the two ends of a delete other roles than those of all other writes.
        client = "110150" if verb == "delete" else "110153"
        server = agents.system_of_record(place, event, "110152")
        if verb == "delete":
            server["type"] = concept(PROVENANCE_ROLE, "custodian")
        yield _Made(
            pattern=replace(pattern, letter=letter),
            profiles=_claimed(f"Patient{profile}" if event.patient else profile, event),
            subtypes=((INTERACTION, verb),),
            agents=[agents.gateway(place, client), server],
            entities=[
                entities.data(reference, event),
                *_patient(event),
                *(entities.other(e) for e in event.entities if e != reference),
                *_common(event, leaf),
            ],
        )


def _token(event: AuditEvent, pattern: Pattern, place: Place, leaf: str) -> Iterator[_Made]:
    yield _Made(
        pattern=pattern,
        profiles=(PROFILE_TOKEN_REQUEST,),
        agents=agents.asking_for_token(place, event),
        entities=[entities.token_request(event)],
    )


def _consent(event: AuditEvent, pattern: Pattern, place: Place, leaf: str) -> Iterator[_Made]:
    if event.patient is None:
        # BALP's pattern needs a patient; a change of the rules themselves has none.
        yield _own(event, replace(pattern, kind="own", subtypes=()), place, leaf)
        return
    yield _Made(
        pattern=pattern,
        profiles=(f"{PROFILES}AuthZconsent",),
        agents=agents.deciding(place, event),
        entities=[entities.patient(event.patient), entities.consent(event)],
    )


def _disclosure(event: AuditEvent, pattern: Pattern, place: Place, leaf: str) -> Iterator[_Made]:
    about = [e for e in event.entities if "/" in e]
    if event.patient is None or not about:
        yield _own(event, pattern, place, leaf)
        return
    yield _Made(
        pattern=pattern,
        profiles=(f"{PROFILES}PrivacyDisclosure.Source",),
        subtypes=((LIFECYCLE, "disclose"),),
        agents=[
            agents.gateway(place, "110153"),
            agents.caller(place, event, "110152"),
            *agents.user(event),
        ],
        entities=[
            entities.patient(event.patient),
            entities.data(about[0], event),
            *map(entities.other, about[1:]),
            *_common(event, leaf),
        ],
    )


def _own_kind(event: AuditEvent, pattern: Pattern, place: Place, leaf: str) -> Iterator[_Made]:
    yield _own(event, pattern, place, leaf)


def _own(event: AuditEvent, pattern: Pattern, place: Place, leaf: str) -> _Made:
    """Our stated pattern: who asked, we who answered, everything that it is about, the decision,
    and, where nothing came of it, the reason as a code. It claims no profile."""
    first = [entities.query(event, place)] if pattern.kind == "search" else []
    about = event.entities if pattern.kind != "search" else _references(event)
    return _Made(
        pattern=pattern,
        agents=[
            agents.caller(place, event, "110153"),
            agents.gateway(place, "110152"),
            *agents.user(event),
            *agents.token_holder(event),
        ],
        entities=[
            *first,
            *map(entities.other, about),
            *_patient(event),
            *entities.reason(event),
            *_common(event, leaf),
        ],
    )


Maker = Callable[[AuditEvent, Pattern, Place, str], Iterator[_Made]]
BY_KIND: Mapping[Kind, Maker] = {
    "read": _read,
    "search": _search,
    "write": _write,
    "token": _token,
    "consent": _consent,
    "disclosure": _disclosure,
    "own": _own_kind,
}


def _resource(event: AuditEvent, made: _Made, place: Place, *, id_: str) -> Json:
    pattern = made.pattern
    subtypes = [*pattern.subtypes, *made.subtypes]
    if not any(_is_bound(profile) for profile in made.profiles):
        subtypes.append((OUR_ACTION, event.action))
    resource: Json = {
        "resourceType": "AuditEvent",
        "id": id_,
        "type": coding(*pattern.type),
        "subtype": [coding(*subtype) for subtype in subtypes],
        "action": pattern.letter,
        "recorded": event.recorded.isoformat(timespec="microseconds"),
        "outcome": OUTCOMES[event.outcome],
        "agent": made.agents,
        "source": agents.source(place, event),
        "entity": made.entities,
    }
    if made.profiles:
        resource["meta"] = {"profile": list(made.profiles)}
    if event.outcome is not Outcome.SUCCESS:
        resource["outcomeDesc"] = words(event.reason) or event.outcome.value
    if event.purpose:
        resource["purposeOfEvent"] = agents.purposes(event)
    return resource


def _is_bound(profile: str) -> bool:
    """Whether a profile lets no subtype stand but its own."""
    return profile == PROFILE_TOKEN_REQUEST or profile.endswith("AuthZconsent")


def _claimed(name: str, event: AuditEvent) -> tuple[str, ...]:
    own = f"{PROFILES}{name}"
    if agents.token_holder(event):
        return (own, f"{PROFILES}OAUTHaccessTokenUse.Minimal")
    return (own,)


def _patient(event: AuditEvent) -> list[Json]:
    return [entities.patient(event.patient)] if event.patient else []


def _common(event: AuditEvent, leaf: str) -> list[Json]:
    return [*entities.transaction(event), *entities.decision(event, leaf)]


def _references(event: AuditEvent) -> tuple[str, ...]:
    return tuple(e for e in event.entities if "/" in e)


def _unversioned(reference: str) -> str:
    """ "Slot/12" of "Slot/12/3"."""
    return "/".join(reference.split("/")[:2])


def _id(leaf: str, number: int) -> str:
    return hashlib.sha256(f"{leaf}:{number}".encode()).hexdigest()
