"""What rows call by `$name`: numbers, identifiers, times and values that no single path leads to."""

from collections.abc import Mapping, Sequence
from typing import Any

from chartgate.formats.hl7v2_write import Repetition
from chartgate.model.resource import Resource
from chartgate.transform.hl7v2_out.datatypes import DATATYPES, Telling, Unsayable
from chartgate.transform.hl7v2_out.settings import SendSettings
from chartgate.transform.hl7v2_out.subject import MARKER_SYSTEM, Told
from chartgate.transform.hl7v2_out.tables import Trigger

ROLES = "http://terminology.hl7.org/CodeSystem/v2-0203"
VALUES = {  # value[x] of an Observation: OBX-2, and the data type that writes it
    "valueQuantity": ("NM", "NM"),
    "valueInteger": ("NM", "NM"),
    "valueString": ("ST", "ST"),
    "valueCodeableConcept": ("CWE", "CWE"),
    "valueDateTime": ("TS", "TS"),
}


def placer_of(told: Told, *, anew: bool = False) -> Any:
    """The number that the placer, mostly we, gave: a text where it is ours."""
    if anew:
        return told.marker
    ours = [i for i in _identifiers(told.resource) if i.get("system") == MARKER_SYSTEM]
    if ours:
        return ours[0]["value"]
    if told.kind == "create":
        return told.marker
    return _by_role(told.resource, "PLAC")


def filler_of(told: Told, settings: SendSettings) -> Any:
    """The number that the destination gave it, if that is known."""
    if told.kind != "change":
        return None
    for identifier in _identifiers(told.resource):
        if settings.filler_system and identifier.get("system") == settings.filler_system:
            return identifier
    found = _by_role(told.resource, "FILL")
    if found is None and settings.ids_are_identifiers and "id" in told.resource:
        return {"value": told.resource["id"]}
    return found


def number_of(told: Told, settings: SendSettings) -> Any:
    """Either of both. Raises Unsayable where the destination could not tell which is meant."""
    found = placer_of(told) or filler_of(told, settings)
    if found is None and told.kind == "change":
        raise Unsayable(
            f"the {told.resource_type} has no number that the destination knows; name its system"
            f" in filler_system of [connections.{settings.connection}]"
        )
    return found


def patient_identifiers(patient: Resource, settings: SendSettings) -> list[dict[str, Any]]:
    """Those whose system the connection names; no others leave."""
    known = [
        i for i in _identifiers(patient) if i.get("value") and i.get("system") in settings.systems
    ]
    if not known and settings.ids_are_identifiers and "id" in patient:
        return [{"value": patient["id"]}]
    return known


def timing_of(appointment: Resource, telling: Telling) -> Repetition | None:
    """SCH-11: its third, fourth and fifth part, for receivers of before TQ1."""
    start, end = appointment.get("start"), appointment.get("end")
    if start is None:
        return None
    minutes = appointment.get("minutesDuration")
    write = DATATYPES["TS"]
    times = [_text(write(moment, telling)) if moment else None for moment in (start, end)]
    return (None, None, f"M{minutes}" if minutes else None, *times)


def result_values(observation: Resource, telling: Telling) -> Mapping[str, Any]:
    """$value_type, $value and $unit. Raises Unsayable."""
    names = [name for name in observation if name.startswith("value")]
    if not names:
        return {"value_type": None, "value": None, "unit": None}
    name = names[0]
    if name not in VALUES:
        raise Unsayable(f"OBX-5 has no place for Observation.{name}")
    value, unit = observation[name], None
    kind, datatype = VALUES[name]
    if name == "valueQuantity":
        telling.only(value, "value", "unit", "system", "code")
        unit = {key: value[key] for key in ("system", "code") if key in value}
        unit |= {"display": value["unit"]} if "unit" in value else {}
        value = value.get("value")
    written = DATATYPES[datatype](value, telling) if value is not None else None
    return {"value_type": kind, "value": written, "unit": unit or None}


def fixed_values(
    told: Told, trigger: Trigger, settings: SendSettings, telling: Telling
) -> dict[str, Any]:
    """What the change and its trigger say, for the rows about it."""
    resource = told.resource
    kind = told.resource_type
    anew = "anew" in trigger.values
    placer = placer_of(told, anew=anew)
    values: dict[str, Any] = {
        "placer": placer,
        "filler": None if anew else filler_of(told, settings),
        "state": resource.get("status"),
        "minutes": "MIN" if "minutesDuration" in resource else None,
        "application": settings.application,
        **trigger.values,
    }
    if kind != "Patient":
        values["document"] = placer if anew else number_of(told, settings)
    if kind == "Appointment":
        values["timing"] = timing_of(resource, telling)
    maps = settings.tables.maps
    if kind in ("DiagnosticReport", "Observation"):
        values.setdefault("report", maps["Report"].get(resource.get("status", "")))
        values.setdefault("result", maps["Result"].get(resource.get("status", "")))
    return values


def order_of(report: Resource, orders: Sequence[Resource]) -> Any:
    """OBR-2: the placer's number of the order that a result is of."""
    for order in orders:
        ours = [i for i in _identifiers(order) if i.get("system") == MARKER_SYSTEM]
        if ours:
            return ours[0]["value"]
        if (found := _by_role(order, "PLAC")) is not None:
            return found
    return None


def _identifiers(resource: Resource) -> list[dict[str, Any]]:
    found = resource.get("identifier", [])
    items = found if isinstance(found, list) else [found]
    return [item for item in items if isinstance(item, dict)]


def _by_role(resource: Resource, role: str) -> dict[str, Any] | None:
    for identifier in _identifiers(resource):
        codings = identifier.get("type", {}).get("coding", [])
        if any((c.get("system"), c.get("code")) == (ROLES, role) for c in codings):
            return identifier
    return None


def _text(written: Repetition) -> str | None:
    return written if isinstance(written, str) else None
