"""People, places and organisations as logical references: an identifier and a display.

A message names a doctor or a ward; it is not where the hospital keeps its doctors and wards. So
no Practitioner, Location or Organization is made or changed by a feed: what is named is named,
with the identifier by which a directory can be asked.
"""

from typing import Any

from chartgate.formats.hl7v2 import Composite
from chartgate.transform.hl7v2.datatypes import (
    Codes,
    Context,
    authority_system,
    code_of,
    put,
    translation,
    valued,
)


def location(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """PL: facility, building, floor, unit, room, bed."""
    return _place(cx, valued(cx, 9))


def location_with_address(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """LA2: a place as in PL; the address from its ninth component on is left."""
    return _place(cx, None)


def discharged_to(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """DLD: where a patient went; its own code and name."""
    return _named("Location", valued(cx), None, valued(cx, 1, 2) or valued(cx))


def practitioner(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """XCN (and the older CN, CNN): a person of the staff."""
    name = [valued(cx, 6), valued(cx, 3), valued(cx, 4), valued(cx, 2), valued(cx, 5)]
    system = authority_system(valued(cx, 9, 1), valued(cx, 9, 2), valued(cx, 9, 3), context)
    display = " ".join(part for part in name if part)
    return _named("Practitioner", valued(cx), system, display or None)


def practitioner_role(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """XCN of somebody who acts in a role: as a person, who is what the message names."""
    found = practitioner(cx, context, codes)
    return {**found, "type": "PractitionerRole"} if found else None


def person_of_role(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """NDL: the person is its first component, taken apart by sub-components."""
    name = [valued(cx, 1, part) for part in (6, 3, 4, 2, 5)]
    display = " ".join(part for part in name if part)
    return _named("PractitionerRole", valued(cx, 1, 1), None, display or None)


def organization(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """XON: an organization by name and number."""
    system = authority_system(valued(cx, 6, 1), valued(cx, 6, 2), valued(cx, 6, 3), context)
    return _named("Organization", valued(cx, 10) or valued(cx, 3), system, valued(cx))


def organization_of_code(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """CWE that stands for an organization, e.g. a manufacturer."""
    code = code_of(cx)
    return _named("Organization", code, None, valued(cx, 2) or code)


def organization_of_authority(
    cx: Composite, context: Context, codes: Codes
) -> dict[str, Any] | None:
    """HD that stands for an organization: a facility."""
    return _of_authority("Organization", cx, context)


def device(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """HD that stands for a system or application."""
    return _of_authority("Device", cx, context)


def device_of_entity(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """EI of a piece of equipment."""
    system = authority_system(valued(cx, 2), valued(cx, 3), valued(cx, 4), context)
    return _named("Device", valued(cx), system, valued(cx))


def location_of_authority(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """HD that stands for a place."""
    return _of_authority("Location", cx, context)


def location_of_code(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """CWE or XON that stands for a place or a resource of one."""
    return _named("Location", code_of(cx), None, valued(cx, 2) or valued(cx))


def authority_name(cx: Composite, context: Context, codes: Codes) -> str | None:
    """HD as text: the namespace, else the universal id."""
    return valued(cx) or valued(cx, 2)


def authority_uri(cx: Composite, context: Context, codes: Codes) -> str | None:
    """HD as a URI, where it has or is given one."""
    return authority_system(valued(cx), valued(cx, 2), valued(cx, 3), context)


def organization_name(cx: Composite, context: Context, codes: Codes) -> str | None:
    """XON as text."""
    return valued(cx)


def role_code(cx: Composite, context: Context, codes: Codes) -> dict[str, Any] | None:
    """A role, by its map where it has the code."""
    translated = translation(code_of(cx), codes)
    return {"coding": [dict(translated)]} if isinstance(translated, dict) else None


def _place(cx: Composite, described: str | None) -> dict[str, Any] | None:
    parts = [valued(cx, component) for component in (4, 7, 8, 1, 2, 3)]
    named = [part for part in parts if part]
    if not named:
        return None
    return {
        "type": "Location",
        "identifier": {"value": "/".join(part or "" for part in parts).strip("/")},
        "display": described or ", ".join(named),
    }


def _of_authority(kind: str, cx: Composite, context: Context) -> dict[str, Any] | None:
    system = authority_system(None, valued(cx, 2), valued(cx, 3), context)
    if system and valued(cx, 2):
        return _named(kind, system, "urn:ietf:rfc:3986", valued(cx) or valued(cx, 2))
    return _named(kind, valued(cx) or valued(cx, 2), None, valued(cx) or valued(cx, 2))


def _named(
    kind: str, value: str | None, system: str | None, display: str | None
) -> dict[str, Any] | None:
    if not value and not display:
        return None
    found: dict[str, Any] = {"type": kind}
    if value:
        found["identifier"] = {"value": value, **({"system": system} if system else {})}
    put(found, "display", display)
    return found
