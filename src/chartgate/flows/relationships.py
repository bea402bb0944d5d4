"""Whether somebody is known to care for a patient now: asked of the system of record, and kept for
seconds.

A relationship holds only where an active resource names the patient and the principal by exactly
their references. What is unreachable, unreadable, past, or by another name is no relationship.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from chartgate.errors import ChartgateError
from chartgate.gate import Gate
from chartgate.model.ports import Criteria
from chartgate.model.principal import Client, Principal
from chartgate.model.resource import split_reference
from chartgate.policy.consent_codes import Match
from chartgate.policy.consent_times import Period, moment

FRESH_FOR = timedelta(seconds=10)  # how long an answer is kept
WAIT_MAX_S = 5.0
KNOWN_MAX = 20_000  # answers in memory
FOUND_MAX = 50  # resources looked at of one search; what is beyond is not looked for
APPOINTMENT_PAST = timedelta(days=1)  # an appointment still counts so long after its end
BOOKED = ("booked", "arrived", "checked-in")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How one kind of relationship is asked for."""

    resource_type: str
    criteria: Callable[[str], Criteria]
    holds: Callable[[Mapping[str, Any], str, frozenset[str] | None, datetime], bool]


async def relationships_of(
    gate: Gate, connection: str, patient: str, principal: Principal, kinds: Collection[str]
) -> frozenset[str]:
    """Those of `kinds` that hold between the principal and e.g. "Patient/7" at this moment.

    Never raises for what is out of reach: then there is none.
    """
    who = identities_of(gate, connection, principal)
    if split_reference(patient) is None or not patient.startswith("Patient/"):
        return frozenset()
    wanted = sorted(set(kinds) & KINDS.keys())
    found = await asyncio.gather(
        *(_holds(gate, connection, patient, principal, who, kind) for kind in wanted)
    )
    return frozenset(kind for kind, holds in zip(wanted, found, strict=True) if holds)


def identities_of(gate: Gate, connection: str, principal: Principal) -> frozenset[str]:
    """The references by which the system of record knows the principal: `[people.identities]`,
    with the name of a person, or "client:NAME", and perhaps "@CONNECTION" behind it."""
    identities = gate.config.people.identities
    name = principal.agent.removeprefix("person:")
    given = identities.get(f"{name}@{connection}") or identities.get(name, "")
    return frozenset(text for text in given.split() if split_reference(text))


async def _holds(
    gate: Gate,
    connection: str,
    patient: str,
    principal: Principal,
    who: frozenset[str],
    kind: str,
) -> bool:
    key = (connection, patient, principal.agent, kind, *sorted(who))
    known, now = gate.relationships, gate.clock()
    kept = known.get(key)
    if kept is not None and timedelta() <= now - kept[1] < FRESH_FOR:
        return kept[0]
    # A client whose system of record knows it by no name may ask whether the patient is under
    # care at all; of a person, and of a care team, only their own name will do.
    anybody = isinstance(principal, Client) and not who and kind != "care-team"
    if not who and not anybody:
        return False
    try:
        async with asyncio.timeout(WAIT_MAX_S):
            found = await _asked(gate, connection, patient, None if anybody else who, kind)
    except (ChartgateError, TimeoutError):
        return False
    if len(known) >= KNOWN_MAX:
        del known[next(iter(known))]
    known[key] = (found, now)
    return found


async def _asked(
    gate: Gate, connection: str, patient: str, who: frozenset[str] | None, kind: str
) -> bool:
    asks, now = KINDS[kind], gate.clock()
    page = await gate.source(connection).search(
        asks.resource_type, asks.criteria(patient), count_max=FOUND_MAX
    )
    for copy in page.copies:
        resource = orjson.loads(copy.body)
        if resource.get("resourceType") != asks.resource_type:
            continue
        try:
            if asks.holds(resource, patient, who, now):
                return True
        except (ChartgateError, AttributeError, TypeError, ValueError):
            continue  # what cannot be read says nothing
    return False


def _on_care_team(
    resource: Mapping[str, Any], patient: str, who: frozenset[str] | None, now: datetime
) -> bool:
    return (
        resource.get("status") == "active"
        and _is(resource.get("subject"), {patient})
        and _is_now(resource.get("period"), now)
        and any(
            who is not None and _is(each.get("member"), who) and _is_now(each.get("period"), now)
            for each in resource.get("participant", ())
        )
    )


def _in_encounter(
    resource: Mapping[str, Any], patient: str, who: frozenset[str] | None, now: datetime
) -> bool:
    return (
        resource.get("status") == "in-progress"
        and _is(resource.get("subject"), {patient})
        and _is_now(resource.get("period"), now)
        and (
            who is None
            or any(
                _is(each.get("individual"), who) and _is_now(each.get("period"), now)
                for each in resource.get("participant", ())
            )
        )
    )


def _has_appointment(
    resource: Mapping[str, Any], patient: str, who: frozenset[str] | None, now: datetime
) -> bool:
    end = resource.get("end") or resource.get("start")
    if resource.get("status") not in BOOKED or not isinstance(end, str):
        return False
    going = [p for p in resource.get("participant", ()) if p.get("status") != "declined"]
    return (
        now < moment(end).surely_on(None) + APPOINTMENT_PAST
        and any(_is(each.get("actor"), {patient}) for each in going)
        and (who is None or any(_is(each.get("actor"), who) for each in going))
    )


def _is(reference: Any, names: Collection[str]) -> bool:
    return isinstance(reference, Mapping) and reference.get("reference") in names


def _is_now(period: Any, now: datetime) -> bool:
    """Whether this instant surely lies in the period; one that is not given has no ends."""
    if period is None:
        return True
    start, end = period.get("start"), period.get("end")
    whole = Period(start=moment(start) if start else None, end=moment(end) if end else None)
    return whole.holds((now, now + timedelta(microseconds=1)), None) is Match.YES


def _by(*further: tuple[str, str]) -> Callable[[str], Criteria]:
    return lambda patient: [("patient", patient), *further]


KINDS: Mapping[str, Kind] = {
    "care-team": Kind(
        resource_type="CareTeam", criteria=_by(("status", "active")), holds=_on_care_team
    ),
    "encounter": Kind(
        resource_type="Encounter", criteria=_by(("status", "in-progress")), holds=_in_encounter
    ),
    "appointment": Kind(
        resource_type="Appointment",
        criteria=_by(("status", ",".join(BOOKED))),
        holds=_has_appointment,
    ),
}
